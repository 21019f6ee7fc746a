"""What weights and starts show, and what they don't."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.origin import origin_of
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.diagnostics.weight_initialization import CHECK
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import RunFacts
from tests.diagnostics import cases

examine = CHECK.examine
CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", "../shared/corpus"))
NOTHING = np.full(50, 0.001)


def healthy_with(**health: object) -> Evidence:
    return cases.with_checkpoint(cases.healthy(), weight_health=cases.weight_health(**health))


def started(metric: np.ndarray | None = None, *, checkpoint: bool = False, **arguments: object) -> Evidence:
    run = cases.run(metric, arguments=dict(arguments))
    if checkpoint:
        run = run.model_copy(update={"checkpoint": cases.checkpoint()})
    return Evidence(run, absent=dict(cases.ABSENT))


def test_sound_weights_with_a_high_first_epoch_pass():
    result = examine(cases.healthy())
    assert result.outcome == "passed" and "started from yolov8n.pt" in result.reason


def test_a_network_that_was_never_trained_is_critical_and_one_layer_major():
    result = examine(healthy_with(untouched_batch_norms=57, initial_batch_norms=57))
    assert result.finding is not None and result.finding.severity == "critical"
    assert examine(healthy_with(untouched_batch_norms=1)).finding.severity == "major"


def test_weights_that_were_not_transferred_are_found_by_their_scales():
    result = examine(healthy_with(initial_batch_norms=57))
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.title == "The weights of yolov8n.pt were not transferred"
    nothing = replace(healthy_with(initial_batch_norms=57), run=cases.run(NOTHING), training=None)
    nothing = cases.with_checkpoint(nothing, weight_health=cases.weight_health(initial_batch_norms=57))
    assert examine(nothing).finding.severity == "critical"


def test_a_new_head_after_few_epochs_is_no_fault():
    assert examine(healthy_with(initial_batch_norms=6)).outcome == "passed"


@pytest.mark.parametrize(("dead", "outcome"), [(5, "passed"), (60, "warned"), (600, "failed")])
def test_dead_channels_are_weighed_by_their_share(dead: int, outcome: str):
    assert examine(healthy_with(dead_channels=dead)).outcome == outcome


def lost(*, measured: float, trained: float, dead: int = 60) -> Evidence:
    """Dead channels in a network that reported about 0.6."""
    return replace(
        healthy_with(dead_channels=dead),
        evaluation=cases.evaluation(measured),
        training=cases.evaluation(trained, split="train"),
    )


def test_few_dead_channels_are_major_where_the_model_lost_what_it_reported():
    result = examine(lost(measured=0.2, trained=0.25))
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.impact.value == pytest.approx(cases.best_metric(cases.run()) - 0.2)
    assert "mAP50-95 lost since it was reported" in [item.name for item in result.finding.evidence]
    ranked = [found.cause for found in rank(explain_away(examine_all(lost(measured=0.2, trained=0.25))))]
    assert ranked[0] == "weight_initialization" and "metric_mismatch" in ranked


def test_dead_channels_are_no_reason_where_training_images_are_as_well_known_as_ever():
    """Then the validation images or their labels changed."""
    assert examine(lost(measured=0.2, trained=0.7)).outcome == "warned"
    assert examine(lost(measured=0.59, trained=0.61)).outcome == "warned"
    assert examine(lost(measured=0.2, trained=0.25, dead=5)).outcome == "passed"


def test_constant_layers_are_named():
    result = examine(healthy_with(constant_count=2, constant_layers=("model.3.conv.weight", "model.4.conv.weight")))
    assert result.finding is not None and "model.3.conv.weight" in result.finding.explanation


def test_a_start_from_nothing_that_learnt_nothing_is_major():
    result = examine(started(NOTHING, model="yolov8n.yaml"))
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.remedies[0].patch["model"].endswith(".pt")
    with_data = replace(started(NOTHING, model="yolov8n.yaml"), dataset=cases.dataset())
    evidence = {item.name: item.value for item in examine(with_data).finding.evidence}
    assert evidence["training images"] == 900
    assert evidence["optimizer steps"] == pytest.approx(50 * 57 / 4 + 36, abs=2)  # 36 more in warm-up


@pytest.mark.parametrize(
    ("task", "weights"),
    [("detect", "yolov8n.pt"), ("segment", "yolov8n-seg.pt"), ("pose", "yolov8n-pose.pt"), ("obb", "yolov8n-obb.pt")],
)
def test_pretrained_weights_are_of_the_runs_task(task: str, weights: str):
    evidence = started(NOTHING, model="yolov8n.yaml")
    result = examine(replace(evidence, run=evidence.run.model_copy(update={"task": task})))
    assert result.finding is not None
    remedy = result.finding.remedies[0]
    assert remedy.patch["model"] == weights
    assert remedy.code is not None and weights in remedy.code


@pytest.mark.parametrize(
    ("framework", "arguments", "patch"),
    [
        ("ultralytics", {"model": "yolo26s.yaml"}, {"model": "yolo26s.pt", "pretrained": True}),
        ("ultralytics", {"model": "cfg/models/11/yolo11.yaml"}, {"model": "yolo11n.pt", "pretrained": True}),
        ("ultralytics", {"model": "a/yolov9t.yaml"}, {"model": "yolov9t.pt", "pretrained": True}),
        ("ultralytics", {"model": "mine.yaml"}, {"model": "yolo11n.pt", "pretrained": True}),
        ("ultralytics", {"model": "yolov8-dehaze.yaml"}, {"model": "yolov8-dehaze.yaml", "pretrained": "yolov8n.pt"}),
        ("yolov5", {"weights": "", "cfg": "models/yolov5m.yaml"}, {"weights": "yolov5m.pt"}),
        ("yolov5", {"weights": "", "cfg": "models/mine.yaml"}, {}),
        ("yolov9", {"weights": "", "cfg": "models/detect/gelan-c.yaml"}, {"weights": "gelan-c.pt"}),
    ],
)
def test_pretrained_weights_are_of_the_runs_framework_and_family(framework: str, arguments: dict, patch: dict):
    evidence = started(NOTHING, **arguments)
    result = examine(replace(evidence, run=evidence.run.model_copy(update={"framework": framework})))
    assert result.finding is not None and result.finding.remedies[0].patch == patch


def test_a_start_from_nothing_that_learnt_is_no_fault():
    assert examine(started(model="yolov8n.yaml", checkpoint=True)).outcome == "passed"
    assert examine(started(model="yolov8n.yaml")).outcome == "not_run"


def test_a_start_from_nothing_that_knows_its_training_images_has_learnt():
    """It overfits, which is another cause: its validation figures alone don't say that it learnt nothing."""
    fits = cases.evaluation(0.4, split="train")
    evidence = replace(started(NOTHING, model="yolov8n.yaml", checkpoint=True), training=fits)
    assert examine(evidence).outcome == "passed"
    learnt_nothing = examine(replace(evidence, training=cases.evaluation(0.01, split="train")))
    assert learnt_nothing.finding is not None and "learnt next to nothing" in learnt_nothing.finding.title
    shown = {item.name: item.value for item in learnt_nothing.finding.evidence}
    assert shown["mAP50-95 on training images"] == 0.01
    nothing = cases.run(NOTHING).model_copy(
        update={"checkpoint": cases.checkpoint(weight_health=cases.weight_health(initial_batch_norms=57))}
    )
    assert examine(Evidence(nothing, training=fits, absent=dict(cases.ABSENT))).finding.severity == "major"


