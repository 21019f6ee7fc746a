"""Label errors planted in a simulated detector's matches: rates, suspects, and silence on clean labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.diagnostics.label_issues import LIMITS, limit_of
from runaudit.evaluation.label_facts import SuspectKind
from runaudit.evaluation.label_quality import KINDS, LEAST_CONFIDENCE, LEAST_PRECISION, LabelQuality, label_quality
from runaudit.evaluation.matching import Matches
from tests.evaluation.planted_labels import ErrorKind, World, planted, simulated, square_sizes

WORLDS = {
    "easy": World(),
    "hard": World(difficulty=1.0, seed=1),
    "objects too small to see": World(small=0.3, seed=2),
    "crowded": World(crowd=True, objects=12, seed=3),
    "one class": World(classes=1, seed=4),
}
FOUND_AS: dict[ErrorKind, SuspectKind] = {
    "missing": "overlooked",
    "swap": "swapped",
    "shift": "misplaced",
    "spawn": "spurious",
    "duplicate": "duplicated",
}


def reviewed(matches: Matches) -> LabelQuality:
    return label_quality(matches, square_sizes(matches))


def alarms(quality: LabelQuality) -> set[SuspectKind]:
    return {kind for kind, rate in quality.rates.items() if rate.ci95 is not None and rate.ci95[0] > limit_of(kind)}


@pytest.mark.parametrize("name", WORLDS)
def test_clean_labels_raise_no_alarm(name: str):
    assert alarms(reviewed(simulated(WORLDS[name]))) == set()


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("kind", ["missing", "swap", "shift", "duplicate"])
@pytest.mark.parametrize("name", ["easy", "hard", "objects too small to see"])
def test_planted_errors_are_counted(name: str, kind: ErrorKind, rate: float):
    matches = simulated(WORLDS[name])
    wrong, hit = planted(matches, square_sizes(matches), kind, rate)
    quality = reviewed(wrong)
    estimated = quality.rates[FOUND_AS[kind]]
    truth = hit.mean() / (1 + hit.mean()) if kind == "duplicate" else hit.mean()
    assert estimated.rate == pytest.approx(truth, abs=0.02 + 0.2 * rate)
    assert estimated.ci95 is not None and estimated.ci95[0] <= estimated.rate <= estimated.ci95[1]
    if rate >= 0.1:
        assert alarms(quality) >= {FOUND_AS[kind]}


@pytest.mark.parametrize("rate", [0.1, 0.25])
def test_spurious_labels_are_counted_and_hidden_objects_are_not(rate: float):
    matches = simulated(WORLDS["objects too small to see"])
    clean = reviewed(matches)
    assert clean.rates["spurious"].rate == pytest.approx(0, abs=0.01)
    wrong, hit = planted(matches, square_sizes(matches), "spawn", rate)
    quality = reviewed(wrong)
    truth = hit.sum() / len(wrong.gt_cls)
    assert quality.rates["spurious"].rate == pytest.approx(truth, abs=0.05)
    assert "spurious" in alarms(quality)


@pytest.mark.parametrize("kind", ["swap", "shift"])
def test_suspects_are_the_labels_that_are_wrong(kind: ErrorKind):
    matches = simulated(WORLDS["easy"])
    wrong, hit = planted(matches, square_sizes(matches), kind, 0.1)
    suspects = reviewed(wrong).suspects
    probable = suspects.of(FOUND_AS[kind]) & (suspects.score >= 0.5)
    assert hit[suspects.label[probable]].mean() > 0.9
    assert len(np.unique(suspects.label[probable])) > 0.6 * hit.sum()
    assert (np.diff(suspects.score) <= 0).all()


def test_an_overlooked_object_is_named_by_its_detection():
    matches = simulated(WORLDS["easy"])
    wrong, _ = planted(matches, square_sizes(matches), "missing", 0.1)
    suspects = reviewed(wrong).suspects
    probable = suspects.of("overlooked") & (suspects.score >= 0.5)
    assert matches.tp[suspects.detection[probable], 0].mean() > 0.9
    assert (suspects.label[probable] == -1).all()


def test_errors_in_a_crowd_are_found_and_spurious_ones_not_judged():
    matches = simulated(WORLDS["crowded"])
    wrong, _ = planted(matches, square_sizes(matches), "swap", 0.15)
    assert "swapped" in alarms(reviewed(wrong))


def test_two_classes_that_share_boxes_by_habit_are_no_duplicates():
    matches = simulated(World(classes=2))
    both = planted(matches, square_sizes(matches), "duplicate", 1.0)[0]
    second = np.zeros(len(both.gt_cls), dtype=bool)
    second[1::2] = True
    doubled = replace(both, gt_cls=np.where(second, 3, 2).astype(np.int32))
    pairs = replace(doubled, gt_box=np.repeat(matches.gt_box, 2, axis=0), gt_image=np.repeat(matches.gt_image, 2))
    assert not reviewed(pairs).suspects.of("duplicated").any()
    same = replace(pairs, gt_cls=np.zeros_like(pairs.gt_cls))
    assert reviewed(same).suspects.of("duplicated").sum() == len(matches.gt_cls)


def test_too_few_labels_are_not_judged():
    quality = reviewed(simulated(World(images=6, objects=3)))
    assert quality.rates["swapped"].rate is None and quality.rates["swapped"].why is not None
    assert quality.rates["spurious"].rate is None and quality.rates["spurious"].why is not None


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 12),
    objects=st.floats(0.5, 8),
    crowd=st.booleans(),
    classes=st.integers(1, 3),
)
def test_scores_and_rows_are_in_range_whatever_comes(seed: int, images: int, objects: float, crowd: bool, classes: int):
    matches = simulated(World(images=images, objects=objects, crowd=crowd, classes=classes, seed=seed))
    if not len(matches.gt_cls):
        return
    quality = reviewed(matches)
    suspects = quality.suspects
    assert ((suspects.score >= 0) & (suspects.score <= 1)).all()
    assert (suspects.label < len(matches.gt_cls)).all() and (suspects.detection < len(matches.det_cls)).all()
    assert ((suspects.label >= 0) | (suspects.detection >= 0)).all()
    assert set(quality.rates) == set(KINDS)
    for rate in quality.rates.values():
        assert rate.rate is None or 0 <= rate.rate <= 1


def test_a_weak_model_is_not_asked():
    """Right labels, seen by a model whose true positives are chance hits of low confidence."""
    matches = simulated(World(difficulty=2.0, seed=5))
    weak = replace(matches, det_conf=(0.5 * matches.det_conf**2).astype(np.float32))
    quality = reviewed(weak)
    assert quality.why_not is not None and alarms(quality) == set()
    assert not any(quality.suspects.of(kind).any() for kind in ("overlooked", "swapped", "misplaced", "spurious"))
    assert LIMITS.confidence == LEAST_CONFIDENCE


def test_a_model_that_is_sure_of_more_than_there_is_is_not_asked():
    """Right labels, seen by a model that is as sure of what is not there: an early epoch at a high rate."""
    matches = simulated(WORLDS["easy"])
    wrong = np.flatnonzero(~matches.tp[:, 0])
    raised = matches.det_conf.copy()
    raised[wrong] = np.random.default_rng(0).choice(matches.det_conf[matches.tp[:, 0]], size=len(wrong))
    quality = reviewed(replace(matches, det_conf=raised))
    assert quality.seen.precision < LEAST_PRECISION < LEAST_CONFIDENCE < quality.seen.confidence
    assert quality.why_not is not None and f"{quality.seen.precision:.0%} agree" in quality.why_not
    assert alarms(quality) == set()
    assert LIMITS.precision == LEAST_PRECISION


@pytest.mark.parametrize("kind", ["swap", "shift", "missing"])
def test_as_many_as_two_of_five_labels_may_be_wrong(kind: ErrorKind):
    matches = simulated(WORLDS["easy"])
    wrong, _ = planted(matches, square_sizes(matches), kind, 0.4)
    quality = reviewed(wrong)
    assert quality.seen.precision > LEAST_PRECISION
    assert FOUND_AS[kind] in alarms(quality)


@pytest.mark.parametrize("labels", [1, 200])
def test_without_detections_nothing_is_said(labels: int):
    matches = simulated(World())
    nothing = matches.taking(
        detections=np.zeros(len(matches.det_cls), dtype=bool), labels=np.arange(len(matches.gt_cls)) < labels
    )
    quality = reviewed(nothing)
    assert quality.why_not is not None and not len(quality.suspects.score)
    assert "none of its surest detections is a true positive" in quality.why_not and "0.00" not in quality.why_not
