"""Which labels are missing, spurious, misplaced, loose, duplicated or of the wrong class, at what estimated rate; do
several annotators agree?"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence
from runaudit.diagnostics.label_issues import (
    IMAGES,
    LIMITS,
    Issue,
    agreement_evidence,
    disagreement_issues,
    error_issues,
    habit_issues,
    measured,
)
from runaudit.diagnostics.ranking import SEVERITIES
from runaudit.diagnostics.training_labels import training_issues
from runaudit.diagnostics.written_otherwise import written_otherwise
from runaudit.evaluation.label_facts import LabelQualityFacts

CAUSE: Final = "annotation_errors"


def examine(evidence: Evidence) -> CheckResult:
    evaluation, dataset = evidence.evaluation, evidence.dataset
    quality = evaluation.label_quality if evaluation is not None else None
    issues = disagreement_issues(dataset)
    issues += training_issues(evidence)
    if quality is not None:
        issues += written_otherwise(evidence) + error_issues(evidence, quality) + habit_issues(evidence, quality)
    if issues:
        return _finding(evidence, quality, issues)
    if quality is not None:
        return _without_issue(quality)
    agreeing = [entry for entry in (dataset.agreement if dataset is not None else ()) if entry.class_id is None]
    if agreeing:
        lowest = min(agreeing, key=lambda entry: entry.found)
        return inconclusive(
            CAUSE,
            f"The annotators agree (objects at least {lowest.found:.2f}), but the labels were not held against the "
            f"model: " + (why_absent(evidence, "evaluation") if evaluation is None else _why_not_reviewed(evidence)),
            effect=lowest.found,
            n=lowest.images,
        )
    if evaluation is None:
        return not_run(CAUSE, why_absent(evidence, "evaluation"))
    return inconclusive(CAUSE, _why_not_reviewed(evidence))


def _why_not_reviewed(evidence: Evidence) -> str:
    return evidence.absent.get("labels", _NOT_REVIEWED)


def _without_issue(quality: LabelQualityFacts) -> CheckResult:
    known = [rate for rate in quality.rates if rate.ci95 is not None and rate.kind != "duplicated"]
    contradicted = [rate for rate in known if rate.kind != "spurious"]
    if not contradicted:
        why = next((rate.why for rate in quality.rates if rate.why), "There is too little to hold them against.")
        return inconclusive(CAUSE, f"Label errors can't be told from the model's mistakes. {why}")
    worst = max(known, key=lambda rate: rate.ci95[1] if rate.ci95 is not None else 0.0)
    unknown = "".join(
        f" {rate.kind.capitalize()} labels were not judged: {rate.why}" for rate in quality.rates if rate.why
    )
    return passed(
        CAUSE,
        "No kind of label error is above what clean labels show. The highest estimate is "
        f"{100 * (worst.rate or 0.0):.1f} % of {worst.kind} "
        f"{'objects' if worst.kind == 'overlooked' else 'labels'}.{unknown}",
        effect=worst.rate,
        ci95=worst.ci95,
        n=worst.n,
    )


def _finding(evidence: Evidence, quality: LabelQualityFacts | None, issues: list[Issue]) -> CheckResult:
    """All issues in one finding, under the title of the gravest."""
    issues = sorted(issues, key=lambda issue: (SEVERITIES.index(issue.severity), -issue.weight))
    first = issues[0]
    kinds = {entry.name for issue in issues for entry in issue.evidence}
    others = [measured(rate) for rate in quality.rates if rate.rate is not None] if quality is not None else []
    agreement = [
        entry
        for pair in (evidence.dataset.agreement if evidence.dataset is not None else ())
        if pair.class_id is None
        for entry in agreement_evidence(pair)
    ]
    rest = [entry for entry in [*others, *agreement] if entry.name not in kinds]
    suspects = quality.suspects if quality is not None else ()
    named = (suspect.image for suspect in suspects if suspect.score >= _PROBABLE)
    images = tuple(dict.fromkeys([*first.images, *named, *(name for issue in issues for name in issue.images)]))
    cost = ""
    if first.impact.value is not None:
        cost = f" That costs about {first.impact.value:.3f} mAP50-95."
    also = f" Also: {'; '.join(issue.title for issue in issues[1:])}." if len(issues) > 1 else ""
    remedies = list({remedy.title: remedy for issue in issues for remedy in issue.remedies}.values())
    result = found(
        CAUSE,
        first.severity,
        first.title,
        f"{first.explanation}{cost}{also}",
        evidence=(*(entry for issue in issues for entry in issue.evidence), *rest),
        impact=first.impact,
        remedies=tuple(remedies),
        classes=tuple(dict.fromkeys(name for issue in issues for name in issue.classes)),
        images=images[:IMAGES],
        effect=first.effect,
        ci95=first.ci95,
        n=first.n,
    )
    return replace(result, reason=f"{first.title}.{also}" if also else first.title)


_PROBABLE: Final = 0.5
_NOT_REVIEWED: Final = "Labels of rotated boxes are not held against detections."


CHECK = Check(
    cause=CAUSE,
    title="Annotation errors",
    question=" ".join((__doc__ or "").split()),
    statistic=(
        "Each confidence is expressed as its rank among the true positives of its class, so that the low confidences "
        "of "
        "YOLO don't matter. A wrong label contradicts detections that are as sure as any true positive; the model's "
        "own "
        "mistakes are seldom as sure. The two are told apart as a mixture, over overlooked objects (a detection "
        "without a label), swapped classes and misplaced boxes; the rate and its interval (400 replicates, by image or "
        "group) leave the model's mistakes out. Spurious: labels without any detection, "
        "where the model has no excuse (it sees smaller labels, most of the class and most of the image), less its own "
        "misses, of which what it hardly sees tells how many there are. "
        "Duplicated: IoU of 0.8 or more between labels. Habits: how far each edge of a label lies outside that of a "
        "sure detection, over the detection's side, on average, edges at the border of the image left out; "
        "cross-fitted where corrected. Rules: mAP50-95 with the labels read as two corners, as corner and "
        "size, with swapped, mirrored or upturned axes, as of a padded square, or as the next image's. What errors "
        "cost: mAP50-95 with the suspects corrected, less the gain "
        "of correcting as many confirmed labels. Training: the share of the detections in training images that are of "
        "nothing labelled, of a label of another class or beside one, less the share of equally sure detections in "
        "validation images, which the model never saw (bins of confidence weighted alike; 400 replicates by image or "
        "group of both splits). Annotators: boxes matched at IoU 0.5, F1, Cohen's kappa, "
        "Krippendorff's "
        "alpha."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Two classes that look alike, where the model is surely wrong: the suspects then are of one pair of classes.",
        "A weak model: its true positives are no surer than its mistakes, so that it is not asked (`confidence`, "
        "`precision`). Nor is then told that two thirds of the labels are wrong.",
        "A model trained on labels of another guideline: it contradicts the labels wherever the guidelines differ.",
        "Errors that training shares are learnt and not seen: the rate is of what training does not share.",
        "Errors of training labels that validation has as often, or that the model has learnt by heart: the contrast "
        "of both splits shows neither.",
        "Objects so small that the model's boxes are too large for all of them: right labels of 7 pixels, half the "
        "size that was trained, are called tight (`scale`).",
        "Spurious labels that touch objects, and all of them in crowds, are not found.",
    ),
    references=(
        "Blanchard, Lee and Scott, Semi-supervised novelty detection, JMLR 11, 2010 (mixture proportion estimation)",
        "Tkachenko, Thyagarajan and Mueller, ObjectLab, arXiv 2309.00832, 2023",
        "Krippendorff, Computing Krippendorff's alpha-reliability, 2011",
        "Cohen, A coefficient of agreement for nominal scales, 1960",
    ),
    examine=examine,
)