def test_a_start_from_nothing_that_doesn_t_know_its_own_few_images_is_named():
    stock = cases.checkpoint(parameters=2_600_000)
    scratch = started(0.3 * cases.smooth(40), model="yolov8n.yaml")
    scratch = replace(scratch, run=scratch.run.model_copy(update={"checkpoint": stock}), dataset=cases.dataset())
    unfitted = replace(scratch, training=cases.evaluation(0.25, split="train", instances=(300, 300)))
    result = examine(unfitted)
    assert result.outcome == "failed" and "own training images" in result.reason
    fitted = replace(scratch, training=cases.evaluation(0.7, split="train", instances=(300, 300)))
    assert examine(fitted).outcome == "passed"
    small = unfitted.run.model_copy(update={"checkpoint": cases.checkpoint(parameters=120_000)})
    assert examine(replace(unfitted, run=small)).outcome == "passed", "see underfitting"
    pretrained = cases.run(0.3 * cases.smooth(40)).model_copy(update={"checkpoint": stock})
    assert examine(replace(unfitted, run=pretrained)).outcome != "failed"


def test_a_low_first_epoch_of_a_pretrained_run_is_never_a_finding():
    slow = np.concatenate([[0.0, 0.001], cases.smooth(98)])
    result = examine(started(slow, checkpoint=True))
    assert result.outcome == "inconclusive" and "can't be told without the checkpoint" in result.reason


