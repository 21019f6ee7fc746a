"""Masks of labels and detections against the framework's own functions."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from runaudit.evaluation import masks
from runaudit.evaluation.framework import framework
from runaudit.evaluation.masks import label_map, mask_iou
from runaudit.evaluation.polygons import resampled

SHAPE = (96, 160)


def some_polygons(number: int, seed: int) -> list[Any]:
    """Stars, slivers and single points, some across the edges of the image."""
    generator = np.random.default_rng(seed)
    polygons = []
    for _ in range(number):
        corners = int(generator.integers(1, 12))
        centre = generator.uniform((-10, -10), (SHAPE[1] + 10, SHAPE[0] + 10))
        angles = np.sort(generator.uniform(0, 2 * np.pi, corners))
        radius = generator.uniform(0.2, 45, (corners, 1))
        polygons.append((centre + radius * np.c_[np.cos(angles), np.sin(angles)]).astype(np.float32))
    return polygons


def theirs(polygons: list[Any]) -> tuple[Any, Any]:
    """The framework's map and its order of the labels."""
    framework()
    return import_module("ultralytics.data.utils").polygons2masks_overlap(SHAPE, polygons, downsample_ratio=4)


@pytest.mark.parametrize("seed", range(12))
def test_label_maps_are_the_framework_s(seed: int) -> None:
    polygons = [resampled(polygon, 1000) for polygon in some_polygons(1 + seed * 3, seed)]
    painted, order = theirs(polygons)
    # They count the labels in their own order of areas, we in that of the rows.
    expected = np.where(painted > 0, order[np.maximum(painted.astype(int) - 1, 0)] + 1, 0)
    assert np.array_equal(label_map(polygons, SHAPE), expected)


def test_more_labels_than_a_byte_counts() -> None:
    polygons = [polygon for polygon in some_polygons(400, 99) if len(polygon) > 2]
    painted, order = theirs(polygons)
    assert np.array_equal(label_map(polygons, SHAPE), np.where(painted > 0, order[painted - 1] + 1, 0))


def test_no_labels() -> None:
    assert not label_map([], SHAPE).any()


@pytest.mark.parametrize("most", [2**25, 2000])
def test_overlaps_are_the_framework_s_in_parts_of_any_size(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_MOST_VALUES", most)
    generator = torch.Generator().manual_seed(0)
    small = torch.rand((32, 6, 10), generator=generator) - 0.3
    prototypes = torch.nn.functional.interpolate(small[None], (24, 40), mode="bilinear")[0]
    coefficients = torch.randn((50, 32), generator=generator) + 0.5
    corners = torch.rand((50, 2), generator=generator) * torch.tensor([120.0, 60.0])
    boxes = torch.cat([corners, corners + torch.rand((50, 2), generator=generator) * 60], 1)
    polygons = [resampled(polygon, 1000) for polygon in some_polygons(9, 5)]
    painted, order = theirs(polygons)
    drawn = torch.from_numpy((painted[None] == np.arange(1, 10)[:, None, None]).astype(np.float32))
    predicted = framework().utils.ops.process_mask(prototypes, coefficients, boxes.clone(), SHAPE)
    expected = framework().utils.metrics.mask_iou(drawn.flatten(1), predicted.flatten(1).float()).numpy()
    found = mask_iou(prototypes, coefficients, boxes, label_map(polygons, SHAPE), 9)
    assert (expected > 0.3).any()
    assert np.array_equal(found[order], expected)


def test_nothing_detected_or_labelled() -> None:
    empty = torch.zeros((0, 32)), torch.zeros((0, 4))
    assert mask_iou(torch.rand(32, 24, 40), *empty, label_map([], SHAPE), 0).shape == (0, 0)
    one = torch.rand(1, 32), torch.tensor([[0.0, 0.0, 50.0, 50.0]])
    assert mask_iou(torch.rand(32, 24, 40), *one, label_map([], SHAPE), 0).shape == (0, 1)


def test_a_mask_of_a_square_is_where_the_square_is() -> None:
    square = np.array([[40, 20], [80, 20], [80, 60], [40, 60]], dtype=np.float32)
    expected = np.zeros(SHAPE, dtype=np.uint8)
    cv2.fillPoly(expected, [square.astype(np.int32)], 1)
    found = label_map([square], SHAPE)
    assert found.sum() == pytest.approx(expected.sum() / 16, rel=0.1)
    assert found[6:14, 11:19].all()
