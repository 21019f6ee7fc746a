"""The facts put down from one pass: what they hold, that they agree with each other, and what similarity they use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runaudit.evaluation.bootstrap import bootstrap
from runaudit.evaluation.detection_facts import ErrorTypesFacts
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from runaudit.evaluation.statistics import Statistics, statistics
from tests.evaluation.scenes import by_chance, by_hand

WHOLE = (0, 0, 100, 100)


def described(matches, **changes) -> Statistics:
    return statistics(matches, **({"confidence": 0.001, "replicates": 20, "seed": 0} | changes))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(1, 12), per_image=st.integers(0, 40), classes=st.integers(1, 4))
def test_the_figures_agree_with_each_other(seed: int, images: int, per_image: int, classes: int) -> None:
    matches = by_chance(seed, images, per_image, classes)
    if not len(matches.gt_cls):
        return
    found = described(matches)
    errors = {cost.kind: cost for cost in found.error_types.errors}
    whole = next(entry for entry in found.per_size if entry.size == "all")
    assert whole.labels == len(matches.gt_cls)
    assert whole.labels <= sum(entry.labels for entry in found.per_size if entry.size != "all")
    # TIDE's points of recall differ from COCO's in their last bit, and it counts 100 boxes an image, not a class.
    assert whole.map50 == pytest.approx(found.error_types.map50, abs=0.02)
    assert errors["miss"].count_at_threshold >= errors["miss"].count
    assert all(cost.count_at_threshold <= cost.count for cost in found.error_types.errors if cost.kind != "miss"
               and cost.kind != "false_negatives")  # fmt: skip
    assert found.error_types.threshold == found.thresholds.overall.threshold
    assert found.error_types.confused == errors["cls"].count_at_threshold
    assert sum(pair.count for pair in found.error_types.confusions) == found.error_types.confused
    if found.calibration is not None:
        assert found.calibration.confidence == min(0.25, found.thresholds.overall.threshold)
        assert sum(entry.detections for entry in found.calibration.reliability) == found.calibration.d_ece.detections
    for entry in found.lrp.per_class:
        assert 0 <= entry.olrp <= 1
    again = ErrorTypesFacts.model_validate_json(found.error_types.model_dump_json())
    assert again == found.error_types


def test_confusions_name_the_label_s_class_and_the_detection_s() -> None:
    far = (300, 0, 400, 100)
    found = described(
        by_hand([(0, 0, WHOLE), (0, 2, far)], [(0, 1, 0.9, WHOLE), (0, 2, 0.8, far), (0, 0, 0.7, (600, 0, 610, 10))])
    ).error_types
    assert [(pair.labelled, pair.detected, pair.count) for pair in found.confusions] == [(0, 1, 1)]


def test_without_detections_everything_is_missed_and_nothing_is_calibrated() -> None:
    found = described(by_hand([(0, 0, WHOLE), (0, 5, WHOLE)], []))
    errors = {cost.kind: cost for cost in found.error_types.errors}
    assert (errors["miss"].count, errors["false_positives"].count) == (2, 0)
    assert found.calibration is None
    assert [entry.choice for entry in found.thresholds.per_class] == [None, None]
    assert [entry.class_id for entry in found.lrp.per_class] == [0, 5]
    assert found.lrp.olrp == 1.0
    assert found.lrp.localization is None


def test_a_similarity_takes_the_place_of_iou() -> None:
    """Boxes that cross, alike by their own measure: found instead of misplaced."""
    matches = by_hand([(0, 0, (0, 40, 100, 60))], [(0, 0, 0.9, (40, 0, 60, 100))])

    def alike(detection: NDArray[np.intp], label: NDArray[np.intp]) -> NDArray[np.float32]:
        return np.full(len(detection), 0.9, np.float32)

    plain, told = described(matches), described(matches, similarity=alike)
    assert (plain.error_types.map50, told.error_types.map50) == (0.0, 1.0)
    assert told.lrp.per_class[0].localization == pytest.approx(0.1)


def test_pairs_found_block_by_block_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = by_chance(3, 30, 25, 3)
    whole = overlaps(matches)
    monkeypatch.setattr("runaudit.evaluation.touching_boxes.PAIRS_AT_A_TIME", 50)
    parts = overlaps(matches)
    assert np.array_equal(whole.detection, parts.detection)
    assert np.array_equal(whole.label, parts.label)
    assert np.array_equal(whole.iou, parts.iou)
    every = [
        (row, column)
        for row in range(len(matches.det_cls))
        for column in range(len(matches.gt_cls))
        if matches.det_image[row] == matches.gt_image[column]
        and (np.maximum(matches.det_box[row, :2], matches.gt_box[column, :2])
             < np.minimum(matches.det_box[row, 2:], matches.gt_box[column, 2:])).all()
    ]  # fmt: skip
    assert list(zip(whole.detection.tolist(), whole.label.tolist(), strict=True)) == every


def repeated(matches: Matches, times: int) -> Matches:
    """Every image several times, the copies behind all, those of an image a group."""
    images = np.int32(len(matches.image))
    rows = ("det_cls", "det_conf", "det_box", "tp", "gt_cls", "gt_box")
    doubled = {name: np.concatenate([getattr(matches, name)] * times) for name in rows}
    moved = {
        name: np.concatenate([getattr(matches, name) + images * np.int32(step) for step in range(times)])
        for name in ("image", "det_image", "gt_image")
    }
    return replace(matches, **doubled, **moved, group=np.tile(np.arange(images, dtype=np.int32), times))


def test_images_that_stand_there_often_and_are_grouped_tell_no_more_than_once() -> None:
    """Neither of mAP, nor of what an error costs, of a threshold or of calibration; ungrouped they would."""
    once = by_chance(4, images=40, per_image=15, classes=3)
    both = repeated(once, 4)
    alone = replace(both, group=None)
    spread, grouped, narrow = (bootstrap(one, replicates=200).map50_95.std() for one in (once, both, alone))
    assert grouped == pytest.approx(spread, rel=0.05)  # copies tie, so that AP itself is another by a little
    assert narrow < 0.7 * grouped
    first, second, third = (described(one, replicates=200) for one in (once, both, alone))

    def widths(found: Statistics) -> list[float]:
        assert found.calibration is not None
        ends = [
            found.thresholds.overall.f1_ci95,
            found.calibration.d_ece.ci95,
            next(cost.d_ap_ci95 for cost in found.error_types.errors if cost.kind == "miss"),
        ]
        return [entry[1] - entry[0] for entry in ends if entry is not None]

    assert widths(second) == pytest.approx(widths(first), rel=0.05)
    assert all(narrower < 0.7 * wide for narrower, wide in zip(widths(third), widths(second), strict=True))
    assert first.calibration is not None and second.calibration is not None and third.calibration is not None
    assert second.calibration.d_ece.by_chance == pytest.approx(first.calibration.d_ece.by_chance, rel=0.05)
    assert third.calibration.d_ece.by_chance < 0.7 * second.calibration.d_ece.by_chance
