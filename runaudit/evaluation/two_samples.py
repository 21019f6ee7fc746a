"""Whether two sets of images differ: Kolmogorov and Smirnov's distance of a property, and a classifier's success.

Both are judged by exchanging whole groups of images between the sets, since frames of one scene are no independent
witnesses (diagnostics.md A2(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import Interval

Values = NDArray[np.float64]

PERMUTATIONS: Final = 999
CLASSIFIED: Final = 199
"""of them for the classifier, which is one test and needs no adjustment"""
FOLDS: Final = 5
_RIDGE: Final = 1.0
"""penalty in units of one observation, on features of variance 1"""


@dataclass(frozen=True)
class Samples:
    """Two sets of images in one: `second` (n,) tells those of the second set, `group` (n,) whole numbers from 0.

    `orders` (b, n) bool are the sets after exchanging groups at random, about as many images in the second set.
    """

    second: NDArray[np.bool_]
    group: NDArray[np.int64]
    orders: NDArray[np.bool_]

    @classmethod
    def of(
        cls, second: NDArray[np.bool_], group: NDArray[np.int64], *, seed: int, count: int = PERMUTATIONS
    ) -> Samples:
        """Draw `count` exchanges: groups are dealt in a random order until the second set is as large as it was."""
        generator = np.random.default_rng(seed)
        groups = int(group.max(initial=-1)) + 1
        sizes = np.bincount(group, minlength=groups)
        wanted = int(second.sum())
        orders = np.empty((count, len(second)), dtype=bool)
        for row in orders:
            order = generator.permutation(groups)
            before = np.cumsum(sizes[order]) - sizes[order]
            chosen = np.zeros(groups, dtype=bool)
            chosen[order] = before < wanted
            row[:] = chosen[group]
        return cls(second=second, group=group, orders=orders)


def holm(p_values: Values) -> Values:
    """Adjusted p-values (Holm, A simple sequentially rejective multiple test procedure, 1979)."""
    order = np.argsort(p_values)
    steps = p_values[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def distance(values: Values, samples: Samples) -> tuple[float, float]:
    """Kolmogorov and Smirnov's distance of `values` (n,) between the sets, in [0, 1], and its permutation p-value."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(values[order]) > 0, True])
    observed = _distances(samples.second[None, order], ends)[0]
    null = _distances(samples.orders[:, order], ends)
    return float(observed), (1 + int((null >= observed - 1e-12).sum())) / (1 + len(null))


def _distances(second: NDArray[np.bool_], ends: NDArray[np.intp]) -> Values:
    """The greatest difference of the two distribution functions, (b,), of sets in the order of the values, (b, n)."""
    in_second = second.cumsum(axis=1, dtype=np.int32)[:, ends]
    total = second.sum(axis=1, keepdims=True)
    in_first = (ends + 1) - in_second
    difference = in_second / np.maximum(total, 1) - in_first / np.maximum(second.shape[1] - total, 1)
    return np.asarray(np.abs(difference).max(axis=1), dtype=np.float64)


def distance_interval(values: Values, samples: Samples, *, seed: int, replicates: int = 400) -> Interval:
    """The 95 % interval of the distance by resampling groups within each set (basic bootstrap, cut to [0, 1])."""
    generator = np.random.default_rng(seed)
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(values[order]) > 0, True])
    weights = np.zeros((replicates, len(values)), dtype=np.int32)
    for side in (False, True):
        groups = np.unique(samples.group[samples.second == side])
        place = np.searchsorted(groups, samples.group)
        draws = generator.integers(0, len(groups), size=(replicates, len(groups)))
        times = np.stack([np.bincount(draw, minlength=len(groups)) for draw in draws])
        mine = np.flatnonzero(samples.second == side)
        weights[:, mine] = times[:, place[mine]]
    ordered, second = weights[:, order], samples.second[order]
    upper = np.where(second, ordered, 0).cumsum(axis=1)
    lower = np.where(second, 0, ordered).cumsum(axis=1)
    gap = upper / np.maximum(upper[:, -1:], 1) - lower / np.maximum(lower[:, -1:], 1)
    drawn = np.abs(gap[:, ends]).max(axis=1)
    observed = _distances(second[None], ends)[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.clip(2 * observed - high, 0, 1)), float(np.clip(2 * observed - low, 0, 1))


@dataclass(frozen=True)
class Discrimination:
    """How well a classifier tells the sets apart: area under its ROC curve, p-value, and (n,) out-of-fold scores.

    `null` is the area's 95 % quantile where there is nothing to tell: the sets exchanged at random.
    """

    area: float
    p_value: float
    null: float
    scores: Values


def discrimination(features: Values, samples: Samples, *, seed: int) -> Discrimination:
    """A classifier two-sample test (Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017).

    Args:
        features: (n, d), scaled here.
        samples: the sets and their exchanges.
        seed: of the folds.

    The classifier is a linear discriminant by least squares with a ridge, fitted on FOLDS - 1 parts of the groups
    and judged on the rest. It is linear in the labels, so that one factorisation a fold serves all exchanges.
    """
    generator = np.random.default_rng(seed)
    scaled = features - features.mean(axis=0)
    spread = scaled.std(axis=0)
    scaled = np.divide(scaled, spread, out=np.zeros_like(scaled), where=spread > 1e-9)
    scaled = np.clip(scaled, -5, 5)
    fold = generator.permutation(np.arange(int(samples.group.max()) + 1) % FOLDS)[samples.group]
    labels = np.vstack([samples.second, samples.orders[:CLASSIFIED]]).T.astype(np.float64)
    scores = np.zeros_like(labels)
    for part in range(FOLDS):
        judged = fold == part
        if not judged.any() or judged.all():
            continue
        fitted = scaled[~judged]
        design = np.hstack([fitted, np.ones((len(fitted), 1))])
        normal = design.T @ design + _RIDGE * np.diag(np.r_[np.ones(fitted.shape[1]), 0])
        # Centred by the fitted part's share, so that a fold with another share of the set shifts no score.
        weights = np.linalg.solve(normal, design.T @ (labels[~judged] - labels[~judged].mean(axis=0)))
        scores[judged] = np.hstack([scaled[judged], np.ones((int(judged.sum()), 1))]) @ weights
    areas = _areas(scores, labels.astype(bool))
    return Discrimination(
        area=float(areas[0]),
        p_value=(1 + int((areas[1:] >= areas[0] - 1e-12).sum())) / len(areas),
        null=float(np.quantile(areas[1:], 0.95)),
        scores=scores[:, 0],
    )


def _areas(scores: Values, second: NDArray[np.bool_]) -> Values:
    """Area under the ROC curve of each column, by ranks (Mann and Whitney)."""
    ranks = scores.argsort(axis=0).argsort(axis=0) + 1
    wins = np.where(second, ranks, 0).sum(axis=0)
    count = second.sum(axis=0)
    others = len(second) - count
    return np.asarray((wins - count * (count + 1) / 2) / np.maximum(count * others, 1), dtype=np.float64)
