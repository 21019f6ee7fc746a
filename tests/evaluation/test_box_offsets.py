"""Constant looseness and offsets of labels are measured and taken off again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation.box_offsets import corrected, habit, residuals
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.sightings import sightings
from tests.evaluation.planted_labels import World, planted, simulated, square_sizes


def measured(matches: Matches):
    found = residuals(matches, sightings(matches), square_sizes(matches))
    return habit(matches.gt_image[found.label], found.value)


def redrawn(matches: Matches, width: float, height: float, right: float, down: float) -> Matches:
    side = matches.gt_box[:, 2:] - matches.gt_box[:, :2]
    centre = (matches.gt_box[:, :2] + matches.gt_box[:, 2:]) / 2 + np.array([right, down]) * side
    side = side * np.array([width, height])
    return relabelled(matches, ULTRALYTICS, gt_box=np.hstack([centre - side / 2, centre + side / 2]))


@pytest.mark.parametrize(
    "drawn", [(1, 1, 0, 0), (1.25, 1.25, 0, 0), (0.8, 1.1, 0, 0), (1, 1, 0.1, -0.15), (1.15, 1.15, 0.05, 0)]
)
def test_looseness_and_offset_are_measured(drawn: tuple[float, float, float, float]):
    found = measured(redrawn(simulated(World()), *drawn))
    assert found is not None
    assert np.exp(found.mean[:2]).tolist() == pytest.approx(drawn[:2], abs=0.03)
    assert found.mean[2:].tolist() == pytest.approx(drawn[2:], abs=0.02)
    assert ((found.ci95[:, 0] < found.mean) & (found.mean < found.ci95[:, 1])).all()


def test_a_tenth_of_labels_moved_is_no_habit():
    matches = simulated(World())
    found = measured(planted(matches, square_sizes(matches), "shift", 0.1)[0])
    assert found is not None and (np.abs(found.mean) < 0.03).all()


def test_few_boxes_say_nothing():
    assert measured(simulated(World(images=4, objects=3))) is None


@given(seed=st.integers(0, 2**31))
def test_correcting_undoes_drawing(seed: int):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 300, (5, 2))
    box = np.hstack([corner, corner + rng.uniform(20, 90, (5, 2))])
    mean = rng.uniform(-0.3, 0.3, 4)
    side, centre = box[:, 2:] - box[:, :2], (box[:, :2] + box[:, 2:]) / 2
    loose, moved = side * np.exp(mean[:2]), centre + mean[2:] * side
    drawn = np.hstack([moved - loose / 2, moved + loose / 2]).astype(np.float32)
    assert np.abs(corrected(drawn, mean) - box).max() < 0.01
