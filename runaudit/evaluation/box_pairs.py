"""Pairs of boxes of one image that overlap: detections with labels, and labels with one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import box_iou

PAIRS_AT_A_TIME: Final = 2**20
"""pairs whose IoU is computed at a time; about 60 MiB"""


@dataclass(frozen=True)
class BoxPairs:
    """Rows of pairs: `first` (p,) and `second` (p,) are positions in the two sets of boxes, `iou` (p,) float32.

    Ordered by `first`, then by `second`.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    iou: NDArray[np.float32]

    def kept(self, mask: NDArray[np.bool_]) -> BoxPairs:
        """The pairs that `mask` (p,) is true for."""
        return BoxPairs(self.first[mask], self.second[mask], self.iou[mask])


def overlapping(
    first_image: NDArray[Any],
    first_box: NDArray[np.float32],
    second_image: NDArray[Any],
    second_box: NDArray[np.float32],
    least: float,
) -> BoxPairs:
    """All pairs of one image with an IoU of at least `least`.

    Args:
        first_image, second_image: (n,) and (m,) the image of each box, in any order.
        first_box, second_box: (n, 4) and (m, 4) as x1, y1, x2, y2.
        least: in (0, 1].

    Memory is bounded by PAIRS_AT_A_TIME and the number of pairs found.
    """
    order = np.argsort(second_image, kind="stable")
    sorted_image = second_image[order]
    begin = np.searchsorted(sorted_image, first_image, side="left")
    count = np.searchsorted(sorted_image, first_image, side="right") - begin
    total = np.cumsum(count)
    parts = []
    start = 0
    while start < len(first_image):
        before = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + PAIRS_AT_A_TIME, side="right")))
        counts = count[start:end]
        first = np.repeat(np.arange(start, end), counts)
        within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        second = order[np.repeat(begin[start:end], counts) + within]
        iou = box_iou(first_box[first], second_box[second])
        enough = np.flatnonzero(iou >= least)
        parts.append((first[enough], second[enough], iou[enough]))
        start = end
    if not parts:
        return BoxPairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))
    return BoxPairs(*(np.concatenate([part[column] for part in parts]) for column in range(3)))


def among(image: NDArray[Any], box: NDArray[np.float32], least: float) -> BoxPairs:
    """All pairs of two different boxes of one set, each pair once, `first` below `second`."""
    both = overlapping(image, box, image, box, least)
    return both.kept(both.first < both.second)


def largest(group: NDArray[np.intp], value: NDArray[Any], groups: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The largest `value` (p,) of each group and the row that has it: (groups,) and (groups,).

    0 and -1 for a group without a row; of equal values the row that comes last.
    """
    best, row = np.zeros(groups, dtype=value.dtype), np.full(groups, -1, dtype=np.intp)
    order = np.lexsort((value, group))
    ends = np.flatnonzero(np.r_[group[order][1:] != group[order][:-1], True]) if len(order) else order
    rows = order[ends]
    best[group[rows]], row[group[rows]] = value[rows], rows
    return best, row
