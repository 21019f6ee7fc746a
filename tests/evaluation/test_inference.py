"""Detections of a batch against the framework's own suppression, and without its time limit."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from runaudit.evaluation.framework import framework
from runaudit.evaluation.inference import select_device, suppressed


def predictions(images: int, classes: int = 3, anchors: int = 400) -> torch.Tensor:
    """Raw predictions: boxes around a few places, so that many are suppressed."""
    generator = torch.Generator().manual_seed(images)
    places = torch.randint(0, 8, (images, 2, anchors), generator=generator) * 40.0
    noise = torch.randn(images, 4, anchors, generator=generator) * 4
    scores = torch.rand(images, classes, anchors, generator=generator) ** 6
    return torch.cat([places + noise[:, :2], 30 + noise[:, 2:], scores], 1)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("max_detections", [5, 300])
def test_detections_are_the_framework_s(agnostic: bool, max_detections: int) -> None:
    raw = predictions(4)
    theirs = framework().utils.nms.non_max_suppression(
        raw.clone(), 0.001, 0.7, multi_label=True, agnostic=agnostic, max_det=max_detections
    )
    found = suppressed(raw, max_detections=max_detections, agnostic=agnostic)
    for image, rows in enumerate(theirs):
        mine = found.image == image
        assert np.array_equal(found.box[mine], rows[:, :4].numpy())
        assert np.array_equal(found.conf[mine], rows[:, 4].numpy())
        assert np.array_equal(found.cls[mine], rows[:, 5].numpy().astype(np.int32))
        assert (np.diff(found.conf[mine]) <= 0).all()
    assert (np.diff(found.image) >= 0).all()


def test_a_slow_machine_loses_no_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each image takes a minute: the framework's default gives up after the first."""
    ticks = itertools.count(step=60)
    clock: Any = SimpleNamespace(time=lambda: float(next(ticks)))
    monkeypatch.setattr(framework().utils.nms, "time", clock)
    given_up = framework().utils.nms.non_max_suppression(predictions(4), 0.001, 0.7, multi_label=True)
    assert [len(rows) > 0 for rows in given_up] == [True, False, False, False]
    assert set(suppressed(predictions(4), max_detections=300, agnostic=False).image.tolist()) == {0, 1, 2, 3}


def test_nothing_detected_and_not_a_number() -> None:
    for value in (0.0, float("nan")):
        found = suppressed(torch.full((2, 7, 50), value), max_detections=300, agnostic=False)
        assert (found.box.shape, found.conf.shape, found.cls.shape) == ((0, 4), (0,), (0,))


def test_devices() -> None:
    assert select_device("cpu") == torch.device("cpu")
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert select_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(RuntimeError):
        select_device("abacus")
