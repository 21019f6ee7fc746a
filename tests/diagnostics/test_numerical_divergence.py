"""NaN, infinity and collapse, and the zeros and NaN that are by design."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runaudit.diagnostics.numerical_divergence import examine
from tests.diagnostics import cases
from tests.diagnostics.test_learning_rate import collapsing


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_training_loss_that_is_not_finite_names_its_first_epoch(value: float):
    run = cases.spoil(cases.run(), "train_losses", "box", dict.fromkeys(range(40, 100), value))
    result = examine(cases.curves_only(run))
    assert result.outcome == "failed" and result.finding is not None
    assert "from epoch 41" in result.finding.title
    assert result.finding.evidence[0].source == "results.csv:42"


def test_nan_without_any_usable_epoch_is_critical():
    run = cases.spoil(cases.run(np.zeros(60)), "train_losses", "box", dict.fromkeys(range(60), float("nan")))
    result = examine(cases.curves_only(run))
    assert result.finding is not None and result.finding.severity == "critical"


def test_a_validation_loss_of_nan_alone_is_a_symptom_of_half_precision():
    run = cases.spoil(cases.run(), "val_losses", "box", dict.fromkeys(range(100), float("nan")))
    result = examine(cases.curves_only(run))
    assert result.outcome == "warned" and result.finding is not None
    assert "half precision" in result.finding.explanation


def test_an_infinite_class_loss_beside_zeros_points_to_missing_labels():
    run = cases.run(np.zeros(cases.EPOCHS), val=np.zeros(cases.EPOCHS))
    run = cases.spoil(run, "val_losses", "cls", dict.fromkeys(range(100), float("inf")))
    result = examine(cases.curves_only(run))
    assert result.finding is not None and "without any label" in result.finding.explanation


def test_a_run_that_finds_objects_has_labels_whatever_its_class_loss():
    run = cases.run(val=np.zeros(cases.EPOCHS))
    run = cases.spoil(run, "val_losses", "cls", dict.fromkeys(range(100), float("inf")))
    assert "half precision" in examine(cases.curves_only(run)).finding.explanation


def test_what_was_best_before_a_nan_that_passed_is_not_what_came_after():
    rising = np.linspace(0.1, 0.5, 100)
    run = cases.spoil(cases.run(rising), "train_losses", "box", dict.fromkeys(range(40, 43), float("nan")))
    finding = examine(cases.curves_only(run)).finding
    explanation = finding.explanation
    assert finding.severity == "minor" and "in 3 epochs, first in epoch 41" in finding.title
    assert "3 of 100 epochs; it recovered" in explanation
    assert "best row before it has 0.258" in explanation and "epoch 100, 0.5" in explanation


def test_what_never_reached_its_best_again_after_a_nan_is_major():
    declining = np.linspace(0.5, 0.3, 100)
    run = cases.spoil(cases.run(declining), "train_losses", "box", dict.fromkeys(range(40, 43), float("nan")))
    assert examine(cases.curves_only(run)).outcome == "failed"


@pytest.mark.parametrize(("framework", "patch"), [("ultralytics", {"amp": False}), ("yolov5", {}), ("yolov9", {})])
def test_half_precision_is_switched_off_as_the_framework_lets_it_be(framework: str, patch: dict[str, object]):
    run = cases.spoil(cases.run(), "train_losses", "box", dict.fromkeys(range(40, 100), float("nan")))
    run = run.model_copy(update={"framework": framework})
    first, rate, _ = examine(cases.curves_only(run)).finding.remedies
    assert first.patch == patch and (bool(patch) or "check_amp" in (first.code or ""))
    assert rate.patch == {"lr0": 0.003}, "below the rate in use"


def test_an_empty_cell_is_missing_and_not_nan():
    run = cases.spoil(cases.run(), "train_losses", "box", {10: None})
    assert examine(cases.curves_only(run)).outcome == "passed"


def test_losses_of_zero_and_below_zero_are_by_design():
    run = cases.run()
    assert run.curves is not None
    negative = tuple(-value for value in run.curves.train_losses["box"] if value is not None)
    run = cases.with_curves(
        run,
        train_losses={**run.curves.train_losses, "rle": negative},
        val_losses=dict.fromkeys(run.curves.val_losses, (0.0,) * 100),
    )
    assert examine(cases.curves_only(run)).outcome == "passed"


def test_weights_that_are_not_finite_are_critical():
    evidence = cases.with_checkpoint(cases.healthy(), nonfinite_tensors=("model.0.conv.weight",))
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "critical"
    assert "model.0.conv.weight" in result.finding.explanation


def test_a_collapse_without_nan_is_found_and_a_decline_is_not():
    metric, train = collapsing()
    assert examine(cases.curves_only(cases.run(metric, train=train))).outcome == "failed"
    assert examine(cases.curves_only(cases.run(cases.smooth() * np.linspace(1, 0.7, 100)))).outcome == "passed"


def test_missing_curves_are_not_run_even_with_sound_weights():
    result = examine(replace(cases.without_everything(), run=cases.healthy().run.model_copy(update={"curves": None})))
    assert result.outcome == "not_run" and "weights are finite" in result.reason
    assert examine(cases.without_everything()).outcome == "not_run"
