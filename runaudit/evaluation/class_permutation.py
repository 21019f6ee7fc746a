"""Are class ids permuted between model and labels? Compares class-aware, class-blind and best-mapped mAP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest, overlapping
from runaudit.evaluation.matching import Matches

ON: Final = 0.5
"""IoU from which a detection is of a label"""
FEWEST: Final = 5
"""labels found of a class, below which it is mapped nowhere"""
MOST: Final = 0.5
"""share of a class' found labels that another id must have, and its own id must not: two classes that a model confuses
share the detections, or one gets them all and then keeps its own"""


@dataclass(frozen=True)
class Permutation:
    """`mapping` has the ids that move, detected -> labelled; `kept` and `moved` see `ClassPermutationFacts`."""

    mapping: dict[int, int]
    kept: float | None
    moved: float | None
    labels: int


def class_confusion(matches: Matches, classes: int) -> NDArray[np.int64]:
    """How often labels of a class (row) are detected best as a class (column): (classes, classes).

    The best detection of a label is the surest one of any class with an IoU of ON or more.
    """
    pairs = overlapping(matches.det_image, matches.det_box, matches.gt_image, matches.gt_box, ON)
    _, row = largest(pairs.second, matches.det_conf[pairs.first], len(matches.gt_cls))
    found = np.flatnonzero(row >= 0)
    cell = matches.gt_cls[found].astype(np.int64) * classes + matches.det_cls[pairs.first[row[found]]]
    return np.bincount(cell, minlength=classes**2).reshape(classes, classes)


def best_permutation(confusion: NDArray[np.int64]) -> Permutation:
    """The one-to-one mapping of ids that the most found labels agree with, as far as it moves classes for sure.

    Only classes of which another id has more than MOST of the found labels, and their own id less, may move, and only
    among one another: two classes that are merely confused stay. What the assignment gives that is not such a majority
    is left out.
    """
    labelled = confusion.sum(axis=1)
    share = confusion / np.maximum(labelled, 1)[:, None]
    own = np.diagonal(share)
    winner = share.argmax(axis=1)
    candidates = np.flatnonzero(
        (labelled >= FEWEST) & (winner != np.arange(len(share))) & (share.max(axis=1) > MOST) & (own < 1 - MOST)
    )
    mapping: dict[int, int] = {}
    if len(candidates):
        columns = np.unique(np.r_[candidates, winner[candidates]])
        assigned = columns[assignment(-confusion[np.ix_(candidates, columns)].astype(np.float64))]
        for cls, detected in zip(candidates, assigned, strict=True):
            if detected != cls and share[cls, detected] > MOST and _free(int(detected), candidates, labelled):
                mapping[int(detected)] = int(cls)
    moved = np.array(sorted(mapping.values()), dtype=np.int64)
    if not len(moved):
        return Permutation({}, None, None, 0)
    detected_as = {cls: detected for detected, cls in mapping.items()}
    total = int(labelled[moved].sum())
    return Permutation(
        mapping,
        float(confusion[moved, moved].sum() / total),
        float(sum(int(confusion[cls, detected_as[int(cls)]]) for cls in moved) / total),
        total,
    )


def _free(detected: int, candidates: NDArray[np.intp], labelled: NDArray[np.int64]) -> bool:
    """Whether the id is not needed by its own class: that moves too, or has hardly a label."""
    return bool(detected in candidates or labelled[detected] < FEWEST)


def complete(mapping: dict[int, int], classes: int) -> NDArray[np.int64]:
    """Detected id -> id, (classes,): a permutation that holds `mapping`; other ids stay where they can."""
    result = np.full(classes, -1, dtype=np.int64)
    for detected, cls in mapping.items():
        result[detected] = cls
    taken = set(mapping.values())
    for cls in range(classes):
        if result[cls] < 0 and cls not in taken:
            result[cls] = cls
            taken.add(cls)
    result[result < 0] = [cls for cls in range(classes) if cls not in taken]
    return result


def assignment(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """The column of each row, (n,), of the assignment with the least sum: the Hungarian method.

    `cost` is (n, m) with n <= m. Shortest augmenting paths with potentials (Jonker and Volgenant, Computing 38 (1987)),
    O(n^2 m).
    """
    rows, columns = cost.shape
    row_potential, potential = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of = np.zeros(columns + 1, dtype=np.intp)
    for row in range(1, rows + 1):
        row_of[0] = row
        column = 0
        slack = np.full(columns + 1, np.inf)
        came_from = np.zeros(columns + 1, dtype=np.intp)
        used = np.zeros(columns + 1, dtype=bool)
        while True:
            used[column] = True
            current = row_of[column]
            reduced = cost[current - 1] - row_potential[current] - potential[1:]
            shorter = ~used[1:] & (reduced < slack[1:])
            slack[1:][shorter] = reduced[shorter]
            came_from[1:][shorter] = column
            following = int(np.where(used[1:], np.inf, slack[1:]).argmin()) + 1
            step = slack[following]
            row_potential[row_of[used]] += step
            potential[used] -= step
            slack[~used] -= step
            column = following
            if row_of[column] == 0:
                break
        while column:
            previous = int(came_from[column])
            row_of[column] = row_of[previous]
            column = previous
    result = np.empty(rows, dtype=np.intp)
    matched = np.flatnonzero(row_of[1:])
    result[row_of[1:][matched] - 1] = matched
    return result
