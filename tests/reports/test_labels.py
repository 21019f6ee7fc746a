"""The review of labels in the report: by class names, and every field of the facts."""

from __future__ import annotations

from dataclasses import replace

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.policy import Policy
from runaudit.evaluation.label_facts import ClassPermutationFacts, SuspectFacts
from runaudit.reports.build import build_report
from runaudit.reports.labels import agreement, review
from runaudit.reports.schema import Provenance, Report
from runaudit.runs.facts import AgreementFacts
from tests.diagnostics import cases

NAMES = {0: "cat", 1: "dog"}


def test_suspects_rates_and_mapping_are_told_by_name():
    facts = cases.label_quality(swapped=0.1).model_copy(
        update={
            "rates": (cases.error_rate("swapped", 0.1, classes={1: 40}),),
            "suspects": (
                SuspectFacts(
                    kind="swapped",
                    image="a\udc80.jpg",
                    class_id=1,
                    box=(1, 2, 3, 4),
                    suggested_class=0,
                    score=0.9,
                    at_stake=0.01,
                ),
                SuspectFacts(
                    kind="overlooked", image="b.jpg", suggested_class=7, suggested_box=(0, 0, 9, 9), score=0.8
                ),
            ),
            "habits": (cases.box_habit(), cases.box_habit(1.2, class_id=0)),
            "permutation": ClassPermutationFacts(
                map50_95=0.1,
                agnostic_map50_95=0.6,
                mapped_map50_95=0.5,
                mapping={0: 1, 1: 0},
                gain=0.4,
                ci95=(0.3, 0.5),
            ),
        }
    )
    found = review(facts, NAMES)
    assert found is not None
    assert found.rates[0].classes == {"dog": 40}
    first, second = found.suspects
    assert (first.label, first.suggested, first.box) == ("dog", "cat", [1, 2, 3, 4])
    assert (first.at_stake, second.at_stake) == (0.01, None)
    assert first.image.encode() and (second.label, second.suggested) == (None, "7")
    assert [habit.label for habit in found.habits] == [None, "cat"]
    assert found.permutation is not None and found.permutation.mapping == {"0": 1, "1": 0}
    assert review(None, NAMES) is None


def test_agreement_of_annotators_is_told_by_name():
    entry = AgreementFacts(
        first="labels", second="anna", class_id=1, images=5, matched=3, only_first=1, only_second=0, found=0.857
    )
    assert agreement((entry,), NAMES)[0].label == "dog"


def test_the_report_carries_the_review_and_reads_back():
    evidence = replace(cases.healthy(), evaluation=cases.evaluation(label_quality=cases.label_quality()))
    report = build_report(
        evidence, examine_all(evidence), Policy(), depth="standard", provenance=Provenance(runaudit_version="1")
    )
    assert report.validation is not None and report.validation.labels is not None
    assert len(report.validation.labels.rates) == 5
    assert Report.model_validate_json(report.model_dump_json()) == report
