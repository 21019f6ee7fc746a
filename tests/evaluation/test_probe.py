"""The fine-tune probe: what more training gains, what a fix gains beyond it, and what is not tried."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.planted.bases import render
from benchmarks.planted.trainings import Training, change_data, copy_run, trainings
from benchmarks.probe import opened
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.fine_tuning import Material
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.probe import (
    LEAST_RATIO,
    MOST_SECONDS,
    SEEDS,
    TOO_SLOW,
    Probe,
    median_side,
    probe,
    repeat_factors,
    why_not_probed,
)
from runaudit.evaluation.protocol import YOLOV5
from runaudit.evaluation.selection import labelled_part

TRAINING_IMAGES, VALIDATION_IMAGES = 64, 40
DARKER = PixelChange(tones=tuple(level // 3 for level in range(256)))
KNOWN = {training.name: training for training in trainings()}
Prepare = Callable[[str], Probe]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """The probe of a kept run, on the images that it was trained on."""
    made: dict[str, Probe] = {}

    def prepare(name: str) -> Probe:
        if name not in made:
            made[name] = _prepared(KNOWN[name], tmp_path_factory.mktemp(name))
        return made[name]

    return prepare


def _prepared(training: Training, folder: Path) -> Probe:
    run, data = folder / "run", folder / "data"
    copy_run(training, run)
    render(training.base, data, seed=training.seed, train=TRAINING_IMAGES, val=VALIDATION_IMAGES)
    change_data(training, data)
    return opened(run, data, folder, replicates=200)[0]


@pytest.fixture(scope="module")
def probed(prepared: Prepare) -> Callable[..., dict[str, InterventionFacts]]:
    """What the probe of a kept run found, by name. Each takes seconds: three seeds of each arm are trained."""
    made: dict[str, dict[str, InterventionFacts]] = {}

    def found(name: str, change: PixelChange | None = None) -> dict[str, InterventionFacts]:
        if name not in made:
            attempts = Attempts()
            interventions = probe(prepared(name), toward_validation=change, attempts=attempts)
            assert attempts.not_run == {}
            made[name] = {one.name: one for one in interventions}
        return made[name]

    return found


Probed = Callable[..., dict[str, InterventionFacts]]


def test_a_run_that_was_cut_short_gains_by_more_training(probed: Probed) -> None:
    found = probed("shapes-11-insufficient_epochs-3")
    assert set(found) == {"continued_training"}
    gain = found["continued_training"]
    assert gain.ci95 is not None
    assert gain.ci95[0] > 0
    assert gain.difference > 0.01
    assert gain.after == pytest.approx(gain.before + gain.difference)
    assert gain.images == VALIDATION_IMAGES
    assert re.search(rf"over {TRAINING_IMAGES} training images.*nothing else", gain.description)


def test_a_fix_is_held_against_as_long_a_training_without(probed: Probed) -> None:
    found = probed("shapes-11-class_imbalance-2", DARKER)
    assert set(found) == {"continued_training", "rare_classes_repeated", "trained_on_validation_look"}
    sham = found["continued_training"]
    for name in ("rare_classes_repeated", "trained_on_validation_look"):
        assert found[name].before == pytest.approx(sham.after)
        assert "as long a training without" in found[name].description
    # Validation looks as training does here: to learn another look can't help it for sure.
    ends = found["trained_on_validation_look"].ci95
    assert ends is not None
    assert ends[0] <= 0


def test_small_objects_are_tried_at_a_larger_input(probed: Probed) -> None:
    larger = probed("shapes-11-model_architecture-imgsz-2")["trained_at_larger_input"]
    assert larger.ci95 is not None
    assert larger.ci95[0] > 0.02
    assert "at 96 pixels instead of 64" in larger.description


def test_the_checkpoint_s_own_score_is_that_of_its_validation(prepared: Prepare) -> None:
    one = prepared("shapes-11-class_imbalance-2")
    scores = one.before()
    assert float(scores.average.mean()) == pytest.approx(one.validated.facts.metrics.map50_95)
    assert scores.replicates == pytest.approx(one.validated.replicates.class_map50_95, nan_ok=True)


def test_a_network_that_can_t_be_trained_says_so_and_tries_no_other_arm(prepared: Prepare, tmp_path: Path) -> None:
    one = prepared("shapes-11-class_imbalance-2")
    tensors = load_file(one.weights)
    name = next(name for name in tensors if name.endswith("cv3.0.2.bias"))
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    save_file(tensors, tmp_path / "weights.safetensors")
    attempts = Attempts()
    assert (
        probe(replace(one, weights=tmp_path / "weights.safetensors"), toward_validation=DARKER, attempts=attempts) == ()
    )
    assert list(attempts.not_run) == ["intervention continued_training"]
    assert "the loss is nan" in attempts.not_run["intervention continued_training"]


def test_what_would_take_too_long_is_left_out_and_said(prepared: Prepare) -> None:
    one = prepared("shapes-11-class_imbalance-2")
    attempts = Attempts()
    late = replace(one, until=time.perf_counter())
    assert probe(late, toward_validation=None, attempts=attempts) == ()
    assert attempts.not_run == {"intervention continued_training": TOO_SLOW}


def test_arms_that_time_does_not_suffice_for_are_left_out(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps once the sham has its three seeds."""
    one = prepared("shapes-11-class_imbalance-2")
    before, passed = time.perf_counter, Probe._passed
    passes: list[int] = []

    def counted(self: Probe, *arguments: Any) -> Any:
        passes.append(1)
        return passed(self, *arguments)

    monkeypatch.setattr(Probe, "_passed", counted)
    monkeypatch.setattr(time, "perf_counter", lambda: before() + (MOST_SECONDS if len(passes) >= SEEDS else 0.0))
    attempts = Attempts()
    short = replace(one, training=labelled_part(one.training, np.arange(16)), until=before() + MOST_SECONDS)
    found = probe(short, toward_validation=DARKER, attempts=attempts)
    assert [change.name for change in found] == ["continued_training"]
    assert "intervention trained_on_validation_look" in attempts.not_run
    assert set(attempts.not_run.values()) == {TOO_SLOW}


