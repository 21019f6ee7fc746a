"""What more epochs would bring a run, by what they really brought in trainings of 5, 10, 20, 40 and 80 epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.robust import Series
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import Interval


@dataclass(frozen=True)
class Thresholds:
    """What fresh schedules of twice, four and eight times as many epochs brought on shapes, cells, signs and traffic.

    `one`, `two` and `three` doublings are shares of what the last doubling within the run had brought; `room` are
    shares of the headroom, 1 - mAP, for each doubling.
    """

    one: float = threshold(
        0.34,
        "Share of the last doubling's gain that the next one brings: mean of 12 from 10, 20 and 40 epochs on "
        "(benchmarks/planted). A fitted power law promised 2 to 6 times what they brought: the decay of the learning "
        "rate is in the curve, and does not recur.",
    )
    two: float = threshold(0.58, "The same of two doublings together (n=8).")
    three: float = threshold(0.88, "The same of three (n=4). More were not measured and promise no more.")
    least_one: float = threshold(0.035, "The smallest of those 12, 0.04.")
    least_two: float = threshold(0.13, "The smallest of those 8, 0.14; no more for three, from 20 epochs on.")
    short_one: float = threshold(0.15, "The smallest of the 4 doublings from 10 epochs on, which have more to gain.")
    short_two: float = threshold(0.29, "The smallest of the 4 of two doublings from 10 epochs on.")
    short_three: float = threshold(0.53, "The smallest of the 4 of three doublings from 10 epochs on.")
    most_one: float = threshold(
        1.0,
        "The largest of those 12, 0.68, and half as much again. So widened, intervals set on shapes and cells hold 12 "
        "of 12 gains on signs and traffic (as measured, 7), and those set on any three of the data sets 21 of 24.",
    )
    most_two: float = threshold(1.3, "The largest of two, 0.89, and half as much again.")
    most_three: float = threshold(2.0, "The largest of three, 1.37, and half as much again.")
    short: int = threshold(
        14,
        "Rows up to which a run counts as one of 5 or 10 epochs, of which the headroom tells more than their few rows; "
        "the geometric mean of 10 and 20.",
    )
    few: int = threshold(
        10,
        "Rows below which what the second half brought bounds only the interval's lower end: of four of 5 epochs it "
        "was 0.00 to 0.15, and 40 epochs brought 0.08 to 0.14.",
    )
    room: float = threshold(
        0.1, "Share of the headroom that a doubling brings after 5 or 10 epochs: 0.09 to 0.12 on average (n=28)."
    )
    room_least: float = threshold(0.06, "The least: 0.07 of one, 0.14 of two, 0.19 of three and 0.27 of four together.")
    room_most: float = threshold(0.25, "The most of one, 0.24.")
    room_rising: float = threshold(
        0.035,
        "The least of a run that rises steadily in its first 4 to 9 epochs: 0.043 a doubling in 83 beginnings of the "
        "trainings of shapes, cells, signs and traffic, less a fifth. In 101 beginnings of 42 real runs (read and not "
        "fitted to) it is 0.040.",
    )
    room_cap: float = threshold(0.5, "The most of any number of doublings: 0.48 from 5 to 80 epochs.")
    rest: float = threshold(
        0.5,
        "Share of the headroom that an interrupted run gains on the rest of its schedule, times the part that is left. "
        "Medians of 8 runs of 40 and 80 epochs: 0.49 after a tenth, 0.44 after a fifth, 0.34 after 35 % and 0.23 after "
        "half of the epochs.",
    )
    rest_most: float = threshold(
        0.8,
        "The largest of these over the part that is left, 0.64 to 0.79. In 31 real runs (read and not fitted to) it "
        "is 0 to 0.86, so that the interval begins at 0.",
    )
    slower: float = threshold(
        0.53,
        "Share of the last doubling's gain that a usual rate brings for each halving by which the rate is too low: "
        "mean of 6 runs at a hundredth and a five-hundredth of it, against the clean ones of the same data. Set on "
        "shapes and cells alone it is 0.40, and off by 0.004 to 0.11 on the 4 of signs and traffic.",
    )
    slower_least: float = threshold(0.25, "The smallest of the 6, 0.38, by a half less, as above.")
    slower_most: float = threshold(1.4, "The largest of the 6, 0.92, and half as much again.")
    slower_cap: float = threshold(0.8, "Share of the headroom: 0.22 to 0.65 in those 6, and a quarter more.")


LIMITS: Final = Thresholds()
CONCORDANT: Final = {4: 6, 5: 8, 6: 11, 7: 13, 8: 16, 9: 18}
"""values -> by how many the pairs that rise must exceed those that fall, which chance does in less than one row of 20
(Mann, Econometrica 13 (1945): the exact distribution of Kendall's S)"""


@dataclass(frozen=True)
class Gain:
    """What more epochs would add to the metric, in [0, 1], with the interval of what was measured."""

    value: float
    ci95: Interval


def gain_of_more(metric: Series, times: float) -> Gain:
    """What a fresh schedule of `times` as many epochs would add. `metric` has shape (n,), one value an epoch."""
    last, room = last_doubling(metric), 1.0 - float(metric.max())
    doublings = math.log2(max(times, 1.0))
    most = last * _carried((LIMITS.most_one, LIMITS.most_two, LIMITS.most_three), doublings)
    if metric.size <= LIMITS.short:
        low = last * _carried((LIMITS.short_one, LIMITS.short_two, LIMITS.short_three), doublings)
        value = LIMITS.room * doublings * room
        value = value if metric.size < LIMITS.few else min(value, most)
        ends = min(LIMITS.room_least * doublings * room, low), LIMITS.room_most * doublings * room
    else:
        value = last * _carried((LIMITS.one, LIMITS.two, LIMITS.three), doublings)
        ends = last * _carried((LIMITS.least_one, LIMITS.least_two, LIMITS.least_two), doublings), most
    cap = LIMITS.room_cap * room
    value = min(value, cap)
    return Gain(value, (min(ends[0], value), min(max(ends[1], value), cap)))


def gain_of_few(best: float, times: float) -> Gain:
    """The same of a run of so few epochs that its rows show no trend: it may have none to come."""
    room, doublings = 1.0 - best, math.log2(max(times, 1.0))
    cap = LIMITS.room_cap * room
    value = min(LIMITS.room * doublings * room, cap)
    return Gain(value, (0.0, min(LIMITS.room_most * doublings * room, cap)))


def gain_of_rising(best: float, times: float) -> Gain:
    """The same of a run of so few epochs that rises steadily (`rises`): it has some to come for sure."""
    few = gain_of_few(best, times)
    least = LIMITS.room_rising * math.log2(max(times, 1.0)) * (1.0 - best)
    return Gain(few.value, (min(least, few.value), few.ci95[1]))


def rises(metric: Series, least: float) -> bool:
    """Whether a few values (n,) rise steadily to their end: by Mann's test, with the best of them among the last two,
    and with at least `least` gained in the second half. False for less than 4 or more than 9."""
    size = metric.size
    if size not in CONCORDANT:
        return False
    later, earlier = np.tril_indices(size, -1)
    surplus = int(np.sign(metric[later] - metric[earlier]).sum())
    gained = float(metric[-2:].max() - metric[size // 2 - 1])
    return surplus >= CONCORDANT[size] and int(metric.argmax()) >= size - 2 and gained >= least


def gain_of_the_rest(best: float, share: float) -> Gain:
    """What the rest of a schedule would have added to `best`, where a run was interrupted after `share` of it."""
    left = float((1.0 - best) * (1.0 - share))
    return Gain(LIMITS.rest * left, (0.0, LIMITS.rest_most * left))


def gain_of_a_usual_rate(metric: Series, times: float) -> Gain:
    """What the usual learning rate would have added to a run at `times` of it (below 1).

    A rate r times lower is like r times fewer steps, and what steps bring goes with their logarithm.
    """
    last, cap = last_doubling(metric), LIMITS.slower_cap * (1.0 - float(metric.max()))
    halvings = -math.log2(times)
    value, low, high = (
        min(share * last * halvings, cap) for share in (LIMITS.slower, LIMITS.slower_least, LIMITS.slower_most)
    )
    return Gain(value, (low, high))


def last_doubling(metric: Series) -> float:
    """What the second half of the epochs brought: medians of max(3, n/20) rows at the end and in the middle. `metric`
    has shape (n,); never below 0."""
    width = max(3, metric.size // 20)
    start = max(0, metric.size // 2 - 1 - width // 2)
    return max(0.0, float(np.median(metric[-width:]) - np.median(metric[start : start + width])))


def _carried(shares: tuple[float, float, float], doublings: float) -> float:
    """The share of so many doublings, linear between those measured; no more than that of three."""
    return float(np.interp(doublings, (0.0, 1.0, 2.0, 3.0), (0.0, *shares)))
