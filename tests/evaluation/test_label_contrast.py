"""What contradicts training labels more often than validation labels: planted, absent, and what looks like it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.diagnostics.label_issues import LIMITS
from runaudit.evaluation.label_contrast import FEWEST, MOST_IMAGES, label_contrast
from runaudit.evaluation.label_facts import Contradiction, ContrastFacts
from runaudit.evaluation.matching import Matches
from tests.evaluation.planted_labels import ErrorKind, World, planted, simulated, square_sizes

IMAGES = 120
WORLDS = {
    "easy": World(images=IMAGES, objects=3.0),
    "hard": World(images=IMAGES, objects=3.0, difficulty=1.0),
    "objects too small to see": World(images=IMAGES, objects=4.0, small=0.3),
    "crowded": World(images=IMAGES, objects=8.0, crowd=True),
}


def files_of(matches: Matches) -> list[str]:
    return [f"images/train/{number}.jpg" for number in range(len(matches.image))]


def contrasted(training: Matches, validation: Matches) -> dict[Contradiction, ContrastFacts]:
    return {one.kind: one for one in label_contrast(training, validation, files=files_of(training))}


def alarms(found: dict[Contradiction, ContrastFacts]) -> set[Contradiction]:
    return {kind for kind, one in found.items() if one.ci95[0] >= LIMITS.contrast}


def pair(world: World, seed: int = 0) -> tuple[Matches, Matches]:
    """Two splits of one kind."""
    return simulated(replace(world, seed=2 * seed)), simulated(replace(world, seed=2 * seed + 1))


@pytest.mark.parametrize("name", WORLDS)
def test_labels_alike_raise_no_alarm(name: str):
    for seed in range(5):
        found = contrasted(*pair(WORLDS[name], seed))
        assert set(found) == {"overlooked", "swapped", "misplaced"}
        assert alarms(found) == set()


@pytest.mark.parametrize(("kind", "found_as"), [("missing", "overlooked"), ("swap", "swapped"), ("shift", "misplaced")])
@pytest.mark.parametrize("name", WORLDS)
def test_errors_of_training_labels_are_found(name: str, kind: ErrorKind, found_as: Contradiction):
    training, validation = pair(WORLDS[name])
    wrong, _ = planted(training, square_sizes(training), kind, 0.3)
    found = contrasted(wrong, validation)
    assert found_as in alarms(found)
    one = found[found_as]
    assert one.training - one.validation == pytest.approx(one.difference)
    assert one.ci95[0] <= one.difference <= one.ci95[1]
    assert one.images and len(one.images) <= MOST_IMAGES


def test_errors_of_validation_labels_are_none_of_training():
    training, validation = pair(WORLDS["easy"])
    wrong, _ = planted(validation, square_sizes(validation), "missing", 0.3)
    found = contrasted(training, wrong)
    assert alarms(found) == set()
    assert found["overlooked"].ci95[1] < 0


def test_a_model_that_knows_training_by_heart_raises_no_alarm():
    training, _ = pair(WORLDS["easy"])
    validation = simulated(replace(WORLDS["easy"], difficulty=1.5, seed=9))
    assert alarms(contrasted(training, validation)) == set()


def test_the_images_named_are_those_with_the_surest_contradictions():
    training, validation = pair(WORLDS["easy"])
    wrong, _ = planted(training, square_sizes(training), "missing", 0.3)
    named = contrasted(wrong, validation)["overlooked"].images
    lost = np.bincount(training.gt_image, minlength=IMAGES) - np.bincount(wrong.gt_image, minlength=IMAGES)
    assert {f"images/train/{image}.jpg" for image in np.flatnonzero(lost)} >= set(named[:20])
    assert len(set(named)) == len(named)


def test_too_few_detections_tell_nothing():
    training, validation = pair(replace(WORLDS["easy"], images=8))
    assert min(int((one.det_conf >= 0.1).sum()) for one in (training, validation)) < 2 * FEWEST
    assert label_contrast(training, validation, files=files_of(training)) == ()


def test_images_of_one_scene_are_drawn_together():
    training, validation = pair(WORLDS["easy"])
    wrong, _ = planted(training, square_sizes(training), "missing", 0.2)
    alone = contrasted(wrong, validation)["overlooked"]
    scenes = (np.arange(IMAGES) // 12).astype(np.int32)
    grouped = contrasted(replace(wrong, group=scenes), replace(validation, group=scenes))["overlooked"]
    assert grouped.difference == pytest.approx(alone.difference)
    assert grouped.ci95 != alone.ci95


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 60), rate=st.floats(0, 1))
def test_shares_are_shares_whatever_is_seen(seed: int, images: int, rate: float):
    world = World(images=images, objects=3.0, seed=seed)
    training, validation = pair(world, seed)
    if not len(training.gt_cls):
        return
    wrong, _ = planted(training, square_sizes(training), "missing", rate, seed)
    for one in label_contrast(wrong, validation, files=files_of(wrong)):
        assert 0 <= one.training <= 1 and 0 <= one.validation <= 1
        assert -1 <= one.ci95[0] <= one.difference <= one.ci95[1] <= 1
