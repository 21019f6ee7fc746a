"""Do rare classes fail because they are rare, and does validation have the class distribution that training had?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.confusion_asymmetry import LIMITS as ASYMMETRY
from runaudit.diagnostics.confusion_asymmetry import Asymmetry, RareGap, asymmetry_of, rare_gap_of
from runaudit.diagnostics.confusion_asymmetry import Thresholds as AsymmetryThresholds
from runaudit.diagnostics.counting import (
    Counts,
    chi_square_tail,
    cramers_v,
    effective_numbers,
    g_statistic,
    imbalance_ratio,
    normalised_entropy,
)
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.imbalance_remedies import remedies
from runaudit.diagnostics.rarity import LIMITS as RARITY
from runaudit.diagnostics.rarity import Rarity, rarity_of
from runaudit.diagnostics.rarity import Thresholds as RarityThresholds
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import ClassificationFacts
from runaudit.runs.facts import DatasetFacts, SplitFacts

CAUSE: Final = "class_imbalance"


@dataclass(frozen=True)
class Thresholds:
    ratio: float = threshold(10.0, "Largest over smallest count: SageMaker Debugger's ClassImbalance rule (B1).")
    ratio_grave: float = threshold(
        50.0, "Datumaro's validator (B1). Counts alone never give more than a minor finding."
    )
    at_stake: float = threshold(0.02, "The report contract's 2 points of mAP50-95.")
    association: float = threshold(0.1, "diagnostics.md B1: Cramer's V, bias-corrected, of class against split.")
    probability: float = threshold(
        0.01, "G-test corrected for clusters; stricter than 0.05 since it stands in every audit."
    )
    beta: float = threshold(0.9999, "Effective number of samples (Cui et al., CVPR 2019; B1).")
    whole: float = threshold(
        1.5,
        "What balanced classes gain, over what the lag of the rare ones takes off the mean: 1.5 and 0.8 on shapes and "
        "cells, 1.6 and 2.2 on signs and traffic, where a twentieth or less of two classes' objects was left "
        "(benchmarks/planted). Frequent classes lose too, by the rare objects that are taken for them.",
    )
    whole_least: float = threshold(0.55, "The smallest of the 4, 0.8, and a third less.")
    whole_most: float = threshold(3.3, "The largest of the 4, 2.2, and half as much again.")
    rarity: RarityThresholds = RARITY
    asymmetry: AsymmetryThresholds = ASYMMETRY


LIMITS = Thresholds()


@dataclass(frozen=True)
class _Distribution:
    """Train against val: G-test with Rao and Scott's first-order correction, and Cramer's V of the boxes."""

    probability: float
    association: float

    @property
    def differs(self) -> bool:
        return self.probability < LIMITS.probability and self.association >= LIMITS.association


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    dataset = evidence.dataset
    if dataset is None:
        return not_run(CAUSE, why_absent(evidence, "dataset"))
    train = dataset.splits.get("train")
    if train is None:
        return not_run(CAUSE, "The data set that was handed in has no training split to count.")
    counts = np.asarray(train.class_instances, dtype=np.float64)
    if counts.sum() <= 0:
        return inconclusive(CAUSE, "The training split has no usable label to count.", n=0)
    if counts.size < 2 or evidence.run.argument("single_cls") is True:
        return passed(CAUSE, "There is one class only.", effect=1.0, n=int(counts.sum()))
    val = dataset.splits.get("val")
    unseen = _unseen(counts, val)
    if unseen:
        return _unseen_finding(evidence, dataset, train, counts, unseen)
    rarity = _rarity(evidence, dataset, counts)
    if rarity is not None and rarity.causal and rarity.at_stake >= LIMITS.at_stake:
        return _causal_finding(evidence, dataset, train, counts, rarity)
    asymmetry = asymmetry_of(counts, evidence.evaluation) if evidence.evaluation is not None else None
    if rarity is None and evidence.evaluation is not None and asymmetry is not None and asymmetry.sure:
        gap = rare_gap_of(counts, evidence.evaluation)
        if gap is not None and gap.ci95[0] > 0 and gap.at_stake >= LIMITS.at_stake:
            return _taken_for_frequent(evidence, dataset, train, counts, gap=gap, asymmetry=asymmetry)
    distribution = _compare(train, val)
    if distribution is not None and distribution.differs:
        return _distribution_finding(dataset, train, val, distribution)
    return _by_counts(evidence, dataset, train, counts=counts, rarity=rarity, distribution=distribution)


def _rarity(evidence: Evidence, dataset: DatasetFacts, counts: Counts) -> Rarity | None:
    """How the classes' scores go with their counts; None where nothing or too little was measured."""
    if evidence.classification is not None:
        return rarity_of(_counts_of_model(evidence.classification, dataset, counts), evidence.classification)
    return rarity_of(counts, evidence.evaluation) if evidence.evaluation is not None else None