def test_what_can_t_be_probed_is_said(prepared: Prepare) -> None:
    one = prepared("shapes-11-insufficient_epochs-3")
    assert "needs a GPU" in (why_not_probed(one) or "")
    on_gpu = replace(one.subject, network=replace(one.subject.network, device=torch.device("cuda")))
    assert why_not_probed(replace(one, subject=on_gpu)) is None
    anchors = replace(on_gpu, network=replace(on_gpu.network, protocol=YOLOV5))
    assert "loss" in (why_not_probed(replace(one, subject=anchors)) or "")
    masks = replace(on_gpu, network=replace(on_gpu.network, task="segment"))
    assert "loss" in (why_not_probed(replace(one, subject=masks)) or "")
    empty = one.training.taking(np.zeros(0, dtype=np.intp))
    assert "label" in (why_not_probed(replace(one, subject=on_gpu, training=empty)) or "")


def test_the_run_s_own_gains_and_flips_are_kept(prepared: Prepare) -> None:
    one = prepared("shapes-11-insufficient_epochs-3")
    assert one.recipe.mirrored == 0.0, "its args.yaml turns flips off"
    bare = replace(one, run=one.run.model_copy(update={"configuration": None, "checkpoint": None}))
    assert bare.recipe.mirrored == 0.5
    assert bare.recipe.gains == {"box": 7.5, "cls": 0.5, "dfl": 1.5}


def material_of(images: list[list[int]]) -> Material:
    """Images that hold objects of these classes."""
    counts = [len(classes) for classes in images]
    return Material(
        versions=(np.zeros((len(images), 8, 8, 3), dtype=np.uint8),),
        start=np.r_[0, np.cumsum(counts)],
        cls=np.array([number for classes in images for number in classes], dtype=np.int32),
        box=np.full((sum(counts), 4), 0.5, dtype=np.float32),
    )


def test_an_image_is_repeated_by_its_rarest_class() -> None:
    images = [[0]] * 35 + [[0, 1]] + [[], [2, 2, 2, 2, 0]]
    factors = repeat_factors(material_of(images), classes=5)
    assert factors is not None
    assert factors[:35] == pytest.approx(1.0)
    # 37 images show class 0, one each the others.
    assert factors[35:] == pytest.approx([37**0.5, 1.0, 37**0.5])


@pytest.mark.parametrize(
    "images", [[[0]] * 40, [[0, 1]] * 40, [[0]] * round(LEAST_RATIO - 1) + [[1]], [[]] * 3], ids=str
)
def test_where_no_class_is_rare_none_is_repeated(images: list[list[int]]) -> None:
    assert repeat_factors(material_of(images), classes=3) is None


def test_the_median_side_is_that_at_the_input_s_size(prepared: Prepare) -> None:
    labelled = prepared("shapes-11-insufficient_epochs-3").validation
    at_128, at_256 = median_side(labelled, 128), median_side(labelled, 256)
    assert at_256 == pytest.approx(2 * at_128)
    sizes = np.array([(entry.width, entry.height) for entry in labelled.entries])
    assert sizes.max() == 160
    of_label = np.repeat(np.arange(len(sizes)), np.diff(labelled.start))
    pixels = (labelled.box[:, 2:] - labelled.box[:, :2]) * sizes[of_label]
    scale = 128 / sizes[of_label].max(axis=1)
    assert at_128 == pytest.approx(np.median(np.sqrt(pixels[:, 0] * pixels[:, 1]) * scale))
