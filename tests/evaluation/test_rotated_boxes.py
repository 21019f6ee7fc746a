"""Rotated boxes against the framework's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from runaudit.evaluation import rotated_boxes
from runaudit.evaluation.framework import framework
from runaudit.evaluation.rotated_boxes import (
    by_probabilistic_iou,
    hulls,
    in_image,
    rotated_labels,
    suppressed_rotated,
)


def boxes(number: int, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    columns = [*generator.uniform(0, 300, (2, number)), *generator.uniform(4, 90, (2, number))]
    return np.stack([*columns, generator.uniform(-0.78, 2.35, number)], axis=1).astype(np.float32)


def test_labels_are_the_framework_s_rectangles() -> None:
    ops = framework().utils.ops
    corners = ops.xywhr2xyxyxyxy(torch.from_numpy(boxes(200, 0))).numpy()
    corners[:20] = np.array([[10, 10], [50, 10], [50, 30], [10, 30]]) + np.arange(20)[:, None, None] * 3
    corners += np.random.default_rng(1).normal(0, 0.3, corners.shape) * (np.arange(200) > 40)[:, None, None]
    corners[30] = corners[30, :1]
    expected = ops.xyxyxyxy2xywhr(torch.from_numpy(corners)).numpy()
    found = rotated_labels(corners, (256, 256))
    assert np.array_equal(found, expected)
    assert (found[:, 2] >= found[:, 3]).all()


def test_no_labels() -> None:
    assert rotated_labels([], (256, 256)).shape == (0, 5)


def test_similarity_is_the_framework_s() -> None:
    first, second = boxes(40, 2), boxes(30, 3)
    expected = framework().utils.metrics.batch_probiou(first, second).numpy()
    label, detection = np.indices(expected.shape).reshape(2, -1)
    found = by_probabilistic_iou(second, first)(detection, label).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def predictions(images: int, classes: int, anchors: int, seed: int) -> torch.Tensor:
    """Boxes around a few places, so that many are suppressed."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(0, 6, (images, 2, anchors), generator=generator) * 45.0
    noise = torch.randn(images, 4, anchors, generator=generator) * 3
    scores = torch.rand(images, classes, anchors, generator=generator) ** 5
    angle = torch.rand(images, 1, anchors, generator=generator) * 0.6
    return torch.cat([places + noise[:, :2], 40 + 3 * noise[:, 2:].abs(), scores, angle], 1)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("block", [2**21, 700])
def test_suppression_is_the_framework_s(
    classes: int, agnostic: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotated_boxes, "_BLOCK_PAIRS", block)
    raw = predictions(3, classes, 400, seed=classes)
    expected = framework().utils.nms.non_max_suppression(
        raw.clone(), 0.01, 0.7, multi_label=True, agnostic=agnostic, max_det=50, nc=classes, rotated=True
    )
    found = suppressed_rotated(raw, classes=classes, confidence=0.01, iou=0.7, max_detections=50, agnostic=agnostic)
    for mine, theirs in zip(found, expected, strict=True):
        assert 0 < len(theirs) <= 50
        assert torch.equal(mine, theirs)


def test_only_the_most_confident_candidates_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotated_boxes, "MOST_CANDIDATES", 100)
    raw = predictions(1, 2, 300, seed=9)
    expected = framework().utils.nms.non_max_suppression(
        raw.clone(), 0.01, 0.7, multi_label=True, max_det=300, nc=2, rotated=True, max_nms=100
    )
    found = suppressed_rotated(raw, classes=2, confidence=0.01, iou=0.7, max_detections=300, agnostic=False)
    assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_nothing_is_detected(value: float) -> None:
    found = suppressed_rotated(
        torch.full((2, 7, 50), value), classes=2, confidence=0.01, iou=0.7, max_detections=300, agnostic=False
    )
    assert [rows.shape for rows in found] == [(0, 7), (0, 7)]


def test_hulls_hold_the_corners() -> None:
    some = boxes(50, 4)
    corners = framework().utils.ops.xywhr2xyxyxyxy(torch.from_numpy(some)).numpy()
    expected = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    np.testing.assert_allclose(hulls(some), expected, atol=1e-3)


def test_boxes_are_put_into_their_image_as_the_framework_does() -> None:
    some = boxes(20, 5)
    gains, offsets = np.tile([0.5, 0.5, 0.5, 0.5], (20, 1)), np.tile([16.0, 8.0, 16.0, 8.0], (20, 1))
    expected = framework().utils.ops.scale_boxes(
        (320, 320), torch.from_numpy(some.copy()), (600, 560), ratio_pad=((0.5, 0.5), (16, 8)), xywh=True
    )
    np.testing.assert_allclose(in_image(some, gains, offsets), expected.numpy(), atol=1e-3)
