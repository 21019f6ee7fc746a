"""LRP by hand, against its definition tried at every confidence, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.coco import coco_metrics
from runaudit.evaluation.localization_recall_precision import OptimalError, optimal_error
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from tests.evaluation.scenes import by_chance, by_hand, images_permuted

WHOLE = (0, 0, 100, 100)


def measured(matches: Matches) -> OptimalError:
    return optimal_error(matches, coco_metrics(matches, overlaps(matches)))


def test_one_found_of_two_and_a_false_one_behind() -> None:
    """IoU 0.8 and one label lost: (0.2 / 0.5 + 0 + 1) / 2 = 0.7 at 0.9; the false box makes it 2.4 / 3 at 0.5."""
    found = measured(
        by_hand(
            [(0, 0, WHOLE), (0, 0, (300, 0, 400, 100))],
            [(0, 0, 0.9, (0, 0, 100, 80)), (0, 0, 0.5, (500, 0, 520, 20))],
        )
    )
    assert found.error[0] == pytest.approx(0.7)
    assert found.confidence[0] == pytest.approx(0.9)
    assert found.localization[0] == pytest.approx(0.2)
    assert (found.false_positive[0], found.false_negative[0]) == (0.0, 0.5)


def test_labels_given_back_have_no_error() -> None:
    found = measured(by_hand([(0, 0, WHOLE)], [(0, 0, 0.3, WHOLE)]))
    assert (found.error[0], found.localization[0], found.false_positive[0], found.false_negative[0]) == (0, 0, 0, 0)


def test_a_class_that_is_never_found_has_the_whole_error_and_no_threshold() -> None:
    found = measured(by_hand([(0, 0, WHOLE), (0, 4, WHOLE)], [(0, 0, 0.9, WHOLE), (0, 4, 0.9, (300, 0, 310, 10))]))
    assert found.classes.tolist() == [0, 4]
    assert found.error.tolist() == [0.0, 1.0]
    assert np.isnan([found.localization[1], found.false_positive[1], found.confidence[1]]).all()
    assert found.false_negative[1] == 1.0


def test_detections_of_one_confidence_stand_or_fall_together() -> None:
    """By itself the true one would leave no error; with the false one of the same confidence it is 1 of 2."""
    found = measured(by_hand([(0, 0, WHOLE)], [(0, 0, 0.5, WHOLE), (0, 0, 0.5, (300, 0, 310, 10))]))
    assert found.error[0] == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(1, 10), per_image=st.integers(1, 40), classes=st.integers(1, 3))
def test_the_least_over_all_confidences(seed: int, images: int, per_image: int, classes: int) -> None:
    matches = by_chance(seed, images, per_image, classes)
    coco = coco_metrics(matches, overlaps(matches))
    ours = optimal_error(matches, coco)
    for row, class_id in enumerate(ours.classes):
        mine, labels = matches.det_cls == class_id, int((matches.gt_cls == class_id).sum())
        tried = [1.0]
        for confidence in matches.det_conf[mine]:
            kept = mine & (matches.det_conf >= confidence)
            hit = kept & (coco.label_taken >= 0)
            false, lost = int(kept.sum() - hit.sum()), labels - int(hit.sum())
            misplaced = ((1 - coco.iou_taken[hit]) / 0.5).sum()
            tried.append((misplaced + false + lost) / (hit.sum() + false + lost))
        assert ours.error[row] == pytest.approx(min(tried), abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 12))
def test_the_order_of_images_and_a_monotone_change_of_confidence_change_no_error(seed: int, images: int) -> None:
    matches = by_chance(seed, images, 25, 3)
    moved = images_permuted(matches, seed)
    moved.det_conf[:] = moved.det_conf**2
    np.testing.assert_allclose(measured(matches).error, measured(moved).error, atol=1e-12)
