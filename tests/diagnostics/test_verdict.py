"""The verdict's rules and the headline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runaudit.causes import CAUSES
from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import Depth, Evidence
from runaudit.diagnostics.policy import Policy, judge
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.diagnostics.verdict import decide, headline
from tests.diagnostics import cases


def concluded(evidence: Evidence, policy: Policy | None = None, depth: Depth = "standard") -> tuple[str, str]:
    results = explain_away(examine_all(evidence))
    outcomes = judge(policy or Policy(), evidence.evaluation)
    ranked = rank(results)
    verdict = decide(ranked, outcomes, evidence.evaluation, depth)
    return verdict, headline(verdict, ranked, results, outcomes, evidence)


def test_a_healthy_run_passes_and_the_headline_says_what_was_checked():
    verdict, sentence = concluded(cases.healthy())
    assert verdict == "pass"
    checked = f"{len(CAUSES)} of {len(CAUSES)} causes"
    assert sentence.startswith("No fault was found: mAP50-95 is 0.6") and checked in sentence


def test_curves_never_pass():
    assert concluded(cases.healthy(), depth="curves")[0] == "inconclusive"
    verdict, sentence = concluded(cases.curves_only(cases.run()), depth="curves")
    assert verdict == "inconclusive" and cases.ABSENT["evaluation"].rstrip(".") in sentence


def test_a_policy_breaks_meets_or_leaves_open():
    reported = cases.best_metric(cases.run())
    assert concluded(cases.healthy(), Policy(min_map50_95=0.5))[0] == "pass"
    verdict, sentence = concluded(cases.healthy(), Policy(min_map50_95=0.9))
    assert verdict == "fail" and sentence.startswith("The policy is broken: min_map50_95")
    verdict, sentence = concluded(cases.healthy(), Policy(min_map50_95=round(reported, 2)))
    assert verdict == "inconclusive" and "min_map50_95" in sentence
    assert concluded(cases.healthy(), Policy(baseline_audit="x", max_regression=0.1))[0] == "inconclusive"


def test_a_minor_finding_warns_and_a_major_one_fails():
    minor = replace(cases.healthy(), evaluation=cases.evaluation(cases.best_metric(cases.run()), half_width=0.08))
    assert concluded(minor)[0] == "warn"
    short = cases.curves_only(cases.run(cases.smooth(2)))
    verdict, sentence = concluded(short)
    assert verdict == "fail" and sentence.startswith("The run ended within its warm-up")


def test_the_headline_names_first_cause_evidence_and_stake():
    metric = np.clip(0.1 + 0.15 * np.log(np.arange(1, 61)), 0, 1)
    verdict, sentence = concluded(cases.curves_only(cases.run(metric)))
    assert verdict == "warn", "what more epochs bring may be nothing"
    assert "still improving" in sentence and "mAP50-95 is at stake" in sentence and "threshold 0.02" in sentence


@pytest.mark.parametrize("floor", [0.1, 0.9])
def test_a_broken_policy_stands_beside_a_major_finding(floor: float):
    evidence = replace(cases.healthy(), evaluation=cases.evaluation(0.2))
    verdict, sentence = concluded(evidence, Policy(min_map50_95=floor))
    assert verdict == "fail" and sentence.startswith("Re-validation gives")
    assert ("policy is broken" in sentence) == (floor == 0.9)


def test_a_broken_policy_comes_before_a_minor_finding():
    evidence = replace(cases.healthy(), evaluation=cases.evaluation(cases.best_metric(cases.run()), half_width=0.08))
    verdict, sentence = concluded(evidence, Policy(min_map50_95=0.9))
    assert verdict == "fail" and sentence.startswith("The policy is broken")
