"""TIDE's error types: the analytic fixtures of diagnostics.md D2, tidecv itself, and properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runaudit.evaluation.bootstrap import interval, unit_draws
from runaudit.evaluation.coco import coco_metrics
from runaudit.evaluation.error_fixes import CORRECT, FIXES, KINDS
from runaudit.evaluation.error_types import ErrorTypes, error_types
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from tests.evaluation.scenes import as_sides, by_chance, by_hand, images_permuted

SHORT = dict(zip(KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
"""tidecv's names"""


def decomposed(matches: Matches) -> ErrorTypes:
    pairs = overlaps(matches)
    return error_types(matches, pairs, coco_metrics(matches, pairs))


def costs(found: ErrorTypes) -> dict[str, float]:
    """The kinds that cost anything."""
    return {kind: round(found.d_ap(kind), 9) for kind in KINDS if found.d_ap(kind) > 1e-9}


def grid(count: int, side: float = 20) -> list[tuple[float, float, float, float]]:
    """Boxes beside each other."""
    return [(40.0 * row, 0.0, 40.0 * row + side, side) for row in range(count)]


def test_a_misplaced_box() -> None:
    """D2: IoU 0.4, so that AP is 0 and only Loc costs, all of it."""
    found = decomposed(by_hand([(0, 0, (0, 0, 100, 100))], [(0, 0, 0.9, (0, 0, 80, 50))]))
    assert found.map50 == 0
    assert costs(found) == {"loc": 1.0}
    assert found.counts(np.array([0.9])) == {
        "cls": 0, "loc": 1, "both": 0, "dupe": 0, "bkg": 0, "miss": 0, "false_positives": 1, "false_negatives": 1,
    }  # fmt: skip


def test_labels_given_back() -> None:
    """D2: AP 1, and nothing costs anything."""
    boxes = grid(6)
    found = decomposed(
        by_hand([(0, row % 2, box) for row, box in enumerate(boxes)],
                [(0, row % 2, 0.5 + row / 20, box) for row, box in enumerate(boxes)])
    )  # fmt: skip
    assert found.map50 == 1.0
    assert costs(found) == {}
    assert (found.kind == CORRECT).all()


def test_classes_permuted() -> None:
    """D2: every detection has the wrong class, and Cls costs everything."""
    boxes = grid(6)
    found = decomposed(
        by_hand([(0, row % 3, box) for row, box in enumerate(boxes)],
                [(0, (row + 1) % 3, 0.5 + row / 20, box) for row, box in enumerate(boxes)])
    )  # fmt: skip
    assert found.map50 == 0
    assert costs(found) == {"cls": 1.0}


def test_doubled_boxes() -> None:
    """D2: copies scored above another true positive cost, as Dupe only; copies behind every true positive don't."""
    boxes = grid(5)
    labels = [(0, 0, box) for box in boxes]
    first = [(0, 0, 0.9 - row / 10, box) for row, box in enumerate(boxes)]
    between = decomposed(by_hand(labels, first + [(0, 0, conf - 0.01, box) for _, _, conf, box in first]))
    assert set(costs(between)) == {"dupe"}
    behind = decomposed(by_hand(labels, first + [(0, 0, conf - 0.45, box) for _, _, conf, box in first]))
    assert behind.map50 == 1.0
    assert costs(behind) == {}
    assert behind.counts(np.zeros(10))["dupe"] == 5


def test_half_of_the_labels_not_found() -> None:
    """D2: only Miss. Recall ends at 0.5: 51 of the 101 points have precision 1."""
    boxes = grid(10)
    found = decomposed(by_hand([(0, 0, box) for box in boxes], [(0, 0, 0.9, box) for box in boxes[:5]]))
    assert found.map50 == pytest.approx(51 / 101)
    assert costs(found) == {"miss": pytest.approx(50 / 101)}
    assert found.d_ap("false_negatives") == found.d_ap("miss")


def test_boxes_on_nothing_rank_first() -> None:
    boxes = grid(4)
    found = decomposed(
        by_hand([(0, 0, box) for box in boxes],
                [(0, 0, 0.5, box) for box in boxes] + [(0, 0, 0.9, (500, 500, 520, 520))] * 4)
    )  # fmt: skip
    assert found.map50 == pytest.approx(0.5)
    assert costs(found) == {"bkg": pytest.approx(0.5)}
    assert found.d_ap("false_positives") == pytest.approx(0.5)


def test_wrong_place_and_class_is_both() -> None:
    found = decomposed(by_hand([(0, 0, (0, 0, 100, 100))], [(0, 1, 0.9, (0, 0, 80, 50)), (0, 0, 0.8, (0, 0, 80, 50))]))
    assert [KINDS[kind] for kind in found.kind] == ["both", "loc"]


def test_everything_missed() -> None:
    """The fix leaves no label: nothing is left to be missed."""
    found = decomposed(by_hand([(0, 0, (0, 0, 9, 9))], []))
    assert found.map50 == 0
    assert costs(found) == {"miss": 1.0}


