"""Boxes that may overlap, by grids, against all pairs one by one; and what crowds of any kind cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation import touching_boxes
from runaudit.evaluation.box_pairs import among, overlapping
from runaudit.evaluation.matching import Boxes, box_iou, true_positives
from runaudit.evaluation.touching_boxes import Crowd, TooCrowdedError, every_pair, touching


def boxes(rng: np.random.Generator, count: int, images: int = 3):
    """Boxes of all sizes and shapes, some without an area, some in the same place."""
    side = np.exp(rng.uniform(-3, 6, (count, 2))) * rng.choice([0, 1, 1, 1, 1], (count, 1))
    corner = rng.uniform(-50, 500, (count, 2)).round(rng.integers(0, 3))
    return rng.integers(0, images, count), np.hstack([corner, corner + side]).astype(np.float32)


@given(
    seed=st.integers(0, 2**31),
    first=st.integers(0, 60),
    second=st.integers(0, 60),
    at_a_time=st.integers(1, 50),
    least=st.sampled_from([0.0, 0.1, 0.5, 0.8]),
)
def test_grids_find_what_all_pairs_find(seed: int, first: int, second: int, at_a_time: int, least: float):
    rng = np.random.default_rng(seed)
    (image, box), (other_image, other_box) = boxes(rng, first), boxes(rng, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(touching_boxes, "PAIRS_AT_A_TIME", at_a_time)
        patch.setattr(touching_boxes, "CROWDED_PAIRS", 1)
        blocks = list(touching(Crowd(image, box), Crowd(other_image, other_box), least))
        pairs = overlapping(image, box, other_image, other_box, max(least, 0.01))
    found = [pair for one, other in blocks for pair in zip(one.tolist(), other.tolist(), strict=True)]
    assert len(set(found)) == len(found), "each pair comes once"
    rows, columns = np.nonzero(image[:, None] == other_image[None, :])
    iou = box_iou(box[rows], other_box[columns])
    wanted = {pair for pair, one in zip(zip(rows, columns, strict=True), iou, strict=True) if one > 0 and one >= least}
    assert wanted <= set(found)
    enough = iou >= np.float32(max(least, 0.01))
    assert pairs.first.tolist() == rows[enough].tolist() and pairs.second.tolist() == columns[enough].tolist()


@pytest.mark.parametrize(
    "shape", [(0.004, 0.004), (0.9, 0.00001), (0.00001, 0.9), (0.0001, 0.0001)], ids=["even", "wide", "high", "points"]
)
def test_fifty_thousand_boxes_of_one_image_take_seconds(shape: tuple[float, float]):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1 - np.array(shape), (50_000, 2))
    box = (np.hstack([corner, corner + shape]) * 640).astype(np.float32)
    image = np.zeros(50_000, np.int32)
    start = time.process_time()
    pairs = among(image, box, 0.5)
    assert time.process_time() - start < 10, "all pairs take 100 s"
    assert (pairs.first < pairs.second).all()


def test_boxes_that_all_lie_on_each_other_are_refused_with_their_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(touching_boxes, "MOST_FOUND", 2**20)
    box = np.random.default_rng(0).uniform([0, 0, 90, 90], [10, 10, 100, 100], (3000, 4)).astype(np.float32)
    with pytest.raises(TooCrowdedError) as told:
        among(np.full(3000, 7), box, 0.5)
    assert told.value.group == 7
    detections = Boxes(np.full(3000, 7), np.zeros(3000, np.int32), box)
    with pytest.raises(TooCrowdedError) as told:
        true_positives(detections, detections)
    assert told.value.group == 7


def test_too_many_pairs_for_a_likeness_without_overlap_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(touching_boxes, "MOST_LOOKED_AT", 16 * 100)
    crowd = Crowd(np.zeros(10, int), np.zeros((10, 4), np.float32))
    assert sum(len(one) for one, _ in every_pair(crowd, crowd)) == 100
    crowd = Crowd(np.zeros(11, int), np.zeros((11, 4), np.float32))
    with pytest.raises(TooCrowdedError):
        list(every_pair(crowd, crowd))
