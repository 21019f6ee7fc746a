"""The causes that this version of Runaudit has no check for: reported as not run, so that silence is never a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.causes import CauseId
from runaudit.diagnostics.answers import not_run
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence

QUESTIONS: Final[dict[CauseId, tuple[str, str]]] = {
    "confidence_threshold": (
        "Confidence threshold",
        "Does the default threshold cost F1; is the model calibrated?",
    ),
}


@dataclass(frozen=True)
class NoThresholds:
    """A cause without a check has no threshold."""


def _unchecked(cause: CauseId, title: str, question: str) -> Check:
    reason = f"This version of Runaudit has no check for {cause} yet."

    def examine(evidence: Evidence) -> CheckResult:
        del evidence
        return not_run(cause, reason)

    return Check(
        cause=cause,
        title=title,
        question=question,
        statistic="",
        thresholds=NoThresholds(),
        false_positives=(),
        references=(),
        examine=examine,
    )


UNCHECKED: Final[tuple[Check, ...]] = tuple(
    _unchecked(cause, title, question) for cause, (title, question) in QUESTIONS.items()
)
