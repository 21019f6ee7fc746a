"""A figure with an interval says what it was measured on: in code, and in findings as they come out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from runaudit import diagnostics
from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import Evidence
from tests.diagnostics import cases, test_class_imbalance, test_overfitting_gap, test_underfitting
from tests.reports.cases import faulty_evidence

MODULES = sorted(Path(diagnostics.__file__).parent.glob("*.py"))
CI95, N = 3, 4
"""places of both among the arguments of a Measurement"""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_no_interval_without_a_sample_size(module: Path) -> None:
    lacking = []
    for part in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "Measurement":
            named = {keyword.arg for keyword in part.keywords}
            if (len(part.args) > CI95 or "ci95" in named) and not (len(part.args) > N or "n" in named):
                lacking.append(part.lineno)
    assert lacking == []


@pytest.mark.parametrize(
    "evidence",
    [
        faulty_evidence(),
        test_overfitting_gap.evidence(0.3),
        test_underfitting.evidence(0.3),
        test_class_imbalance.long_tail((0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.2)),
        cases.healthy(),
    ],
    ids=["high rate", "overfitting", "underfitting", "long tail", "healthy"],
)
def test_shares_rates_and_metrics_of_findings_have_one(evidence: Evidence) -> None:
    """`reported` figures are the run's own, who does not say on how many images."""
    lacking = [
        f"{result.cause}: {item.name}"
        for result in examine_all(evidence)
        if result.finding is not None
        for item in result.finding.evidence
        if item.n is None and (item.ci95 is not None or ("mAP" in item.name and "reported" not in item.name))
    ]
    assert lacking == []
