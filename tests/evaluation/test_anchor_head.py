"""Decoding of the anchor head against its equations, written out cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runaudit.evaluation.anchor_head import AnchorHead
from tests.evaluation.legacy import decoded


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("anchors_per_level", [1, 3, 5])
def test_decoding_follows_the_equations(classes: int, anchors_per_level: int) -> None:
    """Also with maps that are not square, and other numbers of anchors than three."""
    torch.manual_seed(classes)
    anchors = torch.rand(2, anchors_per_level, 2) * 5 + 0.5
    strides = (8.0, 32.0)
    head = AnchorHead(classes, anchors, [6, 10], strides)
    levels = [torch.randn(2, 6, 5, 7), torch.randn(2, 10, 2, 3)]
    with torch.inference_mode():
        found = head(levels)
        maps = [convolution(level) for convolution, level in zip(head.m, levels, strict=True)]
    assert found.shape == (2, 4 + classes, anchors_per_level * (5 * 7 + 2 * 3))
    for image in range(2):
        expected = decoded([level[image : image + 1] for level in maps], anchors, strides, classes)
        np.testing.assert_allclose(found[image].T.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_value_of_nought_is_the_cell_s_middle_and_the_anchor_itself() -> None:
    head = AnchorHead(1, torch.tensor([[[2.0, 3.0]]]), [4], (16.0,))
    for parameter in head.parameters():
        parameter.data.zero_()
    with torch.inference_mode():
        boxes = head([torch.randn(1, 4, 2, 2)])[0].T
    assert boxes.tolist() == [[x, y, 32.0, 48.0, 0.25] for y in (8.0, 24.0) for x in (8.0, 24.0)]


def test_names_of_tensors_are_those_of_yolov5() -> None:
    head = AnchorHead(2, torch.ones(2, 3, 2), [4, 8], (8.0, 16.0))
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    assert shapes == {
        "anchors": (2, 3, 2),
        "m.0.weight": (21, 4, 1, 1),
        "m.0.bias": (21,),
        "m.1.weight": (21, 8, 1, 1),
        "m.1.bias": (21,),
    }
