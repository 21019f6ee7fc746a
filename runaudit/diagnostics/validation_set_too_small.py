"""How wide is the confidence interval of mAP, and which classes can't be judged?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import EvaluationFacts

CAUSE: Final = "validation_set_too_small"


@dataclass(frozen=True)
class Thresholds:
    half_width: float = threshold(
        0.05,
        "Half of the 95 % interval of mAP50-95: two runs must then differ by about 0.07 to be told apart, more than "
        "most changes to a training bring.",
    )
    half_width_major: float = threshold(
        0.1, "At this width a model of 0.5 may be one of 0.4 or of 0.6: a user would decide otherwise."
    )
    instances: int = threshold(
        30,
        "diagnostics.md A2(4): with 30 instances the standard error of AP50 is 0.085. Fewer make the bootstrap itself "
        "too narrow (its replicates hold the same few boxes).",
    )
    classes_share: float = threshold(
        0.5, "Share of classes that can't be judged from which the mean says little of them."
    )


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    evaluation = evidence.evaluation
    if evaluation is not None:
        return _measured(evaluation)
    split = evidence.dataset.splits.get("val") if evidence.dataset is not None else None
    if split is None:
        return not_run(CAUSE, why_absent(evidence, "evaluation"))
    if split.instances == 0:
        return _empty(split.images, split.source)
    return inconclusive(
        CAUSE,
        f"The validation split has {split.instances} instances on {split.images} images, but no interval was measured. "
        + why_absent(evidence, "evaluation"),
        n=split.instances,
    )


def _empty(images: int, source: str | None) -> CheckResult:
    return found(
        CAUSE,
        "critical",
        "The validation split has no labelled object",
        f"None of its {images} images has a usable label, so that no metric means anything.",
        evidence=(Measurement("instances", 0, threshold=LIMITS.instances, n=images, source=source),),
        impact=Impact("unjudgeable"),
        remedies=REMEDIES,
        effect=None,
        n=0,
    )


def _measured(evaluation: EvaluationFacts) -> CheckResult:
    if evaluation.instances == 0:
        return _empty(evaluation.images, None)
    interval = evaluation.ci95.get("map50_95")
    half_width = (interval[1] - interval[0]) / 2.0 if interval is not None else None
    judged = [entry for entry in evaluation.per_class if entry.instances > 0]
    thin = [entry for entry in judged if entry.instances < LIMITS.instances]
    width = "" if half_width is None else f"mAP50-95 is known to +-{half_width:.3f} (95 %). "
    counts = f"{evaluation.instances} instances on {evaluation.images} images. "
    classes = f"{len(thin)} of {len(judged)} classes have fewer than {LIMITS.instances} instances."
    severity = _severity(evaluation, half_width, len(thin), len(judged))
    if severity is None:
        if half_width is None:
            return inconclusive(CAUSE, counts + "No interval was measured. " + classes, n=evaluation.instances)
        return passed(CAUSE, width + counts + classes, effect=half_width, ci95=interval, n=evaluation.instances)
    evidence = [
        Measurement("instances", evaluation.instances, threshold=LIMITS.instances, n=evaluation.images),
        Measurement("classes that can't be judged", len(thin), n=len(judged)),
    ]
    if half_width is not None:
        limit = LIMITS.half_width
        evidence.insert(
            0,
            Measurement("half width of mAP50-95's interval", round(half_width, 4), limit, interval, evaluation.images),
        )
    return found(
        CAUSE,
        severity,
        "The validation split is too small to judge the model"
        if severity == "major"
        else "The validation split is small: its figures are uncertain",
        width + counts + classes,
        evidence=tuple(evidence),
        impact=Impact("unjudgeable", None, None, "observational"),
        remedies=REMEDIES,
        classes=tuple(entry.name for entry in thin),
        effect=half_width,
        ci95=interval,
        n=evaluation.instances,
    )


def _severity(evaluation: EvaluationFacts, half_width: float | None, thin: int, judged: int) -> Severity | None:
    if evaluation.instances < LIMITS.instances or (half_width or 0.0) > LIMITS.half_width_major:
        return "major"
    if (half_width or 0.0) > LIMITS.half_width or thin > LIMITS.classes_share * judged:
        return "minor"
    return None


REMEDIES = (
    Remedy(
        "Collect a larger validation split",
        "The interval shrinks with the square root of the number of images; four times as many halve it.",
    ),
    Remedy(
        "Cross-validate",
        "Where no more images can be had: train on k splits and score each image once, by the model that didn't "
        "see it. "
        "Keep frames of one scene in one split.",
        code="from sklearn.model_selection import GroupKFold\n"
        "folds = GroupKFold(n_splits=5).split(images, groups=scene_of_image)\n",
    ),
)

CHECK = Check(
    cause=CAUSE,
    title="Size of the validation split",
    question=__doc__ or "",
    statistic="Half width of the 95 % percentile interval of mAP50-95 by bootstrap over images; instances a class.",
    thresholds=LIMITS,
    false_positives=(
        "Images of one scene or video are not independent: the true interval is wider than the one by image.",
        "A mAP pinned near 0 or 1 has a narrow interval at any size; the count of instances guards against it.",
    ),
    references=(
        "Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13",
        "diagnostics.md A2(4): standard error of AP50 by number of instances",
    ),
    examine=examine,
)
