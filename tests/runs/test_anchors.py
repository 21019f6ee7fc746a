"""Anchors from the head's buffer, and buffers that are none."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.runs.anchors import anchors_of
from runaudit.runs.tensors import ElementType, Tensor

HALF = ElementType("float16", "<f2", is_float=True)


def buffer(values: object, element: ElementType = HALF) -> Tensor:
    return Tensor(element, np.asarray(values, dtype=np.dtype(element.bits)))


def test_cells_become_pixels_by_the_stride_of_their_level() -> None:
    cells = [[[1.25, 1.625], [2, 3.75]], [[1.875, 3.8125], [3.875, 2.8125]]]
    found = anchors_of({"model.24.anchors": buffer(cells)}, (8.0, 16.0))
    assert found == (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))
    assert anchors_of({"model.model.24.anchors": buffer(cells)}, (8.0, 16.0)) == found


@pytest.mark.parametrize(
    ("name", "values", "stride"),
    [
        ("model.24.weight", [[[1, 1]]], (8.0,)),
        ("model.24.anchors", [[[1, 1]]], (8.0, 16.0)),
        ("model.24.anchors", [[1, 1]], (8.0,)),
        ("model.24.anchors", [[[1, 0]]], (8.0,)),
        ("model.24.anchors", [[[1, np.nan]]], (8.0,)),
        ("model.22.anchors", np.zeros((2, 0)), (8.0, 16.0)),
    ],
)
def test_what_is_no_buffer_of_anchors_gives_none(name: str, values: object, stride: tuple[float, ...]) -> None:
    assert anchors_of({name: buffer(values)}, stride) == ()


def test_bits_that_numpy_has_no_float_for_are_left_alone() -> None:
    element = ElementType("bfloat16", "<u2", is_float=True)
    assert anchors_of({"model.24.anchors": buffer([[[1, 1]]], element)}, (8.0,)) == ()
