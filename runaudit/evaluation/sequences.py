"""Reads from file names which images follow each other: frames of one film, pictures of one series."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: Final = 10
"""Frames that are at most this many numbers apart are looked at as one scene; 10 is a third of a second of film."""
_UPLOADED: Final = re.compile(r"(_(jpe?g|png|bmp|webp))?\.rf\.[0-9a-zA-Z]+$")
"""what Roboflow appends to a name: `_jpg.rf.` and a digest"""
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class Frames:
    """Of each image the series that its name belongs to, `series` (n,), -1 for none, and its `number` (n,) in it."""

    series: NDArray[np.int64]
    number: NDArray[np.int64]


def frames(files: Sequence[str]) -> Frames:
    """Series and number of each file: its last number counts, and what stands around it names the series.

    Folders don't count: they are what tells the splits apart. A name of digits alone is in the series of such names.
    """
    names: dict[tuple[str, str], int] = {}
    series = np.full(len(files), -1, dtype=np.int64)
    number = np.zeros(len(files), dtype=np.int64)
    for position, file in enumerate(files):
        stem = _UPLOADED.sub("", file.rpartition("/")[2].rpartition(".")[0])
        last = next(reversed(list(_NUMBER.finditer(stem))), None)
        # A digest or a time of more digits is no count of frames.
        if last is None or len(last.group()) > 9:
            continue
        around = (stem[: last.start()], stem[last.end() :])
        series[position] = names.setdefault(around, len(names))
        number[position] = int(last.group())
    return Frames(series, number)


def neighbours(first: Frames, second: Frames) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of an image of `first` and one of `second` in one series and at most NEIGHBOURS numbers apart.

    The two must come from one call of `frames`.
    """
    order = np.lexsort((second.number, second.series))
    key_second = _key(second.series[order], second.number[order])
    low = np.searchsorted(key_second, _key(first.series, first.number - NEIGHBOURS), side="left")
    high = np.searchsorted(key_second, _key(first.series, first.number + NEIGHBOURS), side="right")
    count = np.where(first.series >= 0, high - low, 0)
    left = np.repeat(np.arange(len(count), dtype=np.intp), count)
    right = order[np.arange(len(left)) + np.repeat(low - (np.cumsum(count) - count), count)]
    return left, right.astype(np.intp)


def followers(some: Frames) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of images of one series that stand at most NEIGHBOURS places apart in it, by their numbers.

    Films that a validation split was drawn from at random leave gaps between numbers, so places count. Of a series that
    holds most of the images at most a quarter of it stands between two, which leaves pairs for `unrelated`.
    """
    order, place, size = _places(some)
    reach = np.where(2 * size > len(size), np.minimum(NEIGHBOURS, size // 4), NEIGHBOURS)
    found = []
    for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
        one, other = order[:-step], order[step:]
        linked = (some.series[one] == some.series[other]) & (some.series[one] >= 0) & (step <= reach[one])
        found.append((one[linked], other[linked]))
    first, second = (np.concatenate([pair[side] for pair in found] or [place[:0]]) for side in (0, 1))
    return first.astype(np.intp), second.astype(np.intp)


def unrelated(some: Frames, most: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """About `most` pairs, or all, that no series brings near each other: of different series, or more than a quarter
    apart in one that holds most of the images."""
    count = len(some.series)
    if count * (count - 1) // 2 <= most:
        first, second = np.triu_indices(count, 1)
    else:
        first, second = np.random.default_rng(seed).integers(0, count, (2, most))
    _, place, size = _places(some)
    same = (some.series[first] == some.series[second]) & (some.series[first] >= 0)
    far = (2 * size[first] > count) & (np.abs(place[first] - place[second]) > size[first] // 4)
    kept = (first != second) & (~same | far)
    return first[kept].astype(np.intp), second[kept].astype(np.intp)


def _places(some: Frames) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Images by series and number (n,), the place of each (n,) in that order, and the size of its series (n,)."""
    order = np.lexsort((some.number, some.series))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    _, series, sizes = np.unique(some.series, return_inverse=True, return_counts=True)
    return order, place, np.where(some.series >= 0, sizes[series], 1)


def originals(files: Sequence[str]) -> NDArray[np.intp]:
    """A number for each file (n,), shared by those that an upload made of one picture; -1 where no name tells."""
    names: dict[str, int] = {}
    found = np.full(len(files), -1, dtype=np.intp)
    for position, file in enumerate(files):
        stem = file.rpartition("/")[2].rpartition(".")[0]
        before = _UPLOADED.sub("", stem)
        if before != stem:
            found[position] = names.setdefault(before, len(names))
    return found


def _key(series: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Series and number in one, ordered by series first; room for NEIGHBOURS on both sides of a series."""
    return series * 2**31 + np.clip(number, -NEIGHBOURS, 10**9) + NEIGHBOURS


def taken(frames_: Frames, positions: NDArray[np.intp]) -> Frames:
    """The frames of some of the images."""
    return Frames(frames_.series[positions], frames_.number[positions])