@pytest.mark.parametrize(("metric", "severity"), [(NOTHING, "major"), (None, "minor")])
def test_a_checkpoint_of_another_size_shows_in_the_fifth_epoch(metric: np.ndarray | None, severity: str):
    slow = np.concatenate([np.zeros(5), cases.smooth(45)]) if metric is None else metric
    run = cases.run(slow, arguments={"weights": "yolov5s.pt", "cfg": "models/yolov5m_my.yaml"})
    evidence = Evidence(run.model_copy(update={"framework": "yolov5"}), absent=dict(cases.ABSENT))
    assert examine(evidence).finding.severity == severity
    fast = cases.run(arguments={"weights": "yolov5s.pt", "cfg": "models/yolov5m_my.yaml"})
    assert examine(replace(evidence, run=fast.model_copy(update={"framework": "yolov5"}))).outcome == "not_run"


@pytest.mark.parametrize(
    ("framework", "arguments", "start"),
    [
        ("ultralytics", {"model": "yolo11n.pt"}, "pretrained"),
        ("ultralytics", {"model": "yolo11n"}, "pretrained"),
        ("ultralytics", {"model": "E:\\sets\\yolov8s.pt"}, "pretrained"),
        ("ultralytics", {"model": "yolo11n.yaml", "pretrained": True}, "scratch"),
        ("ultralytics", {"model": "yolo11n.yaml", "pretrained": "a/yolo11n.pt"}, "pretrained"),
        ("ultralytics", {"model": "last.pt", "resume": "runs/last.pt"}, "resumed"),
        ("ultralytics", {"model": None}, "unknown"),
        ("yolov5", {"weights": "", "cfg": "models/yolov5n.yaml"}, "scratch"),
        ("yolov5", {"weights": "''", "cfg": "models/yolov5n.yaml"}, "scratch"),
        ("yolov5", {"weights": "yolov5n.pt", "cfg": ""}, "pretrained"),
        ("yolov5", {"weights": 3}, "unknown"),
    ],
)
def test_the_start_is_read_off_the_arguments(framework: str, arguments: dict[str, object], start: str):
    run = cases.run(arguments=arguments).model_copy(update={"framework": framework})
    assert origin_of(run).start == start


def test_nan_weights_are_another_cause():
    result = examine(cases.with_checkpoint(cases.healthy(), nonfinite_tensors=("a",)))
    assert result.outcome == "inconclusive" and "numerical_divergence" in result.reason


def test_what_is_missing_is_not_run():
    assert examine(cases.curves_only(cases.run())).reason == cases.ABSENT["checkpoint"]
    assert examine(cases.with_checkpoint(cases.healthy(), weight_health=None)).outcome == "not_run"


@pytest.mark.corpus
def test_only_the_checkpoint_that_never_learnt_is_found(tmp_path: Path):
    outcomes = {}
    for number, path in enumerate(sorted(CORPUS.rglob("*.pt"))):
        checkpoint = read_checkpoint(path, source=path.name, weights_out=tmp_path / f"{number}.safetensors")
        run = RunFacts(folder="", framework="ultralytics", task="detect", checkpoint=checkpoint, status="finished")
        outcomes[path.relative_to(CORPUS).parts[1]] = examine(Evidence(run)).outcome
    assert len(outcomes) >= 10
    assert {name for name, outcome in outcomes.items() if outcome in ("failed", "warned")} == {"yolo11n-cls_mnist160"}


@pytest.mark.parametrize("stride", [1e-200, 1e200])
def test_strides_of_a_stranger_s_checkpoint_raise_nothing(stride: float):
    run = cases.run(NOTHING, arguments={"model": "yolo11n.yaml", "pretrained": False})
    health = cases.weight_health(initial_batch_norms=57, class_bias=((-9.0, -9.0),))
    facts = cases.checkpoint(stride=(stride,), weight_health=health)
    assert (
        examine(Evidence(run.model_copy(update={"checkpoint": facts}), absent=dict(cases.ABSENT))).finding is not None
    )
