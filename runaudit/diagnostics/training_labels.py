"""What is wrong with the labels of training, by what the model sees in its own training images."""

from __future__ import annotations

from typing import Final

from runaudit.diagnostics.evidence import Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.label_issues import LIMITS, Issue
from runaudit.evaluation.label_facts import Contradiction, ContrastFacts

_SAID: Final[dict[Contradiction, tuple[str, str]]] = {
    "overlooked": ("are of nothing that is labelled", "Objects there have no label, and the model learns not to see."),
    "swapped": ("are of a label of another class", "Labels there have the wrong class."),
    "misplaced": ("lie beside a label, not on it", "Boxes there are drawn carelessly, or with another habit."),
}
_REVIEW: Final = Remedy(
    "Review the labels of the training images that are named, and correct them",
    "Those stand first where the model is surest of the contrary. Then train again: it learnt what it was shown.",
)
_NO_FOCAL_LOSS: Final = Remedy(
    "No focal loss meanwhile", "It raises the weight of objects without a label most (SAFECOMP 2021)."
)


def training_issues(evidence: Evidence) -> list[Issue]:
    """One issue a kind of contradiction that is surely more frequent in training than in validation."""
    return [_issue(entry) for entry in evidence.label_contrast if entry.ci95[0] >= LIMITS.contrast]


def _issue(entry: ContrastFacts) -> Issue:
    share, meaning = _SAID[entry.kind]
    severity: Severity = "major" if entry.ci95[0] >= LIMITS.contrast_grave else "minor"
    return Issue(
        severity,
        f"{entry.training:.0%} of the detections in training images {share}",
        f"Of equally sure detections in validation images it is {entry.validation:.0%}, though the model never saw "
        f"those. {meaning}",
        (
            Measurement(
                f"share of detections in training images that {share}, less that in validation",
                round(entry.difference, 4),
                LIMITS.contrast_grave if severity == "major" else LIMITS.contrast,
                entry.ci95,
                entry.detections,
            ),
        ),
        (_REVIEW, *((_NO_FOCAL_LOSS,) if entry.kind == "overlooked" else ())),
        entry.difference,
        entry.ci95,
        entry.detections,
        Impact("lowers"),
        images=entry.images,
    )
