"""Overfitting by the curves: mAP decides, losses only explain."""

from __future__ import annotations

import numpy as np

from benchmarks.simulated_curves import simulate
from runaudit.diagnostics.overfitting import examine, remedies
from tests.diagnostics import cases

RISE = 1 + np.maximum(0, np.linspace(-0.4, 0.6, cases.EPOCHS))
DECLINE = 1 - 0.3 * np.maximum(0, np.linspace(-0.4, 0.6, cases.EPOCHS))
FALL = np.linspace(1.0, 0.4, cases.EPOCHS)


def test_a_decline_with_falling_training_loss_is_minor_and_called_weak():
    run = cases.run(cases.smooth() * DECLINE, train=cases.falling() * FALL, val=cases.falling() * RISE)
    result = examine(cases.curves_only(run))
    assert result.outcome == "warned" and result.finding is not None
    assert "weak evidence" in result.finding.explanation
    assert all("dropout" not in remedy.patch for remedy in result.finding.remedies)


def test_a_rising_validation_loss_alone_is_no_sign():
    run = cases.run(train=cases.falling() * FALL, val=cases.falling() * RISE)
    assert examine(cases.curves_only(run)).outcome == "passed"


def test_a_healthy_run_passes_with_the_limits_of_curves_said():
    result = examine(cases.curves_only(cases.run()))
    assert result.outcome == "passed" and "weak evidence" in result.reason


def test_a_decline_while_the_training_loss_rises_is_something_else():
    run = cases.run(cases.smooth() * DECLINE, train=cases.falling() * RISE, val=cases.falling() * RISE)
    assert examine(cases.curves_only(run)).outcome == "passed"


def test_half_of_map_is_lost_whatever_the_validation_loss_does():
    losing = np.concatenate([np.ones(20), np.linspace(1.0, 0.2, 80)])
    run = cases.run(cases.smooth() * losing, train=cases.falling() * FALL, val=cases.falling() * FALL)
    result = examine(cases.curves_only(run))
    assert result.finding is not None and "did not rise with it" in result.finding.explanation
    less = cases.run(cases.smooth() * DECLINE, train=cases.falling() * FALL, val=cases.falling() * FALL)
    assert examine(cases.curves_only(less)).outcome == "passed"


def test_a_best_row_in_warmup_is_one_to_decline_from():
    """A fine-tuned classifier whose first epochs are its best: all that followed was loss."""
    metric = 0.85 + 0.002 * np.random.default_rng(4).standard_normal(cases.EPOCHS)
    metric[:5] = (0.96, 0.95, 0.94, 0.92, 0.9)
    run = cases.run(metric, train=cases.falling() * FALL, val=cases.falling() * RISE)
    assert examine(cases.curves_only(run)).outcome == "warned"


def test_crumbs_have_nothing_to_decline_from():
    run = cases.run(0.05 * cases.smooth() * DECLINE, train=cases.falling() * FALL, val=cases.falling() * RISE)
    result = examine(cases.curves_only(run))
    assert result.outcome == "inconclusive" and "never rose above 0.03" in result.reason


def test_a_classifier_loses_accuracy_and_is_not_told_of_mosaic():
    run = cases.run(cases.smooth() * DECLINE, train=cases.falling() * FALL, val=cases.falling() * RISE)
    assert run.curves is not None
    run = cases.with_curves(run, metrics={"top1": run.curves.metrics["map50_95"]})
    finding = examine(cases.curves_only(run.model_copy(update={"task": "classify"}))).finding
    assert finding is not None and finding.title.startswith("Accuracy declines")
    assert not any("mosaic" in remedy.patch or "mixup" in remedy.patch for remedy in finding.remedies)
    assert {"dropout": 0.2} in [remedy.patch for remedy in finding.remedies]


def test_the_step_of_closed_mosaic_is_left_out():
    metric = cases.smooth()
    metric[-10:] *= 0.9
    assert examine(cases.curves_only(cases.run(metric, val=cases.falling() * RISE))).outcome == "passed"


def test_validation_losses_of_zero_leave_a_decline_unexplained():
    run = cases.run(cases.smooth() * DECLINE, train=cases.falling() * FALL, val=np.zeros(cases.EPOCHS))
    assert examine(cases.curves_only(run)).outcome == "inconclusive"


def test_short_runs_are_inconclusive_and_missing_curves_not_run():
    assert examine(cases.curves_only(cases.run(cases.smooth(12)))).outcome == "inconclusive"
    assert examine(cases.without_everything()).outcome == "not_run"


def test_simulated_runs():
    healthy = [examine(cases.curves_only(simulate(seed).run)).outcome for seed in range(40)]
    overfitted = [examine(cases.curves_only(simulate(seed, "overfitted").run)).outcome for seed in range(40)]
    assert healthy.count("warned") <= 3
    assert overfitted.count("warned") >= 38


def test_random_weights_are_not_frozen():
    patches = [remedy.patch for remedy in remedies(cases.run(arguments={"model": "yolov8n.yaml"}))]
    assert {"freeze": 10} not in patches
    assert {"freeze": 10} in [remedy.patch for remedy in remedies(cases.run())]
