"""The policy: floors judged with their intervals."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from runaudit.diagnostics.policy import Baseline, Policy, judge
from tests.diagnostics import cases


@pytest.mark.parametrize(
    ("floor", "outcome"), [(0.7, "broken"), (0.61, "inconclusive"), (0.59, "inconclusive"), (0.5, "met")]
)
def test_a_floor_and_the_interval(floor: float, outcome: str):
    (rule,) = judge(Policy(min_map50_95=floor), cases.evaluation(0.6, half_width=0.02))
    assert (rule.rule, rule.outcome, rule.value) == ("min_map50_95", outcome, 0.6)


def test_every_rule_in_order():
    policy = Policy(
        min_map50_95=0.5, min_map50=0.5, min_class_map50_95={"class1": 0.9, "class0": 0.1}, max_regression=0.01
    )
    rules = [(rule.rule, rule.outcome) for rule in judge(policy, cases.evaluation(0.6))]
    assert rules == [
        ("min_map50_95", "met"),
        ("min_map50", "met"),
        ("min_class_map50_95.class0", "met"),
        ("min_class_map50_95.class1", "broken"),
        ("max_regression", "not_run"),
    ]


def test_what_can_t_be_judged_says_why():
    evaluation = cases.evaluation(0.6, instances=(300, 0), ci95={})
    policy = Policy(min_map50_95=0.5, min_class_map50_95={"class1": 0.5, "zebra": 0.5}, baseline_audit="x")
    rules = judge(policy, evaluation)
    assert [rule.outcome for rule in rules] == ["inconclusive", "inconclusive", "not_run", "not_run"]
    assert all(rule.reason for rule in rules)
    assert {rule.outcome for rule in judge(policy, None)} == {"not_run"}


def test_an_empty_policy_has_no_rule():
    assert judge(Policy(), cases.evaluation()) == []


@pytest.mark.parametrize("values", [{"min_map50_95": 1.2}, {"min_map50": float("nan")}, {"min_map": 0.5}])
def test_a_policy_that_means_nothing_is_refused(values: dict[str, float]):
    with pytest.raises(ValidationError):
        Policy.model_validate(values)


@pytest.mark.parametrize(
    ("before", "allowed", "outcome"),
    [
        (0.70, 0.02, "broken"),  # fell by 0.10, and by no less than 0.072
        (0.70, 0.09, "inconclusive"),
        (0.70, 0.15, "met"),
        (0.62, 0.01, "inconclusive"),  # fell by 0.02, perhaps by nothing
        (0.50, 0.00, "met"),
        (0.70, None, "broken"),
    ],
)
def test_a_regression_is_judged_with_the_intervals_of_both(before: float, allowed: float | None, outcome: str):
    baseline = Baseline(map50_95=before, ci95=(before - 0.02, before + 0.02))
    policy = Policy(baseline_audit="x", max_regression=allowed)
    (rule,) = judge(policy, cases.evaluation(0.6, half_width=0.02), baseline=baseline)
    assert (rule.rule, rule.outcome, rule.threshold) == ("max_regression", outcome, allowed or 0.0)
    assert rule.value == pytest.approx(before - 0.6)
    assert rule.ci95 == pytest.approx((before - 0.6 - 0.02 * 2**0.5, before - 0.6 + 0.02 * 2**0.5))


@pytest.mark.parametrize(
    ("baseline", "words"),
    [(None, "runaudit submit"), (Baseline(), "no mAP"), (Baseline(map50_95=0.7), "no interval")],
)
def test_a_regression_that_can_t_be_judged_says_why(baseline: Baseline | None, words: str):
    (rule,) = judge(Policy(baseline_audit="x", max_regression=0.1), cases.evaluation(0.6), baseline=baseline)
    assert rule.outcome in ("not_run", "inconclusive")
    assert words in (rule.reason or "")