def _counts_of_model(measured: ClassificationFacts, dataset: DatasetFacts, counts: Counts) -> Counts:
    """Training images of each class of the model, whose ids may stand for other names than the folders' do."""
    if measured.aligned != "name":
        return counts
    by_name = {name: counts[index] for index, name in dataset.names.items()}
    return np.asarray([by_name.get(entry.name, 0.0) for entry in measured.per_class], dtype=np.float64)


def _unseen(counts: Counts, val: SplitFacts | None) -> list[int]:
    """Classes that validation asks for and training never showed."""
    if val is None:
        return []
    return [
        index
        for index, asked in enumerate(val.class_instances)
        if asked > 0 and (index >= counts.size or counts[index] == 0)
    ]


def _compare(train: SplitFacts, val: SplitFacts | None) -> _Distribution | None:
    """None where a split is empty or the two don't count the same classes.

    Boxes cluster in images, and a test that takes them as independent alarms in up to half of all cases (A2(3)). So the
    test counts images in which a class occurs, and divides G by the mean number of classes an image (Rao and Scott,
    Ann. Stat. 12 (1984), with the largest design effect that such clusters can have).
    """
    if val is None or len(val.class_images) != len(train.class_images) or val.instances == 0:
        return None
    images = np.asarray([train.class_images, val.class_images], dtype=np.float64)
    boxes = np.asarray([train.class_instances, val.class_instances], dtype=np.float64)
    statistic, degrees = g_statistic(images)
    if degrees == 0:
        return None
    design_effect = max(1.0, float(images.sum()) / max(1, train.labelled + val.labelled))
    return _Distribution(chi_square_tail(statistic / design_effect, degrees), cramers_v(boxes))


def _names(dataset: DatasetFacts, ids: list[int]) -> tuple[str, ...]:
    return tuple(dataset.names.get(index, str(index)) for index in ids)


def _count_evidence(train: SplitFacts, counts: Counts) -> tuple[Measurement, ...]:
    total = int(counts.sum())
    effective = effective_numbers(counts[counts > 0], LIMITS.beta)
    return (
        Measurement(
            "largest over smallest class count",
            round(imbalance_ratio(counts), 2),
            LIMITS.ratio,
            None,
            total,
            train.source,
        ),
        Measurement("ratio of effective numbers", round(float(effective.max() / effective.min()), 2), n=total),
        Measurement("entropy of the classes over its maximum", round(normalised_entropy(counts), 4), n=total),
    )


def _unseen_finding(
    evidence: Evidence, dataset: DatasetFacts, train: SplitFacts, counts: Counts, unseen: list[int]
) -> CheckResult:
    names = _names(dataset, unseen)
    judged = [
        entry for entry in (evidence.evaluation.per_class if evidence.evaluation else ()) if entry.map50_95 is not None
    ]
    seen = [entry.map50_95 or 0.0 for entry in judged if entry.class_id not in unseen]
    everyone = [entry.map50_95 or 0.0 for entry in judged]
    stake = float(np.mean(seen) - np.mean(everyone)) if seen and len(seen) < len(everyone) else None
    return found(
        CAUSE,
        "major",
        f"{len(unseen)} classes of the validation split never occur in training",
        "A class without a training image can't be learnt. The installed version of ultralytics leaves its images out "
        "of validation; older ones count them under other names."
        if evidence.run.task == "classify"
        else "A class without a training instance can't be learnt, and its AP of 0 counts in the mean.",
        evidence=(
            Measurement("classes without a training instance", len(unseen), 0, n=int(counts.size), source=train.source),
            *_count_evidence(train, counts),
        ),
        impact=Impact(
            "lowers",
            max(0.0, stake) if stake is not None else None,
            None,
            "observational" if stake is not None else "none",
        ),
        remedies=(
            Remedy("Collect and label these classes", "Nothing else teaches them."),
            Remedy("Split again, stratified by class", "If the instances exist and all fell into validation."),
        ),
        classes=names,
        effect=float(len(unseen)),
        n=int(counts.sum()),
    )


