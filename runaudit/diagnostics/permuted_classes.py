"""Class ids that are permuted between model and labels, as the detections show it whatever the names say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found
from runaudit.diagnostics.evidence import CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import DatasetFacts


@dataclass(frozen=True)
class Thresholds:
    gain: float = threshold(
        0.02,
        "mAP50-95 gained by the best mapping: the report contract's 2 points, critical from there. Ids moved on "
        "purpose, "
        "on rendered data and COCO128 with three models, gained 0.11 to 0.59; two rare ones of 80 gained 0.008 and are "
        "major. Sets as they were, and such in which the model confused two classes or called both by one id, got no "
        "mapping (n = 12).",
    )


LIMITS: Final = Thresholds()
SHOWN: Final = 5


def permutation_finding(evidence: Evidence, dataset: DatasetFacts) -> CheckResult | None:
    """The finding that ids are permuted; None if they are not, or nothing was detected to tell it by."""
    quality = evidence.evaluation.label_quality if evidence.evaluation is not None else None
    facts = quality.permutation if quality is not None else None
    if facts is None or not facts.mapping or facts.ci95 is None or facts.ci95[0] <= 0:
        return None
    names = dataset.names
    moved = sorted(facts.mapping.items(), key=lambda pair: pair[1])
    pairs = [
        Measurement(
            f"label {cls} ({names.get(cls, cls)}) is detected as", f"{detected} ({names.get(detected, detected)})"
        )
        for detected, cls in moved[:SHOWN]
    ]
    severity: Severity = "critical" if facts.gain >= LIMITS.gain else "major"
    return found(
        "class_mapping",
        severity,
        f"The ids of {len(moved)} classes are permuted between model and labels",
        "The model finds these objects, under ids of other classes, one to one. Blind to classes mAP50-95 is "
        f"{facts.agnostic_map50_95:.3f}, with ids as they stand {facts.map50_95:.3f}, with ids mapped back "
        f"{facts.mapped_map50_95:.3f}.",
        evidence=(
            Measurement("mAP50-95 gained by mapping ids back", round(facts.gain, 4), LIMITS.gain, facts.ci95, facts.n),
            Measurement("found labels detected with their own id", _rounded(facts.kept), n=facts.n),
            Measurement("found labels detected with the mapped id", _rounded(facts.moved), n=facts.n),
            *pairs,
        ),
        impact=Impact("lowers", facts.gain, facts.ci95, "intervention"),
        remedies=(
            Remedy(
                "Give the labels the ids that the model was trained with",
                "Or order `names` as they were, and train again if training had the same labels in another order. "
                "Look at "
                "a few images first: which of the two lists is right, only they say.",
                code=_REMAP.format(mapping={cls: detected for detected, cls in moved}),
                reference="https://docs.ultralytics.com/datasets/detect/",
            ),
        ),
        classes=tuple(names.get(cls, str(cls)) for _, cls in moved),
        effect=facts.gain,
        ci95=facts.ci95,
        n=facts.n,
    )


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None


_REMAP: Final = """\
from pathlib import Path
ids = {mapping}
for path in Path('dataset/labels/val').rglob('*.txt'):
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    path.write_text(''.join(' '.join([str(ids.get(int(row[0]), int(row[0]))), *row[1:]]) + '\\n' for row in rows))
"""
