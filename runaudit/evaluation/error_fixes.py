"""What average precision becomes as errors are put right, one type at a time, with intervals over images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.accumulate import maximum_from_here, running_sum
from runaudit.evaluation.bootstrap import image_weights, interval, row_sums
from runaudit.evaluation.coco import average_precision_and_recall
from runaudit.evaluation.detection_facts import ErrorKind, Interval
from runaudit.evaluation.matching import Matches

KINDS: Final[tuple[ErrorKind, ...]] = ("cls", "loc", "both", "dupe", "bkg", "miss")
"""wrong class, misplaced, both, duplicate, background, missed; the order of `ErrorTypes.kind` and of the fixes"""
FIXES: Final[tuple[ErrorKind, ...]] = (*KINDS, "false_positives", "false_negatives")
"""what is put right to see what it costs: each kind, all wrong detections, all unfound labels"""
CLS, LOC, BOTH, DUPE, BKG, MISS = range(6)
CORRECT: Final = -1
OUTSIDE: Final = -2
RECALLS: Final = np.arange(101) / 100
"""at which precision is read (tidecv 1.0.1, ap.py)"""
MOST_REPLICATES: Final = 200
"""behind the intervals of gains; their ends then have a standard error of about a tenth of the interval's half width
(that of a normal sample's 2.5 % point)"""
_CELLS: Final = 2**22
"""counts held at a time (true positives of a class x replicates); 32 MiB each"""

_RIGHT, _MOVED, _JOINING = range(5, 8)
"""what a detection is while errors are fixed, beside the five kinds of wrong ones: correct; misplaced, and the one that
the fix of Loc puts right for its label; of another class, and put here by the fix of Cls"""


def _roles() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which roles are true positives, and which count at all: (8, 9) each, without a fix and under each of FIXES."""
    hits, counts = np.zeros((8, 1 + len(FIXES)), bool), np.ones((8, 1 + len(FIXES)), bool)
    hits[_RIGHT] = True
    counts[range(5), range(1, 6)] = False
    counts[_MOVED] = counts[LOC]
    # Wrong detections behind all correct ones: then precision is 1 as far as recall goes.
    counts[:, 1 + FIXES.index("false_positives")] = False
    counts[_RIGHT] = True
    counts[_JOINING] = False
    for role, kind in ((_MOVED, LOC), (_JOINING, CLS)):
        hits[role, 1 + kind] = counts[role, 1 + kind] = True
    return hits, counts


_HITS, _COUNTS = _roles()


def mean_gain(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the mean over classes gains, not less than 0: AP by class (k, ...) before and after a fix give (...).

    NaN is a class without labels, which leaves the mean, as it does in pycocotools; if a fix leaves no class any,
    nothing is left to be missed and the mean counts as 1.
    """
    means = []
    for values in (before, after):
        present = ~np.isnan(values)
        count = present.sum(axis=0)
        means.append(np.where(count > 0, np.where(present, values, 0).sum(axis=0) / np.maximum(count, 1), 1.0))
    return np.asarray(np.maximum(means[1] - means[0], 0.0))


@dataclass(frozen=True)
class Fixes:
    """Detections by class and falling confidence with their roles, and the labels by class.

    `role` and `image` (n,) are of the detections, `begins` (k + 1,) where those of each class begin and the last end;
    `label_image`, `missed` and `unfound` (m,) of the labels, `label_begins` likewise. `unit` (images,) is what is drawn
    together with each image.
    """

    role: NDArray[np.int8]
    image: NDArray[np.int32]
    begins: NDArray[np.intp]
    label_image: NDArray[np.int32]
    missed: NDArray[np.bool_]
    unfound: NDArray[np.bool_]
    label_begins: NDArray[np.intp]
    unit: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        matches: Matches,
        kind: NDArray[np.int8],
        target: NDArray[np.int32],
        *,
        first: NDArray[np.intp],
        missed: NDArray[np.bool_],
        unfound: NDArray[np.bool_],
    ) -> Fixes:
        """Of the classes with labels.

        Args:
            matches: that errors are of.
            kind, target: see `ErrorTypes`.
            first: the detections that a fix makes correct.
            missed, unfound: (m,) the labels that the fixes `miss` and `false_negatives` forgive.
        """
        rows = np.flatnonzero((kind != OUTSIDE) & np.isin(matches.det_cls, matches.gt_cls))
        role = np.where(kind[rows] == CORRECT, _RIGHT, kind[rows]).astype(np.int8)
        moved = first[kind[first] == LOC]
        role[np.searchsorted(rows, moved)] = _MOVED
        # A detection whose class is put right joins the detections of another class, under that fix only.
        changed = first[kind[first] == CLS]
        role = np.r_[role, np.full(len(changed), _JOINING, np.int8)]
        det_cls = np.r_[matches.det_cls[rows], matches.gt_cls[target[changed]]]
        order = np.lexsort((-np.r_[matches.det_conf[rows], matches.det_conf[changed]], det_cls))
        labels = np.argsort(matches.gt_cls, kind="stable")
        classes = np.unique(matches.gt_cls)
        return cls(
            role=role[order],
            image=np.r_[matches.det_image[rows], matches.det_image[changed]][order],
            begins=np.r_[np.searchsorted(det_cls[order], classes), len(order)],
            label_image=matches.gt_image[labels],
            missed=missed[labels],
            unfound=unfound[labels],
            label_begins=np.r_[np.searchsorted(matches.gt_cls[labels], classes), len(labels)],
            unit=matches.unit,
        )

    def average_precision(self) -> NDArray[np.float64]:
        """AP by class without a fix and with each of FIXES, (k, 9); NaN where no label is left."""
        result = np.full((len(self.begins) - 1, 1 + len(FIXES)), np.nan)
        for row in range(len(result)):
            role, labels = self.role[self._detections(row)], self._labels_left(row)
            columns = np.flatnonzero(labels)
            counted = np.cumsum(_COUNTS[role][:, columns], axis=0, dtype=np.int32)
            hits = np.flatnonzero(role >= _RIGHT)
            result[row, columns] = average_precision_and_recall(
                _HITS[role[hits]][:, columns], counted[hits], labels[columns], RECALLS
            )[0]
        return result

    def gain_intervals(self, *, replicates: int, seed: int) -> dict[ErrorKind, Interval]:
        """The intervals of `mean_gain` by fix, from up to MOST_REPLICATES replicates that resample images.

        What each detection is stays as it was: an image that is drawn twice has its errors twice.
        """
        hits = np.r_[0, np.cumsum(self.role >= _RIGHT)][self.begins]
        most = int(np.diff(hits).max(initial=1))
        samples: list[NDArray[np.float64]] = []
        for weights in image_weights(self.unit, min(replicates, MOST_REPLICATES), seed, width=max(1, _CELLS // most)):
            fixed = np.stack([self._replicated(row, weights) for row in range(len(self.begins) - 1)])
            gains = np.stack([mean_gain(fixed[:, 0], fixed[:, 1 + fix]) for fix in range(len(FIXES))])
            # A replicate without any label says nothing.
            samples.append(np.where(np.isnan(fixed[:, 0]).all(axis=0), np.nan, gains))
        found = {kind: interval(gains) for kind, gains in zip(FIXES, np.hstack(samples), strict=True)}
        return {kind: ends for kind, ends in found.items() if ends is not None}

    def _detections(self, row: int) -> slice:
        return slice(self.begins[row], self.begins[row + 1])

    def _labels_left(self, row: int) -> NDArray[np.int64]:
        """How many labels of a class there are without a fix and with each, (9,)."""
        mine = slice(self.label_begins[row], self.label_begins[row + 1])
        labels = np.full(1 + len(FIXES), mine.stop - mine.start)
        labels[1 + MISS] -= self.missed[mine].sum()
        labels[1 + FIXES.index("false_negatives")] -= self.unfound[mine].sum()
        return labels

    def _replicated(self, row: int, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """`average_precision` of one class in each replicate: weights (images, b) give (9, b)."""
        mine = slice(self.label_begins[row], self.label_begins[row + 1])
        labels = np.repeat(_total(self.label_image[mine], weights)[None], 1 + len(FIXES), axis=0)
        labels[1 + MISS] -= _total(self.label_image[mine][self.missed[mine]], weights)
        labels[1 + FIXES.index("false_negatives")] -= _total(self.label_image[mine][self.unfound[mine]], weights)
        role, image = self.role[self._detections(row)], self.image[self._detections(row)]
        result = np.zeros(labels.shape)
        for column in range(len(result)):
            counts, hits = _COUNTS[role, column], np.flatnonzero(_HITS[role, column])
            if len(hits):
                found = running_sum(weights[image[hits]])
                ends = np.cumsum(counts)[hits]
                counted = running_sum(row_sums(image[counts], ends, weights))
                envelope = maximum_from_here(found / np.maximum(counted, 1))
                # Points of recall reached: those of 0.00, 0.01, ... up to found / labels.
                reached = np.floor(100 * found / np.maximum(labels[column], 1)) + 1
                reached[1:] -= reached[:-1].copy()
                result[column] = np.einsum("ij,ij->j", envelope, reached) / len(RECALLS)
        result[labels == 0] = np.nan
        return result


def _total(image: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """The weights of all rows together: (b,)."""
    total: NDArray[np.float64] = row_sums(image, np.array([len(image)]), weights)[0].astype(np.float64)
    return total
