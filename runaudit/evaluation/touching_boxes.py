"""Which boxes of one image may overlap, found without holding every box against every other one.

Images of a few hundred boxes are looked at pair by pair, which is fastest there. In a crowded image the boxes are put
into grids, one for each size of box: a box can only touch those that begin in the cells that it covers, or in the ones
before them. The work then grows with the pairs that lie near each other. Boxes that lie on each other by the thousand
are as many pairs as they are: beyond MOST_FOUND they are refused, since their statistics would need hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
"""positions in both sets, (p,) each"""

PAIRS_AT_A_TIME: Final = 2**20
"""pairs that are looked at together: some 100 MiB"""
ROWS_AT_A_TIME: Final = 2**20
"""boxes whose partners are counted out together: some 32 MiB"""
CROWDED_PAIRS: Final = 2**19
"""pairs of one image from which grids are used. Measured on one core: 700 x 700 boxes take 30 ms either way, 5,000 x
5,000 take 1.5 s by pairs and 0.2 s by grids"""
MOST_FOUND: Final = 2**24
"""pairs that touch in crowded images, which take 320 MiB. 50,000 boxes that each touch 300 others are as many"""
MOST_LOOKED_AT: Final = 2**30
"""pairs that are looked at in crowded images, which takes some 90 s"""
_FINEST: Final = (64, 4096)
"""smallest cells of a grid, as a part of what all boxes cover: where any overlap counts, a box has to be looked for in
every grid and in each of its rows; where a least IoU is asked for, only in those of boxes of about its size"""
_PRIME: Final = 1_048_573
_SLACK: Final = 0.99
"""on the least IoU, for what is rounded in single precision"""


class TooCrowdedError(Exception):
    """Too many boxes of one image lie on each other. `group` is that of the image."""

    def __init__(self, group: int) -> None:
        super().__init__(group)
        self.group = group


@dataclass(frozen=True)
class Crowd:
    """Boxes of many images, or of classes of images: `group` (n,) says what belongs together, `box` (n, 4) float32."""

    group: NDArray[Any]
    box: NDArray[np.float32]


def touching(first: Crowd, second: Crowd, least: float = 0.0) -> Iterator[Pairs]:
    """All pairs of one group that can have an IoU of `least` or more, and others, at most PAIRS_AT_A_TIME at a time.

    They come ordered by the first set and then by the second, but for crowded groups, which come last
    (`in_order` sorts). Of crowded groups only pairs come that share some area; other groups are not looked at closely.

    Raises TooCrowdedError.
    """
    begin, count, order = _partners(first, second)
    crowded = _crowded(first.group, count, CROWDED_PAIRS)
    uncrowded = np.ones(len(count), bool)
    uncrowded[crowded] = False
    yield from _all_pairs(np.flatnonzero(uncrowded), begin, count, order)
    found = looked_at = 0
    for ours in np.split(crowded, np.flatnonzero(np.diff(first.group[crowded])) + 1) if len(crowded) else ():
        theirs = order[begin[ours[0]] : begin[ours[0]] + count[ours[0]]]
        for one, other, looked in _near(first.box[ours], second.box[theirs], least):
            found, looked_at = found + len(one), looked_at + looked
            if found > MOST_FOUND or looked_at > MOST_LOOKED_AT:
                raise TooCrowdedError(int(first.group[ours[0]]))
            yield ours[one], theirs[other]


def every_pair(first: Crowd, second: Crowd) -> Iterator[Pairs]:
    """All pairs of one group, for a likeness that needs no overlap; PAIRS_AT_A_TIME at a time, in order.

    Raises TooCrowdedError if one group has more than MOST_LOOKED_AT / 16 of them.
    """
    begin, count, order = _partners(first, second)
    crowded = _crowded(first.group, count, MOST_LOOKED_AT // 16 + 1)
    if len(crowded):
        raise TooCrowdedError(int(first.group[crowded[0]]))
    yield from _all_pairs(np.arange(len(first.group)), begin, count, order)


def in_order(first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """What puts pairs into the order of the first set and then of the second."""
    rising = np.all((first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (second[1:] > second[:-1])))
    return slice(None) if rising else np.lexsort((second, first))


def gathered(blocks: Iterator[Pairs], kept: Callable[[Pairs], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    """The columns that `kept` gives of each block, the first two being the pairs, put together and in order."""
    none = (np.empty(0, np.intp), np.empty(0, np.intp))
    parts = [kept(block) for block in blocks] or [kept(none)]
    columns = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    order = in_order(columns[0], columns[1])
    return tuple(column[order] for column in columns)


def _partners(first: Crowd, second: Crowd) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Where the partners of each first box begin in the second set sorted by group, how many they are, that order."""
    order = np.argsort(second.group, kind="stable")
    ordered = second.group[order]
    begin = np.searchsorted(ordered, first.group, side="left")
    return begin, np.searchsorted(ordered, first.group, side="right") - begin, order


