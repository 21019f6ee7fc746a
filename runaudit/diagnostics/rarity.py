"""Do rare classes do worse: per-class AP, or recall of a classifier, against the logarithm of the training count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.counting import Counts, weighted_theil_sen
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import ClassificationFacts, EvaluationFacts, Interval
from runaudit.proportions import Z95


@dataclass(frozen=True)
class Thresholds:
    classes: int = threshold(
        5, "diagnostics.md B1: classes needed for a rank test (with 5, the smallest one-sided p is 1/120)."
    )
    instances: int = threshold(30, "diagnostics.md B1 and A2(4): instances of a class in validation.")
    probability: float = threshold(0.05, "One-sided, by permutation of the classes.")


LIMITS = Thresholds()
PERMUTATIONS = 2000
REPLICATES = 500


@dataclass(frozen=True)
class Rarity:
    """`slope` is AP, or recall, a natural logarithm of the count, with `probability` of one as steep by chance;
    `at_stake` what the mean over classes would gain if each class below the median count had the median, with its
    interval."""

    classes: int
    slope: float
    probability: float
    at_stake: float
    ci95: Interval
    rare: tuple[str, ...]
    correlation: float = 0.0
    """Spearman's, of the score with the count"""
    correlation_ci95: Interval = (-1.0, 1.0)

    @property
    def causal(self) -> bool:
        return self.slope > 0 and self.probability < LIMITS.probability and self.ci95[0] > 0


@dataclass(frozen=True)
class ClassScore:
    """How well the model does on a class: AP, or recall of a classifier, in [0, 1]; None where nothing tells."""

    class_id: int
    name: str
    instances: int
    score: float | None
    ci95: Interval | None


def scores_of(measured: EvaluationFacts | ClassificationFacts) -> tuple[ClassScore, ...]:
    """mAP50-95 of each class, or recall of a classifier's."""
    if isinstance(measured, ClassificationFacts):
        return tuple(
            ClassScore(entry.class_id, entry.name, entry.images, entry.recall, entry.recall_ci95)
            for entry in measured.per_class
        )
    return tuple(
        ClassScore(entry.class_id, entry.name, entry.instances, entry.map50_95, entry.map50_95_ci95)
        for entry in measured.per_class
    )


def rarity_of(counts: Counts, measured: EvaluationFacts | ClassificationFacts) -> Rarity | None:
    """The relation over the classes that validation can judge; None where there are too few of them.

    Weighted Theil-Sen slope, weights 1/SE^2 from each class' interval. The interval of `at_stake` is
    percentile, from parametric draws of every class' score. Deterministic: the generator's seed is fixed.
    """
    judged = [
        entry
        for entry in scores_of(measured)
        if entry.instances >= LIMITS.instances
        and entry.score is not None
        and 0 <= entry.class_id < counts.size
        and counts[entry.class_id] > 0
    ]
    if len(judged) < LIMITS.classes:
        return None
    ids = np.asarray([entry.class_id for entry in judged])
    precision = np.asarray([entry.score for entry in judged], dtype=np.float64)
    errors = np.asarray([_standard_error(entry.ci95, entry.instances) for entry in judged])
    logarithms = np.log(counts[ids])
    weights = 1.0 / errors**2
    slope = weighted_theil_sen(logarithms, precision, weights)
    generator = np.random.default_rng(0)
    rank = _correlation(logarithms, precision)
    shuffled = [_correlation(logarithms, generator.permutation(precision)) for _ in range(PERMUTATIONS)]
    probability = (1 + sum(value >= rank - 1e-12 for value in shuffled)) / (PERMUTATIONS + 1)
    # How far each judged class lies below the median count, in logarithms; all classes share the mean.
    short = np.maximum(0.0, np.median(logarithms) - logarithms).sum() / len(judged)
    draws = precision + errors * generator.standard_normal((REPLICATES, ids.size))
    slopes = np.asarray([weighted_theil_sen(logarithms, draw, weights) for draw in draws])
    low, high = np.percentile(slopes * short, [2.5, 97.5])
    ranks = np.percentile([_correlation(logarithms, draw) for draw in draws], [2.5, 97.5])
    names = np.asarray([entry.name for entry in judged], dtype=object)
    rare = names[np.argsort(logarithms, kind="stable")][: max(1, int((logarithms < np.median(logarithms)).sum()))]
    return Rarity(
        classes=len(judged),
        slope=slope,
        probability=float(probability),
        at_stake=float(max(0.0, slope * short)),
        ci95=(float(max(0.0, low)), float(max(0.0, high))),
        correlation=rank,
        correlation_ci95=(min(rank, float(ranks[0])), max(rank, float(ranks[1]))),
        rare=tuple(str(name) for name in rare),
    )


def _standard_error(interval: Interval | None, instances: int) -> float:
    """From the class' own interval; else 0.48/sqrt(n), the fit of diagnostics.md A2(4). At least 0.005."""
    if interval is None:
        return float(0.48 / np.sqrt(instances))
    return max(0.005, (interval[1] - interval[0]) / (2.0 * Z95))


def _correlation(x: Counts, y: Counts) -> float:
    """Spearman's rank correlation, ties in order of appearance; 0 for constant input."""
    a, b = np.argsort(np.argsort(x)).astype(np.float64), np.argsort(np.argsort(y)).astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
