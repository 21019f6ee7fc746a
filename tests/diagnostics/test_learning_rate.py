"""Learning rate: too high, too low, no scheduler, ignored; and noise that isn't its fault."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated_curves import simulate
from runaudit.diagnostics.history import history_of
from runaudit.diagnostics.learning_rate import examine
from runaudit.diagnostics.schedule import asked_shape, schedule_of
from tests.diagnostics import cases


def collapsing(epochs: int = cases.EPOCHS) -> tuple[np.ndarray, np.ndarray]:
    """mAP and training loss of a run that diverges in its middle."""
    after = np.maximum(0, np.arange(epochs) - epochs // 2) / epochs
    return cases.smooth(epochs) * np.exp(-30 * after), cases.falling(epochs) * np.exp(np.minimum(3, 30 * after))


def test_a_usual_rate_passes_and_says_so():
    result = examine(cases.healthy())
    assert result.outcome == "passed"
    assert result.effect == pytest.approx(1.0, abs=0.01)


def test_divergence_at_a_high_rate_is_major():
    metric, train = collapsing()
    run = cases.run(metric, train=train, rate=cases.linear_rate(lr0=0.5), arguments={"lr0": 0.5})
    result = examine(cases.curves_only(run))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.severity == "major"
    assert "50 times" in result.finding.title
    assert result.finding.impact.value == pytest.approx(0.6, abs=0.05)
    assert result.finding.remedies[0].patch == {"lr0": 0.01}
    assert any("CosineAnnealingLR" in (remedy.code or "") for remedy in result.finding.remedies)
    assert any("ReduceLROnPlateau" in (remedy.code or "") for remedy in result.finding.remedies)


def test_what_is_proposed_fits_the_optimizer_and_the_rate_in_use():
    metric, train = collapsing()
    adam = cases.run(metric, train=train, rate=cases.linear_rate(lr0=0.0005), arguments={"optimizer": "AdamW"})
    lower, anneal, *_ = examine(cases.curves_only(adam)).finding.remedies
    assert "not high" in lower.why and lower.patch == {"lr0": 0.00015}
    assert "torch.optim.AdamW(model.parameters(), lr=0.00015)" in anneal.code
    cosine = adam.model_copy(update={"configuration": cases.run(arguments={"cos_lr": True}).configuration})
    assert not any("cos_lr" in remedy.patch for remedy in examine(cases.curves_only(cosine)).finding.remedies)


def test_learning_nothing_at_a_high_rate_is_critical():
    run = cases.run(np.zeros(60), train=np.full(60, 4.0), rate=cases.linear_rate(60, lr0=0.5), arguments={"lr0": 0.5})
    result = examine(cases.curves_only(run))
    assert result.finding is not None and result.finding.severity == "critical"


def test_what_a_run_that_never_learnt_lost_is_not_given_a_number():
    crumbs = np.concatenate([np.full(59, 0.002), [0.001]])
    run = cases.run(crumbs, train=np.full(60, 4.0), rate=cases.linear_rate(60, lr0=0.5), arguments={"lr0": 0.5})
    finding = examine(cases.curves_only(run)).finding
    assert finding is not None
    assert (finding.impact.value, finding.impact.grade) == (None, "none")


def test_divergence_at_a_usual_rate_is_only_a_suspicion():
    metric, train = collapsing()
    result = examine(cases.curves_only(cases.run(metric, train=train)))
    assert result.outcome == "warned"
    assert result.finding is not None and result.finding.remedies[0].patch == {"lr0": 0.003}


def test_learning_nothing_at_a_usual_rate_is_said():
    assert examine(cases.curves_only(cases.run(np.zeros(80)))).outcome == "warned"


def test_overfitting_is_not_divergence():
    metric = cases.smooth() * (1 - 0.3 * np.linspace(0, 1, cases.EPOCHS))
    assert examine(cases.curves_only(cases.run(metric))).outcome == "passed"


def test_adam_at_the_rate_of_sgd_is_found():
    result = examine(cases.curves_only(cases.run(arguments={"optimizer": "AdamW"})))
    assert result.outcome == "warned"
    assert result.finding is not None and "AdamW" in result.finding.title


def test_a_rate_far_too_low_is_found():
    run = cases.run(np.zeros(80), rate=cases.linear_rate(80, lr0=1e-5), arguments={"lr0": 1e-5})
    run_with_some = cases.run(rate=cases.linear_rate(lr0=1e-5), arguments={"lr0": 1e-5})
    assert examine(cases.curves_only(run_with_some)).outcome == "warned"
    assert examine(cases.curves_only(run)).finding is not None


def rising(epochs: int = 40) -> np.ndarray:
    """mAP that goes on by 0.04 each time the epochs double, with little noise."""
    noise = 0.001 * np.random.default_rng(3).standard_normal(epochs)
    return np.asarray(0.3 + 0.04 * np.log2(np.arange(1, epochs + 1)) + noise)


def test_a_curve_that_still_rises_at_a_rate_far_too_low_tells_what_the_usual_one_would_bring():
    run = cases.run(rising(), rate=cases.linear_rate(40, lr0=1e-4), arguments={"lr0": 1e-4})
    result = examine(cases.curves_only(run))
    assert result.outcome == "failed" and result.finding is not None
    impact = result.finding.impact
    # 6.6 halvings below the usual rate, each of about half of what a doubling of the epochs brings.
    assert impact.value == pytest.approx(0.53 * 6.64 * 0.04, abs=0.01) and impact.grade == "observational"
    assert impact.ci95 is not None and impact.ci95[0] < 0.104 < impact.ci95[1], "as measured on rendered cells"


def test_a_tenth_of_the_usual_rate_is_minor_if_it_cost_and_nothing_if_the_curve_is_level():
    costly = cases.run(rising(), rate=cases.linear_rate(40, lr0=5e-4), arguments={"lr0": 5e-4})
    level = cases.run(cases.smooth(40), rate=cases.linear_rate(40, lr0=5e-4), arguments={"lr0": 5e-4})
    assert examine(cases.curves_only(costly)).outcome == "warned"
    assert examine(cases.curves_only(level)).outcome == "passed"


def test_a_high_rate_that_let_the_model_learn_only_as_it_fell_is_major():
    shares = np.linspace(0.02, 1.0, 40) ** 2
    late = cases.run(0.6 * shares, rate=cases.linear_rate(40, lr0=0.3), arguments={"lr0": 0.3})
    early = cases.run(cases.smooth(40), rate=cases.linear_rate(40, lr0=0.3), arguments={"lr0": 0.3})
    result = examine(cases.curves_only(late))
    assert (
        result.outcome == "failed" and result.finding is not None and "as the rate fell" in result.finding.explanation
    )
    assert examine(cases.curves_only(early)).outcome == "warned"
    usual = cases.run(0.6 * shares, rate=cases.linear_rate(40))
    assert examine(cases.curves_only(usual)).outcome == "passed"


def test_a_constant_rate_means_no_scheduler():
    rate = np.full(cases.EPOCHS, 0.01)
    result = examine(cases.curves_only(cases.run(rate=rate)))
    assert result.finding is not None and "no scheduler" in result.finding.title
    assert examine(cases.curves_only(cases.run(rate=rate, arguments={"lrf": 1.0}))).outcome == "passed"


def test_the_first_rows_of_a_long_schedule_look_level_and_are_no_constant_rate():
    interrupted = cases.run(cases.smooth(13), rate=cases.linear_rate(13, planned=600), planned=600)
    assert examine(cases.curves_only(interrupted)).outcome == "passed"
    constant = cases.run(cases.smooth(60), rate=np.full(60, 0.01), planned=600)
    assert "no scheduler" in examine(cases.curves_only(constant)).finding.title


def test_a_rate_that_was_asked_for_and_not_used_is_not_too_low():
    other = cases.run(rising(), rate=cases.linear_rate(40, lr0=0.001), arguments={"optimizer": "Adam", "lr0": 1e-4})
    assert examine(cases.curves_only(other)).outcome == "passed"
    used = cases.run(rising(), rate=cases.linear_rate(40, lr0=1e-4), arguments={"optimizer": "Adam", "lr0": 1e-4})
    assert "0.1 times the usual one" in examine(cases.curves_only(used)).finding.title


def test_epochs_that_were_not_validated_are_not_epochs_without_map():
    """val=False writes zeros for all but the last: what a rate did to mAP is not in such a file."""
    metric, val = np.zeros(30), np.zeros(30)
    metric[-1], val[-1] = 0.5, 1.0
    rate = cases.linear_rate(30, lr0=0.1)
    unseen = cases.run(metric, val=val, rate=rate, arguments={"lr0": 0.1, "val": False})
    assert examine(cases.curves_only(unseen)).outcome == "warned"
    assert np.isnan(history_of(unseen).metric[:-1]).all()
    never = cases.run(np.zeros(30), val=np.zeros(30), arguments={"val": False})
    assert np.isnan(history_of(never).metric).all()
    dual_head = cases.run(np.zeros(30), val=np.zeros(30))
    assert (history_of(dual_head).metric == 0).all(), "a loss that is 0 by design says nothing of mAP"


def test_an_ignored_lr0_is_said_only_if_somebody_chose_it():
    chosen = cases.run(rate=cases.linear_rate(lr0=0.00167), arguments={"optimizer": "auto", "lr0": 0.02})
    default = cases.run(rate=cases.linear_rate(lr0=0.00167), arguments={"optimizer": "auto", "lr0": 0.01})
    result = examine(cases.curves_only(chosen))
    assert result.finding is not None and result.finding.title.startswith("lr0=0.02 was ignored")
    assert examine(cases.curves_only(default)).outcome == "passed"


def test_spikes_are_found_and_one_is_forgiven():
    train = cases.falling()
    train[[20, 40, 60, 70]] *= 2.5
    assert examine(cases.curves_only(cases.run(train=train))).outcome == "warned"
    train = cases.falling()
    train[40] *= 2.5
    assert examine(cases.curves_only(cases.run(train=train))).outcome == "passed"


def test_spikes_of_epochs_without_a_step_are_those_of_few_images():
    held = np.arange(cases.EPOCHS) // 4 * 4
    spiky = cases.falling()
    spiky[[30, 45, 60, 75]] *= 1.6
    few = cases.run(cases.smooth()[held], train=spiky, val=cases.falling(seed=2)[held])
    assert examine(cases.curves_only(few)).outcome == "passed"
    assert examine(cases.curves_only(cases.run(train=spiky))).outcome == "warned"


def test_closing_mosaic_is_no_spike():
    train = cases.falling()
    train[-10:] *= 1.5
    assert examine(cases.curves_only(cases.run(train=train))).outcome == "passed"


def test_a_resumed_run_steps_without_alarm():
    run = cases.run(status="resumed")
    assert run.curves is not None
    epochs = (*range(1, 51), *range(49, 99))
    result = examine(cases.curves_only(cases.with_curves(run, epochs=epochs)))
    assert result.outcome == "passed"


def test_oscillation_beyond_any_usual_noise_is_found():
    metric = cases.smooth(noise=0.15)
    result = examine(cases.curves_only(cases.run(metric)))
    assert result.finding is not None and "oscillates" in result.finding.title


def test_missing_rates_are_inconclusive_and_missing_curves_not_run():
    run = cases.with_curves(cases.run(), learning_rates={})
    assert examine(cases.curves_only(run)).outcome == "inconclusive"
    assert examine(cases.without_everything()).outcome == "not_run"


def test_the_shape_asked_for():
    epochs = np.asarray([1.0, 51.0])
    assert asked_shape(epochs, 100, 0.01, cosine=False) == pytest.approx([1.0, 0.505])
    assert asked_shape(epochs, 100, 0.01, cosine=True) == pytest.approx([1.0, 0.505])
    assert asked_shape(epochs, None, 0.01, cosine=False) == pytest.approx([1.0, 1.0])
    assert asked_shape(epochs, 10, 0.01, cosine=False) == pytest.approx([1.0, 1.0])


def test_the_bias_group_doesn_t_pass_for_the_rate():
    run = cases.run()
    assert run.curves is not None
    weights = run.curves.learning_rates["pg0"]
    bias = (0.07, 0.04, *weights[2:])
    run = cases.with_curves(run, learning_rates={"pg0": bias, "pg1": weights, "pg2": weights})
    schedule = schedule_of(run, history_of(run))
    assert schedule.peak == pytest.approx(0.01, rel=1e-6)
    assert schedule.shape_error == pytest.approx(0.0, abs=1e-9)


def test_simulated_healthy_runs_pass_and_planted_ones_are_found():
    healthy = [examine(cases.curves_only(simulate(seed).run)).outcome for seed in range(40)]
    diverged = [examine(cases.curves_only(simulate(seed, "diverged").run)).outcome for seed in range(40)]
    spiky = [examine(cases.curves_only(simulate(seed, "spiky").run)).outcome for seed in range(40)]
    assert set(healthy) == {"passed"}
    assert diverged.count("failed") >= 39
    assert spiky.count("warned") >= 38
