"""Overlapping pairs against all pairs one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation import touching_boxes
from runaudit.evaluation.box_pairs import among, largest, overlapping
from runaudit.evaluation.matching import box_iou


def boxes(rng: np.random.Generator, count: int):
    corner = rng.uniform(0, 30, (count, 2))
    return rng.integers(0, 4, count), np.hstack([corner, corner + rng.uniform(5, 30, (count, 2))]).astype(np.float32)


@given(seed=st.integers(0, 2**31), first=st.integers(0, 30), second=st.integers(0, 20), at_a_time=st.integers(1, 50))
def test_equal_to_all_pairs(seed: int, first: int, second: int, at_a_time: int):
    rng = np.random.default_rng(seed)
    (image, box), (other_image, other_box) = boxes(rng, first), boxes(rng, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(touching_boxes, "PAIRS_AT_A_TIME", at_a_time)
        pairs = overlapping(image, box, other_image, other_box, 0.2)
    expected = {
        (row, column): float(box_iou(box[row : row + 1], other_box[column : column + 1])[0])
        for row in range(first)
        for column in range(second)
        if image[row] == other_image[column]
    }
    expected = {pair: iou for pair, iou in expected.items() if iou >= np.float32(0.2)}
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == sorted(expected)
    assert pairs.iou.tolist() == pytest.approx([expected[pair] for pair in found])


def test_each_pair_of_one_set_comes_once():
    box = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    pairs = among(np.array([0, 0, 1]), box, 0.5)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])


def test_the_largest_of_each_group():
    best, row = largest(np.array([2, 0, 2, 2]), np.array([1.0, 5.0, 3.0, 3.0]), 4)
    assert best.tolist() == [5, 0, 3, 0] and row.tolist() == [1, -1, 3, -1]
    best, row = largest(np.array([], dtype=np.intp), np.array([]), 2)
    assert best.tolist() == [0, 0] and row.tolist() == [-1, -1]