def test_counts_above_a_confidence() -> None:
    """A label found by a detection below the threshold is missed at it, unless a better one only misses its place."""
    near, far = (0, 0, 100, 100), (200, 0, 300, 100)
    matches = by_hand([(0, 0, near), (0, 0, far)], [(0, 0, 0.6, (0, 0, 80, 50)), (0, 0, 0.2, near), (0, 0, 0.1, far)])
    found = decomposed(matches)
    at = found.counts(matches.det_conf, 0.5)
    assert (at["loc"], at["miss"], at["false_negatives"], at["false_positives"]) == (1, 1, 2, 1)
    assert found.counts(matches.det_conf)["miss"] == 0


def by_tidecv(matches: Matches) -> tuple[float, dict[str, float], dict[str, int]]:
    """AP, what each fix adds, and how many errors there are, by tidecv."""
    tidecv = pytest.importorskip("tidecv")
    labels, detections = tidecv.Data("labels"), tidecv.Data("detections")
    for image in matches.image.tolist():
        labels.add_image(image, str(image))
    for image, cls, box in zip(
        matches.gt_image.tolist(), matches.gt_cls.tolist(), as_sides(matches.gt_box), strict=True
    ):
        labels.add_ground_truth(image, cls, box.tolist())
    for image, cls, conf, box in zip(
        matches.det_image.tolist(),
        matches.det_cls.tolist(),
        matches.det_conf.tolist(),
        as_sides(matches.det_box),
        strict=True,
    ):
        detections.add_detection(image, cls, conf, box.tolist())
    run = tidecv.TIDE().evaluate(labels, detections, mode=tidecv.TIDE.BOX)
    gains = {kind.short_name: gain / 100 for kind, gain in (run.fix_main_errors() | run.fix_special_errors()).items()}
    return run.ap / 100, gains, {kind.short_name: count for kind, count in run.count_errors().items()}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(8, 25), per_image=st.integers(8, 120), classes=st.integers(1, 4))
def test_equal_to_tidecv(seed: int, images: int, per_image: int, classes: int) -> None:
    matches = by_chance(seed, images, per_image, classes)
    ours = decomposed(matches)
    if np.isnan(ours.fixed).any():
        return  # a class none of whose labels is found, which tidecv keeps in the mean after the fix
    average_precision, gains, counts = by_tidecv(matches)
    assert ours.map50 == pytest.approx(average_precision, abs=1e-6)
    for kind, name in SHORT.items():
        assert ours.d_ap(kind) == pytest.approx(gains[name], abs=1e-6), kind
        assert ours.counts(matches.det_conf)[kind] == counts[name], kind
    assert ours.d_ap("false_positives") == pytest.approx(gains["FalsePos"], abs=1e-6)
    assert ours.d_ap("false_negatives") == pytest.approx(gains["FalseNeg"], abs=1e-6)


def copied(matches: Matches, draw: NDArray[np.int64]) -> Matches:
    """The drawn images beside each other, copies as images of their own."""
    detections = [np.flatnonzero(matches.det_image == image) for image in draw]
    labels = [np.flatnonzero(matches.gt_image == image) for image in draw]
    places = np.arange(len(draw), dtype=np.int32)
    taken = matches.taking(detections=np.concatenate(detections), labels=np.concatenate(labels))
    return replace(
        taken,
        image=places,
        det_image=np.repeat(places, [len(rows) for rows in detections]),
        gt_image=np.repeat(places, [len(rows) for rows in labels]),
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 12), per_image=st.integers(3, 30), classes=st.integers(1, 4))
def test_intervals_are_those_of_copying_the_images(seed: int, images: int, per_image: int, classes: int) -> None:
    matches = by_chance(seed, images, per_image, classes)
    draws = list(unit_draws(images, 25, seed))
    decompositions = [decomposed(copied(matches, draw)) for draw in draws if np.isin(matches.gt_image, draw).any()]
    ours = decomposed(matches).fixes.gain_intervals(replicates=25, seed=seed)
    for fix in FIXES:
        expected = interval(np.array([found.d_ap(fix) for found in decompositions]))
        assert ours.get(fix) == (None if expected is None else pytest.approx(expected, abs=1e-9)), fix


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 15), classes=st.integers(1, 4))
def test_the_order_of_images_and_a_larger_scale_change_nothing(seed: int, images: int, classes: int) -> None:
    matches = by_chance(seed, images, 30, classes)
    changed = images_permuted(matches, seed)
    changed.det_box[:] *= 2
    changed.gt_box[:] *= 2
    first, second = decomposed(matches), decomposed(changed)
    for fix in FIXES:
        assert first.d_ap(fix) == pytest.approx(second.d_ap(fix), abs=1e-12)
    assert first.counts(matches.det_conf, 0.3) == second.counts(changed.det_conf, 0.3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(1, 10), per_image=st.integers(0, 40), classes=st.integers(1, 4))
def test_every_wrong_detection_has_one_kind(seed: int, images: int, per_image: int, classes: int) -> None:
    matches = by_chance(seed, images, per_image, classes, labels=5)
    if not len(matches.gt_cls):
        return
    found = decomposed(matches)
    counts = found.counts(matches.det_conf)
    assert sum(counts[kind] for kind in KINDS[:-1]) == counts["false_positives"]
    assert counts["miss"] <= counts["false_negatives"]
    assert (found.kind == CORRECT).sum() == len(matches.gt_cls) - counts["false_negatives"]
