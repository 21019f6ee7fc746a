"""Calibration errors by hand, what chance alone makes of them, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.calibration import Calibration, calibration
from runaudit.evaluation.coco import CocoMetrics, coco_metrics
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from tests.evaluation.scenes import by_chance, by_hand, images_permuted

WHOLE = (0, 0, 100, 100)


def measured(matches: Matches, least: float = 0.0, replicates: int = 20) -> Calibration:
    found = calibration(
        matches, coco_metrics(matches, overlaps(matches)), least_confidence=least, replicates=replicates, seed=0
    )
    assert found is not None
    return found


def drawn(seed: int, images: int, per_image: int, *, shift: float = 0.0, together: float = 0.0) -> Calibration:
    """Of a detector that is right as often as it says, but for `shift`; `together` of an image's draws are one draw."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images, dtype=np.int32), per_image)
    conf = rng.uniform(0.3, 0.9, len(image))
    own, shared = rng.uniform(size=len(image)), rng.uniform(size=images)[image]
    hit = np.where(rng.uniform(size=len(image)) < together, shared, own) < conf - shift
    none = np.zeros((len(image), 4), np.float32)
    zeros = np.zeros(len(image), np.int32)
    matches = Matches(
        np.arange(images, dtype=np.int32), image, zeros, conf.astype(np.float32), none,
        np.zeros((len(image), 10), bool), image, zeros, none,
    )  # fmt: skip
    taken = np.where(hit, np.arange(len(image)), -1).astype(np.int32)
    coco = CocoMetrics(np.zeros(1, np.int64), {}, taken, hit * 1.0)
    found = calibration(matches, coco, least_confidence=0.25, replicates=200, seed=seed)
    assert found is not None
    return found


def test_by_hand() -> None:
    """Confidence 0.95 twice, one of them right: 0.45 in that bin; 0.15 and wrong: 0.15. IoU 0.8 of what is right."""
    found = measured(
        by_hand(
            [(0, 0, WHOLE)],
            [(0, 0, 0.95, (0, 0, 100, 80)), (0, 0, 0.95, (300, 0, 310, 10)), (0, 0, 0.15, (400, 0, 410, 10))],
        )
    )
    assert found.precision.error == pytest.approx((2 * 0.45 + 0.15) / 3)
    assert found.localization.error == pytest.approx((2 * 0.55 + 0.15) / 3)
    assert found.overconfidence == pytest.approx((0.95 * 2 + 0.15) / 3 - 1 / 3)
    assert [(entry.lower, entry.detections, entry.precision) for entry in found.bins] == [(0.1, 1, 0.0), (0.9, 2, 0.5)]
    assert found.precision.corrected == 0.0  # of one image: it may all be chance


def test_each_class_counts_the_same_for_the_overlap() -> None:
    """Class 0 is off by 0.1 once, class 1 by 0.5 nine times: the mean over classes is 0.3."""
    labels = [(0, 0, WHOLE)] + [(0, 1, (200.0 * row, 200, 200.0 * row + 100, 300)) for row in range(9)]
    found = measured(by_hand(labels, [(image, cls, 0.9 if cls == 0 else 0.5, box) for image, cls, box in labels]))
    assert found.localization.error == pytest.approx(0.3)
    assert found.precision.error == pytest.approx((0.1 + 9 * 0.5) / 10)


def test_detections_below_the_least_confidence_are_left_out() -> None:
    matches = by_hand([(0, 0, WHOLE)], [(0, 0, 0.9, WHOLE), (0, 0, 0.2, (300, 0, 310, 10))])
    assert measured(matches, 0.25).precision.detections == 1
    coco = coco_metrics(matches, overlaps(matches))
    assert calibration(matches, coco, least_confidence=0.95, replicates=5, seed=0) is None


@pytest.mark.parametrize(("per_image", "together"), [(3, 0.0), (10, 0.0), (10, 0.5)])
def test_a_calibrated_detector_exceeds_chance_about_as_often_as_it_says(per_image: int, together: float) -> None:
    """In 5 % of samples, also where an image's detections are right or wrong together; of 120, 17 are p = 0.0003."""
    found = [drawn(seed, 120, per_image, together=together) for seed in range(120)]
    assert sum(entry.precision.error > entry.precision.chance95 for entry in found) <= 16
    assert sum(entry.localization.error > entry.localization.chance95 for entry in found) <= 16
    # By itself the error would claim miscalibration; less chance it is near nothing.
    assert np.mean([entry.precision.error for entry in found]) > 0.02
    assert np.mean([entry.precision.error - entry.precision.by_chance for entry in found]) < 0.01
    assert np.mean([entry.precision.corrected for entry in found]) < 0.015


def test_an_overconfident_detector_is_told_with_an_interval_that_holds_the_truth() -> None:
    found = [drawn(seed, 150, 5, shift=0.15) for seed in range(60)]
    held = [entry.precision.ci95[0] <= 0.15 <= entry.precision.ci95[1] for entry in found if entry.precision.ci95]
    assert sum(held) >= 50  # binomial(60, 0.95): below 52 has a probability of 0.003
    assert all(entry.precision.error > entry.precision.chance95 for entry in found)
    assert all(entry.overconfidence > 0 for entry in found)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 12))
def test_the_order_of_images_changes_no_error(seed: int, images: int) -> None:
    matches = by_chance(seed, images, 25, 3)
    first, second = measured(matches), measured(images_permuted(matches, seed))
    assert first.precision.error == pytest.approx(second.precision.error, abs=1e-6)
    assert first.localization.error == pytest.approx(second.localization.error, abs=1e-6)
    assert first.overconfidence == pytest.approx(second.overconfidence, abs=1e-9)
