"""The interval of a difference of two measurements that were made apart, from the interval of each."""

from __future__ import annotations

from math import hypot

from runaudit.evaluation.facts import Interval


def difference_interval(
    before: float, before_ci95: Interval | None, after: float, after_ci95: Interval | None
) -> Interval | None:
    """The 95 % interval of `after - before`; None unless both have an interval that is wider than nothing.

    MOVER: the distances from each estimate to its own ends are added as squares, on each side those that work there
    together (Zou and Donner, Construction of confidence limits about effect measures: a general approach, Statistics in
    Medicine 27, 2008, equations 7 and 8). It takes skewed intervals as they are, as percentile bootstrap gives them.

    It supposes that the two are independent. Two models that were measured on the same images are not: what is hard
    for one is hard for the other, which makes the true interval narrower than this one. It errs to the cautious side.
    """
    if before_ci95 is None or after_ci95 is None or _empty(before_ci95) or _empty(after_ci95):
        return None
    difference = after - before
    lower = hypot(max(after - after_ci95[0], 0.0), max(before_ci95[1] - before, 0.0))
    upper = hypot(max(after_ci95[1] - after, 0.0), max(before - before_ci95[0], 0.0))
    return difference - lower, difference + upper


def _empty(interval: Interval) -> bool:
    """Replicates that are all the same say nothing of chance: of one image, or of copies of it."""
    return interval[0] >= interval[1]
