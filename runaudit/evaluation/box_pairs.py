"""Pairs of boxes of one image that overlap: detections with labels, and labels with one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import box_iou
from runaudit.evaluation.touching_boxes import Crowd, Pairs, gathered, touching


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

    Memory is bounded by the number of pairs found. Raises TooCrowdedError, see `touching_boxes`.
    """
    wanted = np.float32(least)

    def enough(pairs: Pairs) -> tuple[NDArray[Any], ...]:
        first, second = pairs
        iou = box_iou(first_box[first], second_box[second])
        kept = np.flatnonzero(iou >= wanted)
        return first[kept], second[kept], iou[kept]

    return BoxPairs(*gathered(touching(Crowd(first_image, first_box), Crowd(second_image, second_box), least), enough))


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
