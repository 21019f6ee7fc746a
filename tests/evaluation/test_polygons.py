"""Resampled outlines against the framework's own."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.batches import place
from runaudit.evaluation.framework import framework
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.polygons import polygons_in_batch, resampled
from runaudit.runs.facts import ImageEntry


@pytest.mark.parametrize("corners", [1, 2, 3, 4, 57, 98, 99, 100, 101, 250])
def test_resampled_outlines_are_the_framework_s_bit_by_bit(corners: int) -> None:
    polygon = np.random.default_rng(corners).random((corners, 2)).astype(np.float32)
    expected = framework().utils.ops.resample_segments([polygon.copy()], n=100)[0]
    found = resampled(polygon, 100)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def labelled(*corners: int) -> Labelled:
    start = np.cumsum([0, *corners])
    return Labelled(
        entry=np.array([0], np.int32),
        entries=(ImageEntry(file="a.jpg", split="val", width=200, height=100),),
        start=np.array([0, len(corners)]),
        cls=np.zeros(len(corners), np.int32),
        box=np.zeros((len(corners), 4)),
        unknown=0,
        split="val",
        points=np.random.default_rng(0).random((int(start[-1]), 2)).astype(np.float32),
        point_start=start,
    )


def test_one_long_outline_makes_all_of_its_image_longer() -> None:
    placement = place(200, 100, 160, (128, 192))
    assert [len(p) for p in polygons_in_batch(labelled(4, 7), 0, placement, 100)] == [100, 100]
    assert [len(p) for p in polygons_in_batch(labelled(4, 150), 0, placement, 100)] == [151, 151]


def test_points_lie_where_the_boxes_do() -> None:
    placement = place(200, 100, 160, (96, 128))
    labels = labelled(5)
    assert labels.points is not None
    found = next(polygons_in_batch(labels, 0, placement, 5))
    x = labels.points[:, 0] * 200 * placement.gain_x + placement.offset_x
    y = labels.points[:, 1] * 100 * placement.gain_y + placement.offset_y
    np.testing.assert_allclose(found, np.stack([x, y], axis=1), atol=1e-3)


def test_labels_that_were_read_without_outlines_have_none() -> None:
    bare = Labelled(np.array([0], np.int32), (), np.array([0, 0]), np.empty(0), np.empty((0, 4)), 0, "val")
    assert list(polygons_in_batch(bare, 0, place(200, 100, 160, (128, 192)), 100)) == []
