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


def _key(series: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Series and number in one, ordered by series first; room for NEIGHBOURS on both sides of a series."""
    return series * 2**31 + np.clip(number, -NEIGHBOURS, 10**9) + NEIGHBOURS


def taken(frames_: Frames, positions: NDArray[np.intp]) -> Frames:
    """The frames of some of the images."""
    return Frames(frames_.series[positions], frames_.number[positions])
