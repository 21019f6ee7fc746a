"""Reported figures made by known settings, and whether reconciling finds the setting: on the example's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.shapes import render
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.candidates import candidates
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.conventions import Figures, conventions, figures
from runaudit.evaluation.evaluate import canonical_settings
from runaudit.evaluation.labels import labelled_images
from runaudit.evaluation.network import rebuild
from runaudit.evaluation.reconcile import Canonical, Reported, reconcile
from runaudit.evaluation.validation_pass import PassSettings, run_pass
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from tests.evaluation import jobs
from tests.evaluation.jobs import EXAMPLES, run_of

IMGSZ = 160
IMAGES = 28


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Canonical:
    """The healthy example, validated canonically on a few rendered images; its training split is smaller still."""
    folder = tmp_path_factory.mktemp("reconcile")
    data_yaml = render(folder / "data", train=20, val=IMAGES)
    jobs.vary_images(folder / "data" / "images" / "val")
    weights, labels = folder / "weights.safetensors", folder / "labels.safetensors"
    best = EXAMPLES / "runs" / "healthy" / "weights" / "best.pt"
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=weights)
    _, index, arrays = read_dataset(data_yaml.parent, data_yaml, own_machine=False)
    write_labels(labels, arrays)
    run = run_of(checkpoint, imgsz=IMGSZ, batch=4).model_copy(update={"framework_version": "8.4.190"})
    network = rebuild(checkpoint, weights, torch.device("cpu"))
    labelled = labelled_images(index, labels, "val", classes=network.classes, single_cls=False)
    settings = canonical_settings(network, labelled, IMGSZ, single_cls=False)
    passed = run_pass(network, labelled, Path(index.root), settings, clock=Clock())
    return Canonical(run, weights, index, labels, network, passed)


def reported_with(subject: Canonical, **changes: Any) -> Reported:
    """What a validation with these changed settings reports."""
    settings = replace(subject.passed.settings, **changes)
    passed = run_pass(subject.network, subject.passed.labelled, Path(subject.index.root), settings, clock=Clock())
    return Reported(figures(passed.matches, settings.protocol), {})


def canonical(subject: Canonical) -> Figures:
    return figures(subject.passed.matches, subject.passed.settings.protocol)


def test_another_image_size_is_found(subject: Canonical) -> None:
    reported = reported_with(subject, imgsz=320)
    assert not canonical(subject).reproduces(reported.figures)
    found = reconcile(subject, reported, depth="deep")
    assert found.explained_by == ("imgsz",)
    assert found.trials[-1].setting == {"imgsz": 320}
    assert found.trials[-1].map50_95 == pytest.approx(reported.figures.map50_95, abs=1e-6)


def test_a_size_that_the_run_names_is_tried_at_depth_standard_and_others_only_if_they_are_cheap(
    subject: Canonical,
) -> None:
    settings = subject.passed.settings
    sizes = [c.settings.imgsz for c in candidates(subject.run, subject.network, settings, "standard")]
    assert 320 not in sizes
    named = subject.run.model_copy(
        update={"configuration": subject.run.configuration and subject.run.configuration.model_copy(
            update={"values": {"imgsz": [320, 160], "batch": 4}}
        )}
    )  # fmt: skip
    assert 320 in [c.settings.imgsz for c in candidates(named, subject.network, settings, "standard")]


def test_a_size_that_only_the_checkpoint_names_is_tried(subject: Canonical) -> None:
    checkpoint = subject.run.checkpoint
    assert checkpoint is not None
    trained = checkpoint.model_copy(update={"train_args": {"imgsz": 320}})
    run = subject.run.model_copy(update={"checkpoint": trained})
    sizes = [c.settings.imgsz for c in candidates(run, subject.network, subject.passed.settings, "standard")]
    assert 320 in sizes


def test_a_confidence_needs_no_pass(subject: Canonical) -> None:
    protocol = replace(subject.passed.settings.protocol, confidence=0.25)
    reported = reported_with(subject, protocol=protocol)
    told: list[tuple[int, int]] = []
    found = reconcile(subject, reported, depth="standard", on_trial=lambda done, total: told.append((done, total)))
    assert not canonical(subject).reproduces(reported.figures)
    assert "conf" in found.explained_by
    explaining = [trial for trial in found.trials if trial.explains]
    assert explaining[0].setting == {"conf": 0.25}
    assert explaining[0].map50_95 == pytest.approx(reported.figures.map50_95, abs=1e-6)
    assert told == []


def test_names_in_another_order_are_found(subject: Canonical) -> None:
    labelled = subject.passed.labelled
    turned = replace(labelled, cls=(labelled.cls + 1) % 4)
    passed = run_pass(subject.network, turned, Path(subject.index.root), subject.passed.settings, clock=Clock())
    found = reconcile(replace(subject, passed=passed), Reported(canonical(subject), {}), depth="standard")
    assert found.explained_by == ("names",)
    assert found.trials[-1].setting == {"names": {"0": 1, "1": 2, "2": 3, "3": 0}}


def test_the_last_row_is_told_from_the_best(subject: Canonical) -> None:
    here = canonical(subject)
    reported = Reported(Figures(0.9, 0.8), {"the last row": here, "another": Figures(0.1, 0.05)})
    found = reconcile(subject, reported, depth="standard")
    assert found.explained_by == ("row",)
    assert [trial.setting for trial in found.trials if trial.explains] == [{"row": "the last row"}]


def test_the_older_convention_explains_an_older_version_only(subject: Canonical) -> None:
    older = figures(subject.passed.matches, subject.passed.settings.protocol, "older")
    old = replace(subject, run=subject.run.model_copy(update={"framework_version": "8.2.0"}))
    # The conventions are too near one another on these images to be beyond tolerance: the trial is what is looked at.
    found = reconcile(old, Reported(older, {}), depth="standard")
    assert "average_precision" in found.explained_by
    assert "average_precision" not in [t.name for t in reconcile(subject, Reported(older, {}), depth="standard").trials]


def test_another_split_is_found(subject: Canonical) -> None:
    labelled = labelled_images(subject.index, subject.labels, "train", classes=4, single_cls=False)
    settings: PassSettings = subject.passed.settings
    passed = run_pass(subject.network, labelled, Path(subject.index.root), settings, clock=Clock())
    reported = Reported(figures(passed.matches, settings.protocol), {})
    if canonical(subject).reproduces(reported.figures):
        pytest.fail("the splits have to differ for this test")
    found = reconcile(subject, reported, depth="standard")
    assert "split" in found.explained_by
    assert found.trials[-1].setting == {"split": "train"}


def test_what_no_setting_explains_is_left_unexplained(subject: Canonical) -> None:
    found = reconcile(subject, Reported(Figures(0.05, 0.9), {}), depth="standard")
    assert found.explained_by == ()
    assert {"conf", "single_cls", "iou", "rect", "batch", "split"} <= {trial.name for trial in found.trials}


def test_a_sample_alone_explains_nothing(subject: Canonical, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runaudit.evaluation.reconcile.SCREENED_IMAGES", 16)
    reported = reported_with(subject, imgsz=320)
    trials = reconcile(subject, reported, depth="deep").trials
    assert any(trial.sampled for trial in trials)
    assert all(trial.images == 16 and not trial.explains for trial in trials if trial.sampled)
    (whole,) = [trial for trial in trials if trial.explains]
    assert (whole.name, whole.images) == ("imgsz", IMAGES)
    estimate = next(trial for trial in trials if trial.sampled and trial.setting == whole.setting)
    assert estimate.map50_95 == pytest.approx(whole.map50_95, abs=0.1)


def test_a_setting_that_moves_figures_a_little_explains_no_gap_at_the_edge_of_tolerance() -> None:
    measured, reported = Figures(0.0003, 0.0001), Figures(0.0107, 0.0031)
    assert Figures(0.0008, 0.0001).reproduces(reported)
    assert not Figures(0.0008, 0.0001).closes(reported, measured)
    assert Figures(0.0100, 0.0030).closes(reported, measured)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("8.4.190", ("current",)),
        ("8.4.0", ("older",)),
        ("8.0.20", ("older",)),
        ("8.4.60", ("current", "older")),
        (None, ("current", "older")),
        ("8.x", ("current", "older")),
    ],
)
def test_conventions_follow_the_version(subject: Canonical, version: str | None, expected: tuple[str, ...]) -> None:
    assert conventions(subject.run.model_copy(update={"framework_version": version})) == expected


def test_yolov5_has_its_own(subject: Canonical) -> None:
    assert conventions(subject.run.model_copy(update={"framework": "yolov5"})) == ("current",)


def test_a_trial_that_runs_out_of_memory_leaves_the_others(subject: Canonical, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_of_memory(network: Any, labelled: Any, root: Any, settings: PassSettings, **more: Any) -> Any:
        if settings.imgsz > IMGSZ:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return run_pass(network, labelled, root, settings, **more)

    reported = reported_with(subject, imgsz=96)
    monkeypatch.setattr("runaudit.evaluation.reconcile.run_pass", short_of_memory)
    attempts = Attempts()
    found = reconcile(subject, reported, depth="deep", attempts=attempts)
    assert attempts.not_run == {"trial imgsz": "It ran out of memory."}
    assert "batch" in {trial.name for trial in found.trials}