def _causal_finding(
    evidence: Evidence, dataset: DatasetFacts, train: SplitFacts, counts: Counts, rarity: Rarity
) -> CheckResult:
    classifies = evidence.run.task == "classify"
    asymmetry = asymmetry_of(counts, evidence.evaluation) if evidence.evaluation is not None else None
    score, mean = ("recall", "the mean recall") if classifies else ("AP", "mAP50-95")
    return found(
        CAUSE,
        "major",
        "Rare classes do worse, and the more so the rarer they are",
        f"Over {rarity.classes} classes {score} rises by {rarity.slope:.3f} with each e-fold of the training count "
        f"(p = {rarity.probability:.4f}). If every class below the median count had the median, {mean} would be "
        f"{rarity.at_stake:.3f} higher by that line. Rare classes may also be harder; that is not told apart here.",
        evidence=(
            Measurement(f"{score} gained with e times the count", round(rarity.slope, 4), n=rarity.classes),
            Measurement(
                "probability of this by chance", round(rarity.probability, 4), threshold=0.05, n=rarity.classes
            ),
            Measurement(
                f"rank correlation of {score} and count",
                round(rarity.correlation, 4),
                0.0,
                rarity.correlation_ci95,
                rarity.classes,
            ),
            *(asymmetry.evidence if asymmetry is not None else ()),
            *_count_evidence(train, counts),
        ),
        impact=Impact(
            "lowers", rarity.at_stake, _around(rarity), "observational", "mean recall" if classifies else "map50_95"
        ),
        remedies=remedies(evidence, dataset, train, counts, beta=LIMITS.beta),
        classes=rarity.rare,
        effect=rarity.slope,
        ci95=None,
        n=rarity.classes,
    )


def _taken_for_frequent(
    evidence: Evidence,
    dataset: DatasetFacts,
    train: SplitFacts,
    counts: Counts,
    *,
    gap: RareGap,
    asymmetry: Asymmetry,
) -> CheckResult:
    """Of too few classes for a slope: the rare ones do worse and are taken for the frequent ones."""
    return found(
        CAUSE,
        "major",
        "Rare classes do worse and are taken for frequent ones",
        f"Their AP lies {gap.gap:.3f} below that of the others. Of {asymmetry.confused} confused labels "
        f"{asymmetry.to_frequent} went to the class that is more frequent in training, where {asymmetry.expected:.1f} "
        "would by equal rates. Rare classes may also be harder; the direction of confusions speaks against that alone.",
        evidence=(
            Measurement("AP of the others less AP of the rare", round(gap.gap, 4), n=gap.classes),
            *asymmetry.evidence,
            *_count_evidence(train, counts),
        ),
        impact=_whole(evidence, gap),
        remedies=remedies(evidence, dataset, train, counts, beta=LIMITS.beta),
        classes=gap.rare,
        effect=gap.gap,
        n=gap.classes,
    )


def _whole(evidence: Evidence, gap: RareGap) -> Impact:
    """What balanced classes would gain: more than the lag of the rare ones, never more than is lacking."""
    most = 1.0 - (evidence.evaluation.metrics.map50_95 if evidence.evaluation is not None else 0.0)
    low, high = LIMITS.whole_least * max(0.0, gap.ci95[0]), LIMITS.whole_most * max(0.0, gap.ci95[1])
    return Impact("lowers", min(LIMITS.whole * gap.at_stake, most), (min(low, most), min(high, most)), "observational")


