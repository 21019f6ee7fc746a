"""Too few epochs: cut short, within warm-up, still improving; and what only looks like it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulated_curves import simulate
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import history_of
from runaudit.diagnostics.insufficient_epochs import LIMITS, examine
from runaudit.diagnostics.more_epochs import LIMITS as MORE_EPOCHS
from tests.diagnostics import cases


def logarithmic(epochs: int) -> np.ndarray:
    return np.clip(0.1 + 0.1 * np.log(np.arange(1, epochs + 1)), 0, 1)


def test_a_converged_run_passes():
    result = examine(cases.healthy())
    assert result.outcome == "passed"
    assert result.effect is not None and result.effect < LIMITS.gain


def test_a_run_that_still_improves_is_found_with_its_projected_gain():
    result = examine(cases.curves_only(cases.run(logarithmic(60))))
    assert result.finding is not None and result.finding.impact.value is not None
    # The logarithm itself would go on with 0.069; what trainings were seen to go on with is a third of it.
    assert result.finding.impact.value == pytest.approx(MORE_EPOCHS.one * 0.1 * np.log(2), abs=0.005)
    assert result.finding.impact.ci95 is not None and result.finding.impact.ci95[1] == pytest.approx(0.069, abs=0.005)
    # Its lower end lies below 2 points: no more than a warning.
    assert result.outcome == "warned"
    assert result.finding.impact.grade == "observational"
    assert result.finding.remedies[0].patch == {"epochs": 120, "resume": False}


def test_a_run_of_few_epochs_is_projected_to_a_usual_schedule():
    result = examine(cases.curves_only(cases.run(logarithmic(12))))
    assert result.finding is not None and result.finding.impact.value is not None
    assert result.finding.remedies[0].patch == {"epochs": LIMITS.few_epochs, "resume": False}
    # Two doublings of a tenth of the headroom each would be 0.13; no run gained so much of what its last one brought.
    room, doublings = 1.0 - logarithmic(12)[-1], np.log2(50 / 12)
    value = result.finding.impact.value
    assert MORE_EPOCHS.two * 0.1 * np.log(2) < value < MORE_EPOCHS.room * doublings * room
    assert result.outcome == "warned"


def test_a_handful_of_rows_that_seem_level_are_no_proof_of_convergence():
    result = examine(cases.curves_only(cases.run(np.asarray([0.69, 0.76, 0.75, 0.75, 0.78]))))
    assert result.outcome == "warned" and result.finding is not None and "only 5 epochs" in result.finding.title
    impact = result.finding.impact
    # They may have nothing to gain, or what runs of 5 epochs gained: up to half of the headroom of 0.22.
    assert impact.ci95 == (0.0, pytest.approx(0.11)) and impact.value == pytest.approx(0.073, abs=0.001)


@pytest.mark.parametrize(
    "metric",
    [
        # As two trainings of 5 epochs on photographs, which 40 brought to 0.387 and 0.276.
        [0.04048, 0.10173, 0.10672, 0.13731, 0.17005],
        [0.01477, 0.01852, 0.03007, 0.06224, 0.06203],
    ],
)
def test_a_handful_of_rows_that_rise_to_the_end_are_far_too_few(metric: list[float]):
    result = examine(cases.curves_only(cases.run(np.asarray(metric))))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.title.endswith("still improving when training ended, after only 5 epochs")
    impact = result.finding.impact
    room, doublings = 1.0 - max(metric), np.log2(10)
    assert impact.value is not None and impact.ci95 is not None
    assert impact.ci95[0] == pytest.approx(MORE_EPOCHS.room_rising * doublings * room)
    assert impact.ci95[0] < 0.21 < impact.ci95[1] and impact.ci95[0] < impact.value < impact.ci95[1]
    assert result.finding.basis == "extrapolated"


def test_a_handful_of_rows_that_rise_near_the_ceiling_have_little_to_gain():
    result = examine(cases.curves_only(cases.run(np.asarray([0.81, 0.85, 0.87, 0.88, 0.9]))))
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.impact.ci95 is not None and 0 < result.finding.impact.ci95[0] < LIMITS.gain


def test_a_best_row_a_little_before_the_end_is_no_sign_of_convergence_if_the_end_is_as_good():
    axis = np.arange(1, 21)
    metric = 0.9 - 0.4 * np.exp(-axis / 12) + 0.006 * (-1.0) ** axis
    metric[-4:] = metric[-5] + np.asarray([0.016, 0.012, 0.015, 0.013])
    result = examine(cases.curves_only(cases.run(metric)))
    assert result.finding is not None and "improving" in result.finding.title
    fallen = metric.copy()
    fallen[-4:] -= 0.1
    assert examine(cases.curves_only(cases.run(fallen))).outcome == "passed"


def test_a_gain_of_the_decay_tail_alone_is_no_alarm():
    tail = cases.smooth() - 0.015 * cases.linear_rate() / 0.01
    assert examine(cases.curves_only(cases.run(tail))).outcome == "passed"


def test_a_short_run_that_still_rises_steeply_is_found():
    result = examine(cases.curves_only(cases.run(np.asarray([0.2, 0.4, 0.55, 0.66, 0.74, 0.8]))))
    assert result.outcome == "failed"
    assert result.finding is not None and "improving" in result.finding.title


def test_an_interrupted_run_is_major_and_resumable():
    run = cases.run(cases.smooth(40), planned=100, status="interrupted")
    result = examine(cases.curves_only(run))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.evidence[0].source == "results.csv:41"
    assert result.finding.remedies[0].patch == {"resume": True}
    impact = result.finding.impact
    # Half of the headroom of 0.4 times the 60 % that are left; real runs gained anything from nothing on.
    assert impact.value == pytest.approx(0.12, abs=0.01) and impact.ci95 is not None and impact.ci95[0] == 0


def test_a_run_interrupted_near_its_end_is_minor():
    run = cases.run(cases.smooth(96), planned=100, status="interrupted")
    assert examine(cases.curves_only(run)).outcome == "warned"


def test_a_run_called_interrupted_for_its_checkpoint_only_is_judged_by_its_curves():
    assert examine(cases.curves_only(cases.run(status="interrupted"))).outcome == "passed"


def test_early_stopping_by_its_rule_is_no_fault():
    run = cases.run(cases.smooth(70), planned=300, status="early_stopped")
    result = examine(cases.curves_only(run))
    assert result.outcome == "passed"
    assert "early-stopping" in result.reason


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_run_within_its_warmup_is_major(epochs: int):
    result = examine(cases.curves_only(cases.run(cases.smooth(epochs))))
    assert result.outcome == "failed"
    assert result.finding is not None and "warm-up" in result.finding.title


def test_a_rate_that_rises_to_the_last_row_is_warmup_too():
    run = cases.run(cases.smooth(8), rate=np.linspace(0.0001, 0.001, 8))
    result = examine(cases.curves_only(run))
    assert result.finding is not None and "warm-up" in result.finding.title


def test_a_warmup_of_many_short_epochs_asks_for_far_more_than_it_had():
    rate = np.linspace(0.0, 2e-4, 35)
    run = cases.run(np.full(35, 0.002), rate=rate, planned=100, status="early_stopped", arguments={"patience": 20})
    finding = examine(cases.curves_only(run)).finding
    assert finding is not None and "after 35 epochs the learning rate still rose" in finding.title
    assert finding.remedies[0].patch == {"epochs": 350, "resume": False, "patience": 175}
    assert finding.evidence[0].name == "last learning rate" and finding.evidence[0].threshold is None
    assert {"batch": 4, "nbs": 4, "warmup_epochs": 1.0} in [remedy.patch for remedy in finding.remedies]
    old = run.model_copy(update={"framework": "yolov5"})
    finding = examine(cases.curves_only(old)).finding
    assert finding is not None and len(finding.remedies) == 1, "YOLOv5 has no nbs to set"


def test_one_epoch_is_one_epoch():
    finding = examine(cases.curves_only(cases.run(cases.smooth(1)))).finding
    assert finding is not None and finding.title.endswith("after 1 epoch")


def test_a_metric_at_its_ceiling_has_nothing_to_lose_by_an_interruption():
    perfect = cases.run(np.full(5, 0.995), planned=50, status="interrupted")
    assert examine(cases.curves_only(perfect)).outcome == "warned"
    assert examine(cases.curves_only(cases.run(np.full(5, 0.9), planned=50, status="interrupted"))).outcome == "failed"


def test_keypoints_that_still_improve_are_found_though_the_boxes_have_levelled_off():
    run = cases.run(cases.smooth(60))
    assert run.curves is not None
    level, rising = run.curves.metrics["map50_95"], tuple(logarithmic(60))
    pose = cases.with_curves(run, metrics={"map50_95": level, "pose/map50_95": rising})
    finding = examine(cases.curves_only(pose)).finding
    assert finding is not None and finding.title.endswith("by its keypoints")
    assert finding.impact.metric == "pose_map50_95"
    both = cases.with_curves(run, metrics={"map50_95": level, "mask/map50_95": level})
    assert examine(cases.curves_only(both)).outcome == "passed"


def test_a_longer_schedule_of_a_run_that_early_stopping_ended_takes_more_patience():
    metric = logarithmic(60)
    run = cases.run(metric, planned=100, status="early_stopped", arguments={"patience": 5})
    finding = examine(cases.curves_only(run)).finding
    assert finding is not None
    assert finding.remedies[0].patch == {"epochs": 200, "resume": False, "patience": 100}


def test_a_projected_gain_that_is_not_counted_is_said_to_be_noise():
    noisy = logarithmic(60) + 0.05 * np.random.default_rng(5).standard_normal(60)
    result = examine(cases.curves_only(cases.run(np.clip(noisy, 0, 1))))
    assert result.outcome == "passed" and result.effect is not None and result.effect >= 0.02
    assert "noise of" in result.reason and "not counted" in result.reason


def test_few_epochs_without_any_map_have_hardly_begun():
    result = examine(cases.curves_only(cases.run(np.zeros(20))))
    assert result.outcome == "failed"
    assert result.finding is not None and "hardly begun" in result.finding.title


def guessing(loss: float, top1: float, epochs: int = 5, fall: float = 0.0) -> Evidence:
    """A classifier without a checkpoint, whose training loss and accuracy stay where they are (or fall by a part)."""
    run = cases.run(np.full(epochs, top1), train=loss * np.linspace(1.0, 1.0 - fall, epochs))
    assert run.curves is not None
    run = cases.with_curves(run, metrics={"top1": run.curves.metrics["map50_95"]})
    return cases.curves_only(run.model_copy(update={"task": "classify"}))


@pytest.mark.parametrize(("classes", "reached"), [(2, 0.52), (10, 0.1), (10, 0.14), (100, 0.012)])
def test_a_classifier_that_guesses_has_hardly_begun(classes: int, reached: float):
    result = examine(guessing(math.log(classes), reached))
    assert result.outcome == "failed"
    assert result.finding is not None and "hardly begun" in result.finding.title
    assert "guessing" in result.finding.explanation or reached < LIMITS.unlearnt


@pytest.mark.parametrize(
    ("loss", "reached", "fall"),
    [
        pytest.param(math.log(10), 0.16, 0.0, id="better than guessing"),
        pytest.param(math.log(10), 0.1, 0.1, id="the loss falls"),
        pytest.param(0.07, 0.92, 0.0, id="trained before"),
        pytest.param(1.2, 0.6, 0.0, id="many classes, trained before"),
        pytest.param(math.log(10) / 4, 0.1, 0.0, id="a part of the mean tells nothing"),
    ],
)
def test_a_classifier_that_does_not_guess_has_begun(loss: float, reached: float, fall: float):
    result = examine(guessing(loss, reached, fall=fall))
    assert result.finding is not None and "hardly begun" not in result.finding.title


def test_a_classifier_is_judged_by_top1():
    run = cases.run(logarithmic(60))
    assert run.curves is not None
    run = cases.with_curves(run, metrics={"top1": run.curves.metrics["map50_95"]})
    result = examine(cases.curves_only(run))
    assert result.finding is not None and result.finding.impact.metric == "top1"


def test_few_steps_explain_a_map_of_zero_in_many_epochs():
    evidence = replace(cases.curves_only(cases.run(np.full(60, 0.01))), dataset=cases.dataset(train=(16, 16)))
    result = examine(evidence)
    assert result.finding is not None and "optimizer steps" in result.finding.title
    assert {"batch": 4, "nbs": 4} in [remedy.patch for remedy in result.finding.remedies]
    old = replace(evidence, run=evidence.run.model_copy(update={"framework": "yolov5"}))
    finding = examine(old).finding
    assert finding is not None and not any("nbs" in remedy.patch for remedy in finding.remedies)


def test_epochs_without_a_step_tell_how_few_steps_there_were_without_any_data():
    held = np.arange(41) // 4 * 4
    run = cases.run(np.full(41, 0.0), val=cases.falling(41, seed=2)[held], planned=50, status="interrupted")
    finding = examine(cases.curves_only(run)).finding
    assert finding is not None and "only about 11 optimizer steps" in finding.title
    early = cases.run(np.zeros(9), val=cases.falling(9, seed=2)[held[:9]], planned=50, status="interrupted")
    assert "interrupted" in examine(cases.curves_only(early)).finding.title
    learnt = cases.run(0.3 * cases.smooth(41)[held], val=cases.falling(41, seed=2)[held])
    assert "steps" not in examine(cases.curves_only(learnt)).reason


def test_no_metrics_are_inconclusive():
    run = cases.with_curves(cases.run(), metrics={})
    assert examine(cases.curves_only(run)).outcome == "inconclusive"
    few_images = replace(cases.curves_only(run), dataset=cases.dataset(train=(16, 16)))
    assert examine(few_images).outcome == "inconclusive", "no metric is not a metric of 0"


def test_no_curves_are_not_run():
    result = examine(cases.without_everything())
    assert (result.outcome, result.reason) == ("not_run", cases.ABSENT["curves"])


def test_simulated_healthy_runs_seldom_alarm_and_short_ones_do():
    healthy = [examine(cases.curves_only(simulate(seed).run)).outcome for seed in range(40)]
    short = [examine(cases.curves_only(simulate(seed, "short").run)).outcome for seed in range(40)]
    assert healthy.count("failed") == 0 and healthy.count("warned") <= 5
    assert sum(outcome in ("failed", "warned") for outcome in short) >= 36


def test_a_classifier_has_no_mosaic_to_close():
    """Its args.yaml names close_mosaic as that of any task does: no epoch of its trend is left out."""
    run = cases.run(arguments={"close_mosaic": 90})
    closed, open_to_the_end = history_of(run), history_of(run.model_copy(update={"task": "classify"}))
    assert closed is not None and closed.mosaic_closed.sum() == 90
    assert open_to_the_end is not None and not open_to_the_end.mosaic_closed.any()
