"""Batches too small, too large, and larger than the data; and small data and rates that only look like them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.batch_false_alarms import evidence as simulated
from benchmarks.simulated_curves import simulate
from runaudit.diagnostics.batch_size import LIMITS, examine
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.learning_rate import examine as examine_rate
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.runs.facts import LogFacts
from tests.diagnostics import cases


def on(images: int, metric: Any = None, *, val_instances: int = 450, rate: Any = None, **arguments: Any) -> Evidence:
    splits = {"train": cases.split((images,)), "val": cases.split((val_instances,), source="images/val")}
    run = cases.run(metric, rate=rate, arguments=arguments)
    return Evidence(run, dataset=cases.dataset(splits=splits, names={0: "thing"}))


NOISY = {"noise": 0.06}


def test_a_usual_batch_passes_and_says_how_many_steps_it_made():
    result = examine(on(6400, batch=16))
    assert result.outcome == "passed"
    assert result.effect == pytest.approx(100 * 400 / 4, rel=0.05)
    assert "64 images (4 batches of 16)" in result.reason


def test_a_batch_of_two_is_minor_and_of_four_nothing():
    result = examine(on(1000, batch=2))
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.remedies[0].patch == {"batch": 16}
    assert "does not help" in result.finding.explanation
    assert examine(on(1000, batch=3)).outcome == "warned"
    assert examine(on(1000, batch=4)).outcome == "passed"


def test_one_image_at_a_time_is_major():
    assert examine(on(1000, batch=1)).outcome == "failed"
    assert examine(on(1000, batch=2, device="0,1")).outcome == "failed"
    fast = cases.linear_rate(lr0=0.1)
    assert examine(on(1000, batch=1, rate=fast, lr0=0.1)).outcome == "warned"


def test_a_small_batch_with_noise_of_its_own_is_major():
    noisy = cases.smooth(**NOISY)
    assert examine(on(1000, noisy, batch=2)).outcome == "failed"
    assert examine(on(1000, cases.smooth(noise=0.01), batch=2)).outcome == "warned"


def test_noise_that_the_split_or_the_rate_explains_leaves_it_minor():
    noisy = cases.smooth(**NOISY)
    assert examine(on(1000, noisy, batch=2, val_instances=LIMITS.instances - 1)).outcome == "warned"
    fast = cases.linear_rate(lr0=0.1)
    assert examine(on(1000, noisy, batch=2, rate=fast, lr0=0.1)).outcome == "warned"
    assert examine(on(1000, noisy, batch=16)).outcome == "passed"


def test_a_small_batch_explains_an_unstable_learning_rate():
    evidence = on(1000, cases.smooth(noise=0.15), batch=2)
    results = explain_away([examine_rate(evidence), examine(evidence)])
    assert [result.cause for result in rank(results)] == ["batch_size", "learning_rate"]
    rate = results[0].finding
    assert rate is not None and "Explained by batch_size" in rate.explanation


def test_devices_share_a_batch():
    result = examine(on(1000, batch=8, device="0,1,2,3"))
    assert result.outcome == "warned" and result.finding is not None
    assert "4 devices" in result.finding.title
    assert any("SyncBatchNorm" in (remedy.code or "") for remedy in result.finding.remedies)
    assert examine(on(1000, batch=8, device="0,1,2,3", sync_bn=True)).outcome == "passed"


def rising(epochs: int = 60) -> np.ndarray:
    """A mAP that is far from its ceiling."""
    axis = np.arange(1, epochs + 1)
    return 0.8 * (1 - (1 + axis / 40) ** -1.0)


def test_a_large_batch_that_left_too_few_steps_is_major():
    result = examine(on(2000, rising(), batch=256))
    assert result.outcome == "failed" and result.finding is not None
    impact = result.finding.impact
    assert impact.grade == "observational" and impact.value is not None and impact.value >= LIMITS.gain_major
    patches = [remedy.patch for remedy in result.finding.remedies]
    assert {"batch": 16, "nbs": 16} in patches and {"epochs": 960} in patches
    assert any("warmup_epochs" in patch and patch["lr0"] == pytest.approx(0.04) for patch in patches)


def test_a_large_batch_with_enough_steps_or_a_curve_at_its_ceiling_passes():
    assert examine(on(20_000, rising(), batch=256)).outcome == "passed"
    assert examine(on(2000, batch=256)).outcome == "passed"


def test_a_step_or_two_an_epoch_by_choice_are_major_while_the_curve_still_rises():
    """40 steps in all, as a batch of 120 images left a run on 120 images of benchmarks/planted, where it cost 0.09."""
    late = np.clip(0.1 + 0.05 * np.sqrt(np.arange(40)), 0, 1)
    result = examine(on(120, late, batch=120, nbs=120))
    assert result.outcome == "failed" and result.finding is not None
    impact = result.finding.impact
    assert impact.value is not None and impact.ci95 is not None
    assert impact.value >= LIMITS.gain and impact.ci95[0] < 0.087 < impact.ci95[1]
    level = examine(on(120, cases.smooth(40), batch=120, nbs=120))
    assert level.outcome == "warned" and level.finding is not None and level.finding.impact.value is None


def test_accumulation_makes_a_large_batch_of_a_small_one():
    """16 images a batch, and 64 a step: four steps an epoch of 256 images, and the curve asks for more."""
    result = examine(on(256, rising(), batch=16))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.remedies[0].patch == {"batch": 16, "nbs": 16}
    assert all("lr0" not in remedy.patch for remedy in result.finding.remedies)


def test_a_rising_curve_with_many_steps_an_epoch_or_none_to_spare_lacks_epochs():
    assert examine(on(640, rising(), batch=16)).outcome == "passed"
    assert examine(on(256, rising(), batch=16, nbs=16)).outcome == "passed"
    evidence = on(256, rising(), batch=16)
    assert examine(replace(evidence, run=evidence.run.model_copy(update={"status": "interrupted"}))).outcome == "passed"


def test_a_large_batch_of_a_run_that_learnt_nothing_is_major():
    assert examine(on(500, np.full(60, 0.01), batch=256)).outcome == "failed"
    assert examine(on(500, np.full(20, 0.01), batch=256)).outcome == "warned"


def test_epochs_without_a_step_are_seen_without_any_data():
    held = np.arange(cases.EPOCHS) // 4 * 4
    run = cases.run(cases.smooth()[held], val=cases.falling(seed=2)[held], arguments={"batch": None})
    result = examine(cases.curves_only(run))
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.evidence[0].value == pytest.approx(0.7576, abs=1e-4)
    assert result.finding.remedies[0].patch == {"batch": 4, "nbs": 4}
    old = run.model_copy(update={"framework": "yolov5"})
    finding = examine(cases.curves_only(old)).finding
    assert finding is not None and finding.remedies[0].patch == {"batch_size": 16, "epochs": 1000}
    usual = old.model_copy(update={"configuration": cases.run(arguments={"batch": 16}).configuration})
    finding = examine(cases.curves_only(usual)).finding
    assert finding is not None and finding.remedies[0].patch == {"epochs": 1000}, "a batch of 16 is no reason"


def test_a_small_batch_and_epochs_without_a_step_get_remedies_that_agree():
    held = np.arange(cases.EPOCHS) // 4 * 4
    run = cases.run(cases.smooth()[held], val=cases.falling(seed=2)[held], arguments={"batch": 3, "nbs": 64})
    finding = examine(cases.curves_only(run)).finding
    assert finding is not None
    patches = [remedy.patch for remedy in finding.remedies]
    assert {"batch": 16} in patches and {"batch": 16, "nbs": 16} in patches
    assert {"nbs": 64} not in patches, "64 were asked for; 21 batches of 3 are as near as can be"
    few = cases.run(arguments={"batch": 2, "nbs": 16})
    finding = examine(cases.curves_only(few)).finding
    assert finding is not None and "Add up gradients to 64 images a step" in [item.title for item in finding.remedies]


def test_one_image_is_one_image():
    finding = examine(cases.curves_only(cases.run(arguments={"batch": 1}))).finding
    assert finding is not None and finding.title == "Batch norm saw 1 image at a time"


def test_a_single_epoch_that_repeats_is_nothing():
    metric, val = cases.smooth(), cases.falling(seed=2)
    metric[50], val[50] = metric[49], val[49]
    assert examine(cases.curves_only(cases.run(metric, val=val))).outcome == "inconclusive"


def test_data_smaller_than_a_step_are_found_by_count():
    result = examine(on(40, batch=16))
    assert result.outcome == "warned" and result.effect == pytest.approx(0.75)
    assert examine(on(64, batch=16)).outcome == "passed"


def test_few_steps_in_a_run_that_learnt_nothing_are_minor():
    nothing = np.full(60, 0.01)
    assert examine(on(128, nothing, batch=16)).outcome == "warned"
    assert examine(on(128, cases.smooth(60), batch=16)).outcome == "passed"
    assert examine(on(128, nothing[:49], batch=16)).outcome == "passed"
    assert examine(on(640, nothing, batch=16)).outcome == "passed"


def test_what_is_missing_is_said():
    unknown = examine(cases.curves_only(cases.run()))
    assert unknown.outcome == "inconclusive" and "number of training images" in unknown.reason
    automatic = examine(cases.curves_only(cases.run(arguments={"batch": -1})))
    assert automatic.outcome == "inconclusive" and "AutoBatch" in automatic.reason
    log = LogFacts(sources=("train.log",), batch=2)
    run = cases.run(arguments={"batch": -1}).model_copy(update={"log": log})
    assert examine(cases.curves_only(run)).outcome == "warned"
    bare = cases.run(arguments={"batch": None}).model_copy(update={"curves": None, "best_row": None})
    assert examine(Evidence(bare, absent=dict(cases.ABSENT))).outcome == "not_run"


def test_simulated_healthy_runs_pass_at_the_default_batch():
    outcomes = {examine(simulated(simulate(seed).run, 16)).outcome for seed in range(30)}
    assert outcomes == {"passed"}


def test_simulated_runs_that_a_large_batch_cut_short_are_found():
    outcomes = [examine(simulated(simulate(seed, "short").run, 256)).outcome for seed in range(30)]
    assert outcomes.count("failed") >= 27
