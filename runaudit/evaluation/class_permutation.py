"""Are class ids permuted between model and labels? Compares class-aware, class-blind and best-mapped mAP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest, overlapping
from runaudit.evaluation.matching import Matches
from runaudit.proportions import wilson_interval

ON: Final = 0.5
"""IoU from which a detection is of a label"""
FEWEST: Final = 5
"""labels found of a class, below which it does not move by itself"""
FAVOURED: Final = 0.6
"""what the share of the other id, of the labels that have it or their own, is surely above (Wilson's lower end, 95 %).
Two ids that a model can't tell apart have 0.5; ids that it calls by one of both keep that one"""


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

    Only classes of which another id has surely more found labels than their own may move, and only to ids whose own
    class moves, too, or has hardly a label. Once some moved, classes with few labels follow as the ids left allow.
    """
    labelled, own = confusion.sum(axis=1), np.diagonal(confusion)
    others = confusion.copy()
    np.fill_diagonal(others, 0)
    winner, most = others.argmax(axis=1), others.max(axis=1)
    sure = (labelled >= FEWEST) & (_lower_end(most, most + own) > FAVOURED)
    mapping = _assigned(confusion, np.flatnonzero(sure), np.unique(winner[sure]), sure | (labelled < FEWEST))
    if not mapping:
        return Permutation({}, None, None, 0)
    left = (most > own) & ~sure
    ids = np.setdiff1d(np.arange(len(confusion)), list(mapping))
    may_go = left | (labelled == 0)
    may_go[list(mapping.values())] = True
    mapping |= _assigned(confusion, np.flatnonzero(left), ids, may_go)
    moved = np.array(sorted(mapping.values()), dtype=np.int64)
    detected_as = {cls: detected for detected, cls in mapping.items()}
    total = int(labelled[moved].sum())
    return Permutation(
        mapping,
        float(own[moved].sum() / total),
        float(sum(int(confusion[cls, detected_as[int(cls)]]) for cls in moved) / total),
        total,
    )


def _assigned(
    confusion: NDArray[np.int64], classes: NDArray[np.intp], ids: NDArray[np.intp], may_go: NDArray[np.bool_]
) -> dict[int, int]:
    """id -> class of `classes`, one to one, by the most labels; of `ids` only those whose own class `may_go` (k,)."""
    columns = ids[may_go[ids]]
    if not len(classes) or not len(columns):
        return {}
    table = confusion[np.ix_(classes, columns)].astype(np.float64)
    if len(classes) <= len(columns):
        rows, places = np.arange(len(classes)), assignment(-table)
    else:
        places, rows = np.arange(len(columns)), assignment(-table.T)
    return {
        int(columns[place]): int(classes[row])
        for row, place in zip(rows, places, strict=True)
        if columns[place] != classes[row] and table[row, place] > confusion[classes[row], classes[row]]
    }


def _lower_end(hits: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lower end of Wilson's 95 % interval of hits of total, both (k,); 0 where total is 0."""
    return np.asarray([wilson_interval(*counts)[0] for counts in zip(hits.tolist(), total.tolist(), strict=True)])


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
