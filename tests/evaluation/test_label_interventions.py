"""Correcting suspects gives back what planted errors cost, its sham little, and clean labels nothing."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.box_offsets import residuals
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_interventions import (
    Baseline,
    class_blind,
    class_mapped,
    habit_corrected,
    suspects_changed,
)
from runaudit.evaluation.label_quality import label_quality
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS, YOLOV5
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.sightings import sightings
from tests.evaluation.planted_labels import ErrorKind, World, large_objects, planted, simulated, square_sizes


def changes(matches: Matches) -> dict[str, InterventionFacts]:
    found = suspects_changed(Baseline.of(matches, ULTRALYTICS), label_quality(matches, square_sizes(matches)))
    return {change.name: change for change in found}


@pytest.mark.parametrize("kind", ["missing", "swap", "shift", "duplicate", "spawn"])
def test_correcting_gives_back_what_errors_cost(kind: ErrorKind):
    clean = simulated(World())
    wrong, _ = planted(clean, square_sizes(clean), kind, 0.15)
    lost = Baseline.of(clean, ULTRALYTICS).value - Baseline.of(wrong, ULTRALYTICS).value
    found = changes(wrong)
    net = found["suspects_corrected"].difference - found["random_corrected"].difference
    assert lost > 0.02
    assert 0.5 * lost < net < 1.3 * lost
    assert found["random_left_out"].difference < 0.01
    gain = found["suspects_corrected"]
    assert gain.ci95 is not None and gain.ci95[0] <= gain.difference <= gain.ci95[1] and gain.ci95[0] > 0
    assert gain.before == pytest.approx(Baseline.of(wrong, ULTRALYTICS).value)
    assert all(change.grade == "oracle" for change in found.values())


@pytest.mark.parametrize("world", [World(), World(difficulty=1.0, seed=1), World(small=0.3, seed=2)])
def test_clean_labels_have_next_to_nothing_to_gain(world: World):
    found = changes(simulated(world))
    if found:
        assert found["suspects_corrected"].difference - found["random_corrected"].difference < 0.01


@pytest.mark.parametrize("protocol", [ULTRALYTICS, YOLOV5])
def test_a_constant_looseness_is_given_back(protocol):
    clean = relabelled(simulated(World()), protocol)
    side = clean.gt_box[:, 2:] - clean.gt_box[:, :2]
    loose = relabelled(
        clean, protocol, gt_box=np.hstack([clean.gt_box[:, :2] - 0.1 * side, clean.gt_box[:, 2:] + 0.1 * side])
    )
    base = Baseline.of(loose, protocol)
    seen = label_quality(loose, square_sizes(loose)).seen
    change = habit_corrected(base, residuals(loose, seen, square_sizes(loose)), square_sizes(loose))
    assert change is not None and change.grade == "intervention"
    assert change.after == pytest.approx(Baseline.of(clean, protocol).value, abs=0.02)
    assert change.difference > 0.1


def test_a_constant_looseness_of_objects_at_the_border_is_given_back():
    clean, loose = large_objects(40), large_objects(40, scale=1.3)
    base, sizes = Baseline.of(loose, ULTRALYTICS), square_sizes(loose)
    change = habit_corrected(base, residuals(loose, sightings(loose), sizes), sizes)
    assert change is not None and change.difference > 0.1
    assert change.after == pytest.approx(Baseline.of(clean, ULTRALYTICS).value, abs=0.05)


def test_mapping_permuted_ids_gives_back_everything():
    clean = simulated(World(classes=3))
    base = Baseline.of(relabelled(clean, ULTRALYTICS, gt_cls=(clean.gt_cls + 1) % 3), ULTRALYTICS)
    change = class_mapped(base, {0: 1, 1: 2, 2: 0}, 3)
    assert change.after == pytest.approx(Baseline.of(clean, ULTRALYTICS).value)
    assert class_blind(base).after > change.after - 0.05 > base.value


def test_the_same_labels_give_no_difference_and_an_interval_of_nothing():
    matches = simulated(World(images=40))
    change = Baseline.of(matches, ULTRALYTICS).compared(
        "nothing", "Nothing.", "intervention", relabelled(matches, ULTRALYTICS)
    )
    assert change.difference == 0 and change.ci95 == (0, 0) and change.images == 40
