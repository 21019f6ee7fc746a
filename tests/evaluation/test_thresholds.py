"""F1 and thresholds: against counting box by box and copying images out, and on detectors whose best is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runaudit.evaluation.bootstrap import interval, unit_draws
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.thresholds import DEFAULT, GRID, thresholds
from tests.evaluation.scenes import by_chance, images_permuted


def counted_f1(matches: Matches, draw: NDArray[np.int64], threshold: float) -> float:
    """The mean F1 over classes with the drawn images copied out."""
    times = np.bincount(draw, minlength=len(matches.image))
    det, gt = times[matches.det_image], times[matches.gt_image]
    scores = []
    for class_id in np.unique(matches.gt_cls):
        labels = gt[matches.gt_cls == class_id].sum()
        kept = (matches.det_cls == class_id) & (matches.det_conf >= np.float32(threshold))
        if labels:
            scores.append(2 * det[kept & matches.tp[:, 0]].sum() / (det[kept].sum() + labels))
    return float(np.mean(scores))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 10), classes=st.integers(1, 3))
def test_equal_to_counting(seed: int, images: int, classes: int) -> None:
    matches = by_chance(seed, images, 20, classes)
    if len(matches.gt_cls) < 2:
        return
    found = thresholds(matches, replicates=30, seed=seed)
    everything = np.arange(images)
    np.testing.assert_allclose(
        found.curve, [counted_f1(matches, everything, threshold) for threshold in GRID], atol=1e-6
    )
    overall = found.overall
    lost = [
        counted_f1(matches, draw, overall.threshold) - counted_f1(matches, draw, DEFAULT)
        for draw in unit_draws(images, 30, seed)
        if np.isin(matches.gt_image, draw).any()
    ]
    assert overall.lost == pytest.approx(overall.f1 - overall.f1_default, abs=1e-6)
    assert overall.lost_ci95 == pytest.approx(interval(np.array(lost)), abs=1e-5)
    for row, class_id in enumerate(found.classes):
        only = matches.taking(
            detections=np.flatnonzero(matches.det_cls == class_id), labels=np.flatnonzero(matches.gt_cls == class_id)
        )
        choice = found.by_class[row]
        assert choice.f1 == pytest.approx(counted_f1(only, everything, choice.threshold), abs=1e-6)


def detector(best: float, *, seed: int, images: int = 300) -> Matches:
    """One class, right at and above a confidence about `best` and wrong below it; half of the detections each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(images, dtype=np.int32), 3)
    right = rng.uniform(size=len(labels)) < 0.8
    conf = np.r_[rng.uniform(best, 1, right.sum()), rng.uniform(0, best, len(labels))].astype(np.float32)
    image = np.r_[labels[right], labels]
    tp = np.repeat((np.arange(len(image)) < right.sum())[:, None], 10, axis=1)
    order = np.lexsort((-conf, image))
    none = np.zeros((len(image), 4), np.float32)
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=image[order],
        det_cls=np.zeros(len(image), np.int32),
        det_conf=conf[order],
        det_box=none,
        tp=tp[order],
        gt_image=labels,
        gt_cls=np.zeros(len(labels), np.int32),
        gt_box=np.zeros((len(labels), 4), np.float32),
    )


@pytest.mark.parametrize("best", [0.1, 0.25, 0.6])
def test_a_known_best_threshold_is_found(best: float) -> None:
    found = thresholds(detector(best, seed=1), replicates=200, seed=0)
    assert found.overall.threshold == pytest.approx(best, abs=0.05)
    assert found.overall.threshold_ci95 is not None
    assert found.overall.threshold_ci95[0] - 0.05 <= best <= found.overall.threshold_ci95[1] + 0.05


def test_what_the_default_loses() -> None:
    found = thresholds(detector(0.6, seed=2), replicates=200, seed=0)
    assert found.overall.lost_ci95 is not None
    assert found.overall.lost > 0.1
    assert found.overall.lost_ci95[0] > 0.05
    assert found.cross_fitted - found.cross_fitted_default == pytest.approx(found.overall.lost, abs=0.02)
    unhurt = thresholds(detector(0.25, seed=2), replicates=200, seed=0)
    assert abs(unhurt.overall.lost) < 0.03


def test_a_detector_that_is_best_at_the_default_is_not_said_to_lose_by_it() -> None:
    """Nor is one missed that loses: the lower end of the interval is held against 0.03, over 30 samples each."""
    ends = [thresholds(detector(0.25, seed=seed, images=60), replicates=100, seed=0).overall for seed in range(30)]
    assert sum(choice.lost_ci95 is not None and choice.lost_ci95[0] >= 0.03 for choice in ends) == 0
    ends = [thresholds(detector(0.6, seed=seed, images=60), replicates=100, seed=0).overall for seed in range(30)]
    assert all(choice.lost_ci95 is not None and choice.lost_ci95[0] >= 0.03 for choice in ends)


def test_cross_fitting_takes_back_what_choosing_by_chance_seems_to_win() -> None:
    """40 classes of a few labels each with confidences that mean nothing: no threshold can be better than another."""
    rng = np.random.default_rng(4)
    matches = detector(0.5, seed=3, images=60)
    matches = replace(
        matches,
        det_conf=rng.uniform(0.3, 1, len(matches.det_conf)).astype(np.float32),
        det_cls=(matches.det_image % 40).astype(np.int32),
        gt_cls=(matches.gt_image % 40).astype(np.int32),
    )
    found = thresholds(matches, replicates=50, seed=0)
    seeming = float(np.mean([choice.f1 for choice in found.by_class]))
    assert seeming > found.overall.f1_default + 0.02
    assert found.cross_fitted_by_class < found.cross_fitted_default + 0.01


def test_the_order_of_images_changes_no_choice() -> None:
    matches = by_chance(5, 15, 30, 3)
    first = thresholds(matches, replicates=20, seed=0)
    second = thresholds(images_permuted(matches, 9), replicates=20, seed=0)
    np.testing.assert_allclose(first.curve, second.curve, atol=1e-6)
    assert first.overall.threshold == second.overall.threshold


def test_replicates_in_several_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = by_chance(6, 20, 30, 3)
    whole = thresholds(matches, replicates=60, seed=1)
    monkeypatch.setattr("runaudit.evaluation.thresholds._CELLS", 3 * 99 * 7)
    assert thresholds(matches, replicates=60, seed=1).overall == whole.overall


def test_no_detection_of_any_label() -> None:
    matches = detector(0.5, seed=1)
    nothing = matches.taking(detections=np.zeros(0, int), labels=np.arange(len(matches.gt_cls)))
    found = thresholds(nothing, replicates=10, seed=0)
    assert found.overall.f1 == found.overall.lost == 0
    assert found.cross_fitted_by_class == 0
