"""What a task needs of its labels, and how they are carried along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runaudit.errors import DatasetError
from runaudit.evaluation.labels import Labelled, require_geometry
from runaudit.evaluation.selection import labelled_part
from runaudit.runs.facts import ImageEntry, Task

ENTRY = ImageEntry(file="a.jpg", split="val", width=10, height=10)
BOXES = Labelled(
    entry=np.arange(3, dtype=np.int32),
    entries=(ENTRY,) * 3,
    start=np.array([0, 2, 2, 3]),
    cls=np.array([0, 1, 2], np.int32),
    box=np.arange(12, dtype=float).reshape(3, 4),
    unknown=0,
    split="val",
)
POINTS = np.arange(24, dtype=np.float32).reshape(12, 2)
OUTLINED = replace(BOXES, points=POINTS, point_start=np.array([0, 4, 7, 12]))
POSED = replace(BOXES, keypoints=np.ones((3, 5, 3), np.float32))


def code(labelled: Labelled, task: Task, shape: tuple[int, int] | None = None) -> str:
    with pytest.raises(DatasetError) as raised:
        require_geometry(labelled, task, shape)
    return raised.value.error_code


def test_what_is_there_is_enough() -> None:
    require_geometry(BOXES, "detect", None)
    require_geometry(OUTLINED, "segment", None)
    require_geometry(OUTLINED, "obb", None)
    require_geometry(POSED, "pose", (5, 3))
    require_geometry(replace(POSED, sigmas=(0.1,) * 5), "pose", (5, 3))


@pytest.mark.parametrize("task", ["segment", "obb"])
def test_boxes_without_outlines_are_refused(task: Task) -> None:
    assert code(BOXES, task) == "labels_without_geometry"
    mixed = replace(OUTLINED, points=POINTS[:8], point_start=np.array([0, 4, 4, 8]))
    with pytest.raises(DatasetError, match="1 of 3 labels of the split `val` are boxes only"):
        require_geometry(mixed, task, None)


def test_keypoints_have_to_be_those_that_the_network_predicts() -> None:
    assert code(BOXES, "pose", (5, 3)) == "labels_without_geometry"
    assert code(POSED, "pose", (17, 3)) == "keypoints_differ"
    assert code(POSED, "pose", (5, 2)) == "keypoints_differ"


@pytest.mark.parametrize("sigmas", [(0.1,), (0.1, 0.1, 0.1, 0.1, 0.0), (0.1, 0.1, 0.1, 0.1, float("nan"))])
def test_scales_of_keypoints_are_one_positive_number_each(sigmas: tuple[float, ...]) -> None:
    assert code(replace(POSED, sigmas=sigmas), "pose", (5, 3)) == "keypoint_sigmas_invalid"


def test_a_part_of_the_images_takes_its_outlines_and_keypoints_along() -> None:
    part = labelled_part(OUTLINED, np.array([1, 2]))
    assert part.cls.tolist() == [2]
    assert part.point_start is not None
    assert part.point_start.tolist() == [0, 5]
    assert np.array_equal(np.asarray(part.points), POINTS[7:])
    assert labelled_part(POSED, np.array([0])).keypoints is not None
    assert len(np.asarray(labelled_part(POSED, np.array([0])).keypoints)) == 2
