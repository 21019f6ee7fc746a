"""Whether mAP on training images lies further above validation than a model that generalises shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics import data_leakage
from runaudit.diagnostics.answers import found, inconclusive, passed
from runaudit.diagnostics.evidence import CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.label_issues import cost_of_suspects, failing, habit_issues
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.written_otherwise import reading_of
from runaudit.evaluation.facts import Interval, InterventionFacts

CAUSE: Final = "overfitting"


@dataclass(frozen=True)
class GapThresholds:
    gap: float = threshold(
        0.1,
        "diagnostics.md B4: the lower end of the interval of mAP50-95 on training images less validation, and less "
        "what a "
        "shift costs. Three healthy runs on 120 and 240 rendered images have gaps of 0.02, 0.09 and 0.11 with lower "
        "ends of "
        "0.00, 0.05 and 0.07, one that knows its 24 images by heart has 0.90.",
    )
    recovered: float = threshold(
        0.5,
        "Share of the gap that validation gains by mending what made the model overfit (more images, augmentation, "
        "weight decay): 0.43 and 0.50 in runs on 20 images of shapes and cells, 0.52 and 0.43 on signs and traffic, "
        "0.76 and 0.53 on 12 of these, against 120 (benchmarks/planted). The rest is what it knows of its own images.",
    )
    recovered_least: float = threshold(0.28, "The smallest of the 6, and a third less.")
    recovered_most: float = threshold(1.0, "The largest of the 6, 0.76, and a third more: no more than the whole gap.")
    warned: float = threshold(0.05, "Half of it, with a decline in the curves: two weak signs of one thing.")


LIMITS = GapThresholds()


def judge(
    evidence: Evidence, gap: InterventionFacts, declines: CheckResult, remedies: tuple[Remedy, ...]
) -> CheckResult:
    """The answer by the gap; `declines` is the answer of the curves, which here only supports it."""
    leakage = evidence.leakage
    # Where enough images did not leak, the gap was measured against those.
    hidden = named(evidence, "without_leaked_images") is None
    if leakage is not None and hidden and leakage.share >= data_leakage.LIMITS.distrusted_share:
        return inconclusive(
            CAUSE,
            f"{leakage.exact + leakage.near} of {leakage.images} validation images stand in training too, so that "
            "validation is no measure of what the model does on new images.",
            effect=gap.difference,
            ci95=gap.ci95,
            n=gap.images,
        )
    if gap.ci95 is None:
        return inconclusive(CAUSE, "The gap to training images has no interval.", effect=gap.difference, n=gap.images)
    shifted, labels = shift_cost(evidence), label_cost(evidence)
    explained = shifted + labels
    left = gap.difference - explained
    ends = (gap.ci95[0] - explained, gap.ci95[1] - explained)
    if ends[0] > LIMITS.gap or (ends[0] > LIMITS.warned and declines.outcome == "warned"):
        return _finding(gap, (shifted, labels), ends, declines, remedies)
    why = f", of which {shifted:.3f} is what the images' differences cost" if shifted else ""
    why += f", of which {labels:.3f} is what wrong validation labels cost" if labels else ""
    return passed(
        CAUSE,
        f"mAP50-95 is {gap.after:.3f} on {gap.images} training images and {gap.before:.3f} in validation, over the "
        "same "
        f"classes: a gap of {gap.difference:.3f} ({gap.ci95[0]:.3f} to {gap.ci95[1]:.3f}){why}.",
        effect=left,
        ci95=ends,
        n=gap.images,
    )


def shift_cost(evidence: Evidence) -> float:
    """What a shift of the images surely costs: the lower ends of what changing pixels showed, 0 without such a pass.

    Only validation images moved towards training count: training images lose more by a change than new ones would where
    the model knows them by heart.
    """
    changes = (named(evidence, name) for name in ("match_photometry", "without_blank_images"))
    return sum(max(0.0, change.ci95[0]) for change in changes if change is not None and change.ci95 is not None)


def label_cost(evidence: Evidence) -> float:
    """What wrong validation labels surely cost: lower ends, of labels written by another rule, of those drawn by
    another habit and of those that are wrong by themselves; these cost 0 where none is above that of clean labels.

    They lower mAP in validation and not on training images, whose labels the model has learnt.
    """
    reading = reading_of(evidence)
    misread = max(0.0, reading.ci95[0]) if reading is not None and reading.ci95 is not None else 0.0
    quality = evidence.evaluation.label_quality if evidence.evaluation is not None else None
    if quality is None:
        return misread
    habits = sum(issue.impact.ci95[0] for issue in habit_issues(evidence, quality) if issue.impact.ci95 is not None)
    if not any(failing(rate) for rate in quality.rates):
        return misread + habits
    ends = cost_of_suspects(evidence).ci95
    return misread + habits + (ends[0] if ends is not None else 0.0)


def _impact(left: float, ends: Interval) -> Impact:
    """What validation would gain: a share of the gap, with the interval of both."""
    low, high = LIMITS.recovered_least * ends[0], LIMITS.recovered_most * ends[1]
    return Impact("lowers", max(0.0, LIMITS.recovered * left), (max(0.0, low), max(0.0, high)), "observational")


def _finding(
    gap: InterventionFacts,
    explained: tuple[float, float],
    ends: Interval,
    declines: CheckResult,
    remedies: tuple[Remedy, ...],
) -> CheckResult:
    shifted, labels = explained
    left = gap.difference - shifted - labels
    grave = ends[0] > LIMITS.gap
    shift = f" {shifted:.3f} of it is what validation gains with the colours of training." if shifted else ""
    shift += f" {labels:.3f} of it is what wrong validation labels cost." if labels else ""
    curves = f" The curves agree: {declines.reason}." if declines.outcome == "warned" else ""
    return found(
        CAUSE,
        "major" if grave else "minor",
        f"mAP50-95 is {gap.after:.3f} on training images and {gap.before:.3f} in validation",
        f"{gap.images} images that the model was trained on were validated as the validation images are, without "
        f"augmentation.{shift}{curves} A model that generalises does nearly as well on new images of the same kind.",
        evidence=(
            Measurement(
                "mAP50-95 on training images less validation",
                round(left, 4),
                LIMITS.gap if grave else LIMITS.warned,
                ends,
                gap.images,
            ),
            *(declines.finding.evidence if declines.finding is not None else ()),
        ),
        impact=_impact(left, ends),
        remedies=remedies,
        effect=left,
        ci95=ends,
        n=gap.images,
    )
