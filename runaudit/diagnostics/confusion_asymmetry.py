"""Are rare classes taken for frequent ones more often than the other way round? What imbalance does to a classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.counting import NORMAL, Counts
from runaudit.diagnostics.evidence import Measurement
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import ClassMetrics, EvaluationFacts, Interval
from runaudit.proportions import Z95


@dataclass(frozen=True)
class Thresholds:
    probability: float = threshold(
        0.01, "One-sided, by the normal approximation; stricter than 0.05 since it stands in every audit."
    )
    confused: int = threshold(20, "Confused labels, expected 10 each way: the normal approximation to a binomial.")
    times_rarer: float = threshold(
        10.0, "A class is rare with a tenth of the largest count: SageMaker Debugger's ClassImbalance rule (B1)."
    )
    instances: int = threshold(30, "diagnostics.md B1 and A2(4): instances of a class in validation.")


LIMITS: Final = Thresholds()


@dataclass(frozen=True)
class Asymmetry:
    """`to_frequent` of `confused` labels were detected as a class that is more frequent in training; `expected` of them
    would be, were two classes confused at equal rates. `probability` is that of as many by chance."""

    to_frequent: int
    confused: int
    expected: float
    probability: float

    @property
    def sure(self) -> bool:
        return self.confused >= LIMITS.confused and self.probability < LIMITS.probability

    @property
    def evidence(self) -> tuple[Measurement, ...]:
        return (
            Measurement(
                "labels taken for a class more frequent in training",
                self.to_frequent,
                round(self.expected, 1),
                n=self.confused,
            ),
            Measurement(
                "probability of as many by chance", round(self.probability, 6), LIMITS.probability, n=self.confused
            ),
        )


@dataclass(frozen=True)
class RareGap:
    """By how much the mean AP of `rare` classes lies below that of the others, and what the mean over all would gain
    if it did not, `at_stake`, with its interval."""

    rare: tuple[str, ...]
    gap: float
    at_stake: float
    ci95: Interval
    classes: int


def asymmetry_of(counts: Counts, evaluation: EvaluationFacts) -> Asymmetry | None:
    """The direction of confusions; None without any.

    For each two classes a and b with n_a and n_b found labels in validation, k confusions between them go from a to b
    with probability n_a / (n_a + n_b) if both are confused at one rate. The excess over all pairs, rarer to more
    frequent, is judged by its normal approximation (McNemar's test where n_a = n_b; diagnostics.md B1).
    """
    quality = evaluation.label_quality
    if quality is None:
        return None
    confusions = {
        (entry.labelled, entry.detected): entry.labels
        for entry in quality.confusions
        if entry.labelled < counts.size and entry.detected < counts.size
    }
    to_frequent, confused, expected, variance = 0, 0, 0.0, 0.0
    pairs = {(first, second) if counts[first] < counts[second] else (second, first) for first, second in confusions}
    for rare, frequent in sorted(pairs):
        if counts[rare] == counts[frequent]:
            continue
        up = confusions.get((rare, frequent), 0)
        both = up + confusions.get((frequent, rare), 0)
        share = quality.found.get(rare, 0) / max(1, quality.found.get(rare, 0) + quality.found.get(frequent, 0))
        to_frequent, confused = to_frequent + up, confused + both
        expected, variance = expected + both * share, variance + both * share * (1 - share)
    if not confused or variance <= 0:
        return None
    z = (to_frequent - expected - 0.5) / math.sqrt(variance)
    return Asymmetry(to_frequent, confused, expected, 1.0 - NORMAL.cdf(z))


def rare_gap_of(counts: Counts, evaluation: EvaluationFacts) -> RareGap | None:
    """How far the rare classes lie behind, of the classes that validation can judge; None without both kinds.

    The interval takes the classes' own bootstrap intervals as independent.
    """
    judged = [
        entry
        for entry in evaluation.per_class
        if entry.instances >= LIMITS.instances
        and entry.map50_95 is not None
        and entry.map50_95_ci95 is not None
        and entry.class_id < counts.size
        and counts[entry.class_id] > 0
    ]
    most = max((counts[entry.class_id] for entry in judged), default=0.0)
    rare = [entry for entry in judged if counts[entry.class_id] * LIMITS.times_rarer <= most]
    others = [entry for entry in judged if counts[entry.class_id] * LIMITS.times_rarer > most]
    if not rare or not others:
        return None
    low, high = _mean(rare), _mean(others)
    gap, half = high[0] - low[0], Z95 * math.hypot(low[1], high[1])
    share = len(rare) / len(judged)
    return RareGap(
        tuple(entry.name for entry in rare), gap, gap * share, ((gap - half) * share, (gap + half) * share), len(judged)
    )


def _mean(entries: list[ClassMetrics]) -> tuple[float, float]:
    """The mean AP and its standard error."""
    values = np.asarray([entry.map50_95 for entry in entries], dtype=np.float64)
    ends = np.asarray([entry.map50_95_ci95 for entry in entries], dtype=np.float64)
    errors = (ends[:, 1] - ends[:, 0]) / (2 * Z95)
    return float(values.mean()), float(np.sqrt((errors**2).sum()) / len(entries))