def _around(rarity: Rarity) -> tuple[float, float]:
    return min(rarity.ci95[0], rarity.at_stake), min(1.0, max(rarity.ci95[1], rarity.at_stake))


def _distribution_finding(
    dataset: DatasetFacts, train: SplitFacts, val: SplitFacts | None, distribution: _Distribution
) -> CheckResult:
    total = train.instances + (val.instances if val is not None else 0)
    return found(
        CAUSE,
        "minor",
        "Validation has another class distribution than training",
        "The mean over classes is not moved by this alone, but rare classes in validation make it noisy, and a "
        "split that "
        "isn't random may differ in more than its classes.",
        evidence=(
            Measurement(
                "Cramer's V of class against split",
                round(distribution.association, 4),
                LIMITS.association,
                None,
                total,
                dataset.source,
            ),
            Measurement(
                "probability of this by chance",
                round(distribution.probability, 6),
                LIMITS.probability,
                n=train.images + (val.images if val is not None else 0),
            ),
        ),
        remedies=(Remedy("Split again, stratified by class", "And by scene, so that no scene stands in both splits."),),
        effect=distribution.association,
        n=total,
    )


def _by_counts(
    evidence: Evidence,
    dataset: DatasetFacts,
    train: SplitFacts,
    *,
    counts: Counts,
    rarity: Rarity | None,
    distribution: _Distribution | None,
) -> CheckResult:
    ratio, total = imbalance_ratio(counts), int(counts.sum())
    same = (
        "validation was not compared"
        if distribution is None
        else f"validation has a similar distribution (V = {distribution.association:.2f})"
    )
    said = f"The largest class has {ratio:.1f} times the instances of the smallest; {same}."
    if rarity is not None and not rarity.causal:
        return passed(
            CAUSE,
            f"{said} Rare classes don't do worse (over {rarity.classes} classes, p = {rarity.probability:.3f}).",
            effect=ratio,
            n=total,
        )
    if ratio < LIMITS.ratio or rarity is not None:
        return passed(CAUSE, said, effect=ratio, n=total)
    if ratio < LIMITS.ratio_grave:
        reason = (
            why_absent(evidence, "classification" if evidence.run.task == "classify" else "evaluation")
            if evidence.evaluation is None and evidence.classification is None
            else "Too few classes have enough validation instances to compare how they do with their count."
        )
        return inconclusive(
            CAUSE, f"{said} Whether rare classes do worse can't be told. {reason}", effect=ratio, n=total
        )
    rare = [index for index, count in enumerate(counts) if 0 < count < counts.max() / LIMITS.ratio_grave]
    return found(
        CAUSE,
        "minor",
        f"The largest class has {ratio:.0f} times the instances of the smallest",
        "Whether the rare classes do worse because of it could not be measured.",
        evidence=_count_evidence(train, counts),
        remedies=remedies(evidence, dataset, train, counts, beta=LIMITS.beta),
        classes=_names(dataset, rare),
        effect=ratio,
        n=total,
    )


CHECK = Check(
    cause=CAUSE,
    title="Class imbalance",
    question=__doc__ or "",
    statistic=(
        "Counts: ratio, entropy, effective number. Train against val: G-test on images with a class, corrected for "
        "clusters, with Cramer's V of the boxes. Causal: weighted Theil-Sen slope of per-class AP (of a classifier, "
        "recall) on the log "
        "count over the "
        "classes with 30 validation instances or more, permutation over classes, with Spearman's correlation. "
        "Direction of "
        "confusions: labels taken for a class more frequent in training, against equal rates; with too few classes "
        "for a "
        "slope, that and the gap in AP are the evidence. Counts alone never give more than minor."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A rare class may be harder for another reason: smaller, occluded, badly labelled.",
        "Natural imbalance that costs nothing.",
    ),
    references=(
        "Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019",
        "Rao and Scott, On chi-squared tests for multiway contingency tables, Annals of Statistics 12, 1984",
        "Bergsma, A bias-correction for Cramer's V and Tschuprow's T, Journal of the Korean Statistical Society "
        "42, 2013",
    ),
    examine=examine,
)
