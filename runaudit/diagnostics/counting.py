"""Statistics of counts: imbalance, association of two distributions, and correction for many tests."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]

NORMAL = NormalDist()


def imbalance_ratio(counts: Counts) -> float:
    """Largest over smallest count of the classes that occur; 1 if none does."""
    present = counts[counts > 0]
    return float(present.max() / present.min()) if present.size else 1.0


def normalised_entropy(counts: Counts) -> float:
    """Shannon entropy over its maximum, in [0, 1]: 1 where all classes are equally frequent. 1 for one class."""
    total = counts.sum()
    if counts.size < 2 or total <= 0:
        return 1.0
    share = counts[counts > 0] / total
    return float(max(0.0, -(share * np.log(share)).sum() / math.log(counts.size)))


def effective_numbers(counts: Counts, beta: float) -> Counts:
    """Effective number of samples (1 - beta^n) / (1 - beta) (Cui et al., CVPR 2019, equation 2); shape as `counts`."""
    return np.asarray((1.0 - beta**counts) / (1.0 - beta), dtype=np.float64)


def balanced_weights(counts: Counts, beta: float) -> Counts:
    """Class-balanced loss weights, inverse to the effective numbers, with mean 1 (Cui et al., CVPR 2019, section 4).

    A class without samples gets the weight of a class with one.
    """
    weights = 1.0 / effective_numbers(np.maximum(counts, 1.0), beta)
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def g_statistic(table: Counts) -> tuple[float, int]:
    """Likelihood-ratio statistic G and degrees of freedom of a 2 x K table; empty columns are left out.

    G = 2 sum O ln(O / E) (Sokal and Rohlf, "Biometry", chapter 17). (0, 0) if a row or all but one column is empty.
    """
    table = table[:, table.sum(axis=0) > 0]
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    if table.shape[1] < 2 or (rows <= 0).any():
        return 0.0, 0
    expected = np.outer(rows, columns) / total
    observed = np.where(table > 0, table, 1.0)
    return float(max(0.0, 2.0 * (table * np.log(observed / expected)).sum())), table.shape[1] - 1


def cramers_v(table: Counts) -> float:
    """Bias-corrected Cramer's V of a 2 x K table, in [0, 1] (Bergsma, J. Korean Stat. Soc. 42 (2013))."""
    table = table[:, table.sum(axis=0) > 0]
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    if table.shape[1] < 2 or (rows <= 0).any() or total < 2:
        return 0.0
    expected = np.outer(rows, columns) / total
    phi_squared = float(((table - expected) ** 2 / expected).sum() / total)
    k, r = table.shape[1], 2
    corrected = max(0.0, phi_squared - (k - 1) * (r - 1) / (total - 1))
    smaller = min(k - (k - 1) ** 2 / (total - 1), r - (r - 1) ** 2 / (total - 1)) - 1
    return float(min(1.0, math.sqrt(corrected / smaller))) if smaller > 0 else 0.0


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(chi-square > statistic), by Wilson and Hilferty's cube root (PNAS 17 (1931)); within 0.005 of exact."""
    if degrees < 1:
        return 1.0
    variance = 2.0 / (9.0 * degrees)
    z = ((statistic / degrees) ** (1.0 / 3.0) - (1.0 - variance)) / math.sqrt(variance)
    return 1.0 - NORMAL.cdf(z)


def weighted_theil_sen(x: Counts, y: Counts, weights: Counts) -> float:
    """Slope of y on x: the median of the pairwise slopes, each weighted by the product of its points' weights."""
    first, second = np.triu_indices(x.size, k=1)
    run = x[second] - x[first]
    usable = run != 0
    if not usable.any():
        return 0.0
    slopes = (y[second] - y[first])[usable] / run[usable]
    pair_weights = (weights[first] * weights[second])[usable]
    order = np.argsort(slopes)
    cumulative = np.cumsum(pair_weights[order])
    return float(slopes[order][np.searchsorted(cumulative, cumulative[-1] / 2.0)])
