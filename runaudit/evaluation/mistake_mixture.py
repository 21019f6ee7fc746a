"""Tells label errors from the model's own mistakes by how sure the model was: a mixture of two known shapes.

A label that is wrong at random hides an object that the model sees like any other, so what contradicts the label is as
sure as a true positive. A mistake of the model is seldom as sure as its true positives. With each confidence expressed
as the share of the class' true positives below it (its rank u in [0, 1]), the first kind is spread evenly over u, the
second falls towards u = 1. The share of the first kind is estimated by maximum likelihood; it is mixture proportion
estimation (Blanchard, Lee and Scott, JMLR 11 (2010)), with a parametric second component.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.unit_totals import drawn_totals

EDGES: Final[NDArray[np.float64]] = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
"""ranks at which confidences are counted"""
FITTED: Final = 3
"""the first bin that the shares are estimated from. Below rank 0.4 the model's own mistakes are many, and no longer of
one shape; there they are only held against what the estimate expects"""
EXPONENTS: Final = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
"""how the model's mistakes fall: as (1 - u)^p. Measured on rendered data (clean, small, dark, crowded) and on COCO128
with three YOLOv5n: p between 2.4 and 5 for background, other class and poor location alike"""
STEPS: Final = 60
"""of expectation and maximisation; the estimate then moves by less than 0.0005"""
REPLICATES: Final = 400
FEWEST: Final = 12
"""true positives at rank 0.7 or above, below which nothing is estimated: about 40 in all. Of 596 draws of 60 to 250
labels from 40 clean sets of 4 rendered kinds none reached the limit of an error that it is estimated for (Wilson: at
most 0.6 %); where 40 % of the labels were dropped 23 of 24 such draws of 60 to 150 labels did"""


@dataclass(frozen=True)
class Mixture:
    """`rate` is the share of objects whose label is wrong, in [0, 1]; `ci95` its interval by resampling images.

    `posterior` (bins,) is the probability that a contradiction in that bin of EDGES is a label error; `trusted` counts
    the true positives at rank 0.7 or above.
    """

    rate: float
    ci95: tuple[float, float] | None
    posterior: NDArray[np.float64]
    trusted: int


def ranks(
    conf: NDArray[Any], cls: NDArray[Any], is_true: NDArray[np.bool_], *, fewest: int = 10
) -> NDArray[np.float64]:
    """The share of its class' true positives that each detection is surer than, (n,) in [0, 1).

    Args:
        conf: (n,) confidences.
        cls: (n,) classes.
        is_true: (n,) whether it is a true positive at IoU 0.5.
        fewest: true positives that a class needs; those with fewer are ranked among all true positives together.
    """
    order = np.lexsort((conf, cls))
    result = np.zeros(len(conf))
    everyone = np.sort(conf[is_true])
    ends = np.flatnonzero(np.r_[cls[order][1:] != cls[order][:-1], True]) + 1 if len(order) else order
    for start, end in pairwise(np.r_[0, ends]):
        members = order[start:end]
        own = conf[members][is_true[members]]
        reference = own if len(own) >= fewest else everyone
        result[members] = np.searchsorted(reference, conf[members], side="left") / (len(reference) + 1)
    return result


def binned(image: NDArray[Any], rank: NDArray[np.float64], images: int) -> NDArray[np.int64]:
    """How many of each image's boxes fall into each bin of EDGES: (images, bins)."""
    bins = len(EDGES) - 1
    column = np.searchsorted(EDGES, rank, side="right") - 1
    inside = (column >= 0) & (column < bins)
    counted = np.bincount(image[inside].astype(np.int64) * bins + column[inside], minlength=images * bins)
    return counted.reshape(images, bins)


def bin_of(rank: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of EDGES of each rank; -1 below the first."""
    return np.minimum(np.searchsorted(EDGES, rank, side="right") - 1, len(EDGES) - 2)


def estimate(true: NDArray[np.int64], contradicting: NDArray[np.int64], *, seed: int = 0) -> Mixture:
    """Estimate the rate of label errors.

    Args:
        true: (images, bins) true positives, from `binned`.
        contradicting: (images, bins) confident detections that contradict a label, or the absence of one.
        seed: of the bootstrap, which resamples images: a row may be of a group of them that belong together.
    """
    table = np.hstack([true, contradicting])
    totals = table.sum(axis=0)
    bins = true.shape[1]
    trusted = int(totals[:bins][EDGES[:-1] >= 0.7].sum())
    share, fitted = _fitted(totals[None, FITTED:bins], totals[None, bins + FITTED :])
    rate = float(share[0] / (1 + share[0]))
    expected = share[0] * totals[:FITTED]
    low = np.minimum(1, expected / np.maximum(totals[bins : bins + FITTED], 1))
    # A surer detection speaks for an error no less than one that is less sure.
    posterior = np.minimum.accumulate(np.r_[low, fitted[0]][::-1])[::-1]
    if trusted < FEWEST:
        return Mixture(rate, None, posterior, trusted)
    drawn = drawn_totals(table, replicates=REPLICATES, generator=np.random.default_rng(seed))
    shares, _ = _fitted(drawn[:, FITTED:bins], drawn[:, bins + FITTED :])
    low, high = np.quantile(shares / (1 + shares), [0.025, 0.975])
    # No error among n objects does not exclude one: the rule of three (Hanley and Lippman-Hand, JAMA 249 (1983)).
    high = max(high, 3 / (3 + trusted))
    return Mixture(rate, (float(min(low, rate)), float(max(high, rate))), posterior, trusted)


def _fitted(true: NDArray[Any], found: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors for each true positive (b,), and the posterior (b, bins), of b tables of counts (b, bins from FITTED on).

    Poisson likelihood; the exponent with the highest is taken for each table.
    """
    middle = ((EDGES[1:] + EDGES[:-1]) / 2)[FITTED:]
    exposed = np.maximum(true, 0.5).astype(np.float64)
    best = np.full(len(true), -np.inf)
    share, posterior = np.zeros(len(true)), np.zeros(true.shape)
    for exponent in EXPONENTS:
        shape = exposed * (1 - middle) ** exponent
        even, falling = _maximised(found, exposed, shape)
        errors, mistakes = even[:, None] * exposed, falling[:, None] * shape
        expected = np.maximum(errors + mistakes, 1e-12)
        likelihood = (found * np.log(expected) - expected).sum(axis=1)
        better = likelihood > best
        best[better], share[better] = likelihood[better], even[better]
        posterior[better] = (errors / expected)[better]
    return share, posterior


def _maximised(
    found: NDArray[Any], exposed: NDArray[np.float64], shape: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two weights (b,) that maximise the likelihood, by expectation and maximisation."""
    total = found.sum(axis=1)
    even, falling = 0.5 * total / exposed.sum(axis=1), 0.5 * total / shape.sum(axis=1)
    for _ in range(STEPS):
        errors, mistakes = even[:, None] * exposed, falling[:, None] * shape
        part = errors / np.maximum(errors + mistakes, 1e-12)
        even = (found * part).sum(axis=1) / exposed.sum(axis=1)
        falling = (found * (1 - part)).sum(axis=1) / shape.sum(axis=1)
    return even, falling