def _crowded(group: NDArray[Any], count: NDArray[np.intp], least: int) -> NDArray[np.intp]:
    """The boxes of groups with `least` pairs or more, by group, and in their order within each.

    Most sets have none: numbers of groups are first counted by their rest modulo a prime, which can only be too many.
    """
    if not len(group) or len(group) * int(count.max()) < least:
        return np.empty(0, np.intp)
    rest = group.astype(np.int64) % _PRIME
    rows = np.flatnonzero(np.bincount(rest)[rest] * count >= least)
    rows = rows[np.argsort(group[rows], kind="stable")]
    _, inverse, counts = np.unique(group[rows], return_inverse=True, return_counts=True)
    return rows[counts[inverse] * count[rows] >= least]


def _all_pairs(
    rows: NDArray[np.intp], begin: NDArray[np.intp], count: NDArray[np.intp], order: NDArray[np.intp]
) -> Iterator[Pairs]:
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        part = rows[start : start + ROWS_AT_A_TIME]
        for which, place in _stretches(begin[part], count[part]):
            yield part[which], order[place]


def _stretches(begin: NDArray[np.intp], count: NDArray[np.intp]) -> Iterator[Pairs]:
    """For each row the places from its `begin` on, `count` of them: rows and places, some at a time."""
    total = np.cumsum(count)
    start = 0
    while start < len(count):
        before = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + PAIRS_AT_A_TIME, side="right")))
        counts = count[start:end]
        row = np.repeat(np.arange(start, end), counts)
        within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield row, np.repeat(begin[start:end], counts) + within
        start = end


def _near(
    first: NDArray[np.float32], second: NDArray[np.float32], least: float
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], int]]:
    """Pairs of boxes (n, 4) and (m, 4) that share some area, and how many were looked at for them."""
    ours, theirs = (np.flatnonzero(np.isfinite(box).all(axis=1)) for box in (first, second))
    one, other = first[ours].astype(np.float64), second[theirs].astype(np.float64)
    if not len(one) or not len(other):
        return
    corner = np.minimum(one[:, :2].min(axis=0), other[:, :2].min(axis=0))
    span = np.maximum(one[:, 2:].max(axis=0), other[:, 2:].max(axis=0)) - corner
    finest = np.floor(np.log2(np.maximum(span / _FINEST[least > 0], 1e-12)))
    extent = other[:, 2:] - other[:, :2]
    level = np.maximum(np.ceil(np.log2(np.maximum(extent, 1e-12))), finest).astype(np.int64)
    reach = one[:, 2:] - one[:, :2]
    for sizes in np.unique(level, axis=0):
        members = np.flatnonzero((level == sizes).all(axis=1))
        cell = np.exp2(sizes)
        # By an IoU of t, widths and heights differ by a factor of 1 / t at most.
        smallest = np.where(sizes > finest, cell / 2, 0.0)
        fits = ((reach * (least * _SLACK) <= cell) & (reach >= smallest * (least * _SLACK))).all(axis=1)
        rows = np.flatnonzero(fits)
        for row, place in _by_grid(one[rows] - np.tile(corner, 2), other[members] - np.tile(corner, 2), cell):
            left, right = one[rows[row]], other[members[place]]
            meet = (left[:, 2:] > right[:, :2]).all(axis=1) & (right[:, 2:] > left[:, :2]).all(axis=1)
            yield ours[rows[row[meet]]], theirs[members[place[meet]]], len(row)


def _by_grid(first: NDArray[np.float64], second: NDArray[np.float64], cell: NDArray[np.float64]) -> Iterator[Pairs]:
    """Pairs of which the second box, at most a `cell` wide and high, begins near the first one."""
    scale = max(float(first[:, 2].max(initial=0)), float(second[:, 2].max(initial=0)), 1e-12) * 2
    # One number for the row of the grid and, below 1, the place in it.
    key = np.floor(second[:, 1] / cell[1]) + second[:, 0] / scale
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    low, high = np.floor((first[:, 1] - cell[1]) / cell[1]), np.floor(first[:, 3] / cell[1])
    rows = np.maximum(high - low, -1).astype(np.intp) + 1
    for box, step in _stretches(np.zeros(len(first), np.intp), rows):
        row = low[box] + step
        begin = np.searchsorted(ordered, row + np.maximum(first[box, 0] - cell[0], 0) / scale - 1e-9, side="left")
        end = np.searchsorted(ordered, row + np.clip(first[box, 2] / scale, 0, 0.75) + 1e-9, side="right")
        for which, place in _stretches(begin, np.maximum(end - begin, 0)):
            yield box[which], order[place]
