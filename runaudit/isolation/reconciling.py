"""What a run reported, put so that evaluation can look for the settings by which it was measured."""

from __future__ import annotations

from runaudit.diagnostics.accuracy_mismatch import reproduces
from runaudit.diagnostics.metric_mismatch import compared_row, differs, other_rows, reported_by
from runaudit.evaluation.conventions import Figures
from runaudit.evaluation.facts import ClassificationFacts, EvaluationFacts
from runaudit.evaluation.reconcile import Reported
from runaudit.runs.facts import RunFacts


def unreproduced(run: RunFacts, evaluation: EvaluationFacts) -> Reported | None:
    """The figures that the run reported of its checkpoint, where they differ from those measured beyond tolerance."""
    reported = reported_by(run, compared_row(run))
    if reported is None or not differs(evaluation, reported.metrics):
        return None
    others = {name: _figures(metrics) for name, metrics in other_rows(run).items()}
    return Reported(_figures(reported.metrics), others, evaluation.tolerance)


def accuracy_unreproduced(run: RunFacts, measured: ClassificationFacts) -> bool:
    """Whether the run reported another top-1 accuracy of its checkpoint, beyond tolerance."""
    reported = reported_by(run, compared_row(run))
    return reported is not None and reproduces(measured, reported.metrics["top1"]) is None


def _figures(metrics: dict[str, float]) -> Figures:
    return Figures(metrics.get("map50"), metrics["map50_95"])
