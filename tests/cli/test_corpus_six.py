"""The six real runs that were chosen before any was audited report what INDEX.md lets one expect."""

from __future__ import annotations

import pytest

from benchmarks.corpus_six import EXPECTED, Expected, agrees, chosen, reported
from tests.runs.corpus import CORPUS

HERE = (CORPUS / "INDEX.md").is_file()


def test_the_rule_takes_the_middle_run_of_each_of_six_parts() -> None:
    index = "".join(f"| {3 * row} | runs/r{row} | a : `b` @c |\n" for row in range(24)) + "| datasets/x | y |\n"
    assert chosen(index) == ["r2", "r6", "r10", "r14", "r18", "r22"]


def test_another_grave_cause_or_another_first_one_does_not_agree() -> None:
    late = Expected(frozenset({"insufficient_epochs"}), "", also=frozenset({"batch_size"}))
    assert agrees(late, [("insufficient_epochs", "minor"), ("batch_size", "major")])
    assert not agrees(late, [("batch_size", "major"), ("insufficient_epochs", "major")])
    assert not agrees(late, [("insufficient_epochs", "major"), ("overfitting", "major")])
    healthy = Expected(frozenset(), "")
    assert agrees(healthy, []) and agrees(healthy, [("overfitting", "minor")])
    assert not agrees(healthy, [("overfitting", "major")])


@pytest.mark.corpus
@pytest.mark.skipif(not HERE, reason="the corpus of real runs is not here")
def test_the_six_are_those_whose_findings_were_written_down() -> None:
    assert set(chosen((CORPUS / "INDEX.md").read_text(encoding="utf-8"))) == set(EXPECTED)


@pytest.mark.corpus
@pytest.mark.skipif(not HERE, reason="the corpus of real runs is not here")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_run_reports_what_the_index_lets_one_expect(name: str) -> None:
    assert agrees(EXPECTED[name], reported(CORPUS / "runs" / name))
