"""Constant looseness and offsets of labels are measured edge by edge and taken off again, at the border, too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation.box_offsets import FEWEST, Habit, corrected, habit, residuals
from runaudit.evaluation.matching import Boxes, Matches, true_positives
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.sightings import sightings
from tests.evaluation.planted_labels import SIDE, World, drawn_again, large_objects, planted, simulated, square_sizes


def measured(matches: Matches) -> Habit | None:
    found = residuals(matches, sightings(matches), square_sizes(matches))
    return habit(matches.gt_image[found.label], found.value)


def redrawn(matches: Matches, width: float, height: float, right: float, down: float) -> Matches:
    return relabelled(matches, ULTRALYTICS, gt_box=drawn_again(matches.gt_box, width, height, right, down))


@pytest.mark.parametrize(
    "drawn", [(1, 1, 0, 0), (1.25, 1.25, 0, 0), (0.8, 1.1, 0, 0), (1, 1, 0.1, -0.15), (1.15, 1.15, 0.05, 0)]
)
def test_looseness_and_offset_are_measured(drawn: tuple[float, float, float, float]):
    found = measured(redrawn(simulated(World()), *drawn))
    assert found is not None
    assert np.exp(found.mean[:2]).tolist() == pytest.approx(drawn[:2], abs=0.03)
    assert found.mean[2:].tolist() == pytest.approx(drawn[2:], abs=0.02)
    assert ((found.ci95[:, 0] < found.mean) & (found.mean < found.ci95[:, 1])).all()


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_objects_at_the_border_are_measured_by_their_other_edges(scale: float):
    found = measured(large_objects(scale=scale))
    assert found is not None and found.boxes >= FEWEST
    ends = found.ci95 + np.array([-0.01, 0.01])
    for low, high in np.exp(ends[:2]):
        assert low < scale < high and high - low < 0.1
    for low, high in ends[2:]:
        assert low < 0 < high and high - low < 0.05


def test_labels_of_objects_at_the_border_are_corrected():
    loose, right = large_objects(scale=1.3), large_objects()
    found = measured(loose)
    assert found is not None
    sizes = square_sizes(loose)[loose.gt_image]
    back = corrected(loose.gt_box, found.edge, sizes)
    # Labels are cut off, so an edge near the border may have been anywhere beyond it.
    near = (loose.gt_box < 0.02 * SIDE) | (loose.gt_box > 0.98 * SIDE)
    assert np.abs(back - right.gt_box)[~near].mean() < 5
    assert np.abs(loose.gt_box - right.gt_box)[~near].mean() > 20
    at = (loose.gt_box == 0) | (loose.gt_box == SIDE)
    assert at.any(axis=1).mean() > 0.8 and (back[at] == loose.gt_box[at]).all()


def test_a_tenth_of_labels_moved_is_no_habit():
    matches = simulated(World())
    found = measured(planted(matches, square_sizes(matches), "shift", 0.1)[0])
    assert found is not None and (np.abs(found.mean) < 0.03).all()


def test_few_boxes_say_nothing():
    assert measured(simulated(World(images=4, objects=3))) is None


def test_an_edge_that_is_seldom_away_from_the_border_says_nothing():
    value = np.zeros((100, 4))
    image = np.arange(100)
    assert habit(image, value) is not None
    value[FEWEST - 1 :, 2] = np.nan
    assert habit(image, value) is None
    value[FEWEST - 1, 2] = 0
    found = habit(image, value)
    assert found is not None and found.boxes == FEWEST


def test_boxes_of_one_image_have_no_interval():
    assert habit(np.zeros(100), np.random.default_rng(0).normal(size=(100, 4))) is None


def test_the_interval_of_a_sum_of_edges_is_that_of_the_sum():
    """Where all edges count it is that of the mean of each box's own width, with images as the units drawn."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(50), 4)
    value = rng.normal(0, 0.05, (200, 4)) + rng.normal(0, 0.05, (50, 1))[image]
    found = habit(image, value)
    assert found is not None
    width = 1 + value[:, 0] + value[:, 2]
    of_images = np.bincount(image, width) / 4
    error = 1.96 * of_images.std(ddof=1) / np.sqrt(50)
    assert np.exp(found.mean[0]) == pytest.approx(width.mean(), abs=1e-6)
    assert np.diff(found.ci95[0])[0] / 2 == pytest.approx(error / width.mean(), rel=1e-3)


@given(
    seed=st.integers(0, 2**31),
    drawn=st.tuples(*[st.floats(0.8, 1.3)] * 2, *[st.floats(-0.1, 0.1)] * 2),
)
def test_correcting_undoes_drawing_which_is_measured(seed: int, drawn: tuple[float, float, float, float]):
    """Of detections that are right and lie inside, so that nothing is cut off."""
    rng = np.random.default_rng(seed)
    boxes = 2 * FEWEST  # six in ten of them are sure
    image = np.arange(boxes, dtype=np.int32)
    corner = rng.uniform(100, 400, (boxes, 2))
    box = np.hstack([corner, corner + rng.uniform(20, 120, (boxes, 2))])
    labels = Boxes(image, np.zeros(boxes, np.int32), drawn_again(box, *drawn).astype("f4"))
    detections = Boxes(labels.image, labels.cls, box.astype("f4"))
    matches = Matches(
        image=labels.image,
        det_image=detections.image,
        det_cls=detections.cls,
        det_conf=np.linspace(0.5, 0.9, boxes, dtype=np.float32),
        det_box=detections.box,
        tp=true_positives(detections, labels),
        gt_image=labels.image,
        gt_cls=labels.cls,
        gt_box=labels.box,
    )
    found = measured(matches)
    assert found is not None and found.boxes >= FEWEST
    assert np.exp(found.mean[:2]).tolist() == pytest.approx(drawn[:2], abs=1e-4)
    assert found.mean[2:].tolist() == pytest.approx(drawn[2:], abs=1e-4)
    assert np.abs(corrected(labels.box, found.edge, square_sizes(matches)) - box).max() < 0.01
