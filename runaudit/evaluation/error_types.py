"""TIDE's error types: what each wrong detection and each unfound label is, and what average precision it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.coco import CocoMetrics, average_precision_and_recall
from runaudit.evaluation.detection_facts import ErrorKind
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import Overlaps, rank_within

FOREGROUND: Final = 0.5
"""IoU from which a detection stands for a label (TIDE's t_f)"""
BACKGROUND: Final = 0.1
"""IoU up to which a detection stands for nothing (TIDE's t_b)"""
MOST_DETECTIONS: Final = 100
"""of an image that count (tidecv 1.0.1, data.py)"""
RECALLS: Final = np.arange(101) / 100
"""at which precision is read (tidecv 1.0.1, ap.py)"""

KINDS: Final[tuple[ErrorKind, ...]] = ("cls", "loc", "both", "dupe", "bkg", "miss")
"""wrong class, misplaced, both, duplicate, background, missed; the order of `ErrorTypes.kind` and of the fixes"""
FIXES: Final[tuple[ErrorKind, ...]] = (*KINDS, "false_positives", "false_negatives")
"""what is put right to see what it costs: each kind, all wrong detections, all unfound labels"""
CORRECT: Final = -1
OUTSIDE: Final = -2
_CLS, _LOC, _BOTH, _DUPE, _BKG, _MISS = range(6)


@dataclass(frozen=True)
class ErrorTypes:
    """Errors at IoU FOREGROUND.

    `kind` (n,) int8 is the error of each detection, a position in KINDS, CORRECT, or OUTSIDE beyond the first
    MOST_DETECTIONS of its image. `target` (n,) int32 is the label that a misplaced detection or one of a wrong class
    would have stood for, else -1. `missed` (m,) float32 is, for each label, the confidence below which it counts as
    missed: the highest of a detection that finds it or that one fix would make find it; 0 if there is none, a label
    that is missed at any confidence. `found` (m,) float32 is that of the detection that finds it, 0 if none does.

    `classes` (k,) are those with labels. `average_precision` (k,) is AP at FOREGROUND, 101 points;
    `fixed` (k, 8) the same after each of FIXES alone, NaN where no label of a class is left.
    """

    kind: NDArray[np.int8]
    target: NDArray[np.int32]
    missed: NDArray[np.float32]
    found: NDArray[np.float32]
    classes: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    fixed: NDArray[np.float64]

    @property
    def map50(self) -> float:
        """The mean AP over classes with labels."""
        return float(self.average_precision.mean())

    def d_ap(self, fix: ErrorKind) -> float:
        """What the mean AP gains by one of FIXES, not less than 0. The gains don't add up: fixes overlap.

        A class that a fix leaves without labels leaves the mean, as it does in pycocotools; if all do, nothing is left
        to be missed and the mean counts as 1.
        """
        fixed = self.fixed[:, FIXES.index(fix)]
        left = fixed[~np.isnan(fixed)]
        return max((float(left.mean()) if len(left) else 1.0) - self.map50, 0.0)

    def counts(self, det_conf: NDArray[Any], confidence: float = 0.0) -> dict[ErrorKind, int]:
        """How many errors of each of FIXES there are among detections of at least `confidence`."""
        kinds = self.kind[det_conf >= np.float32(confidence)]
        counts: dict[ErrorKind, int] = {name: int((kinds == number).sum()) for number, name in enumerate(KINDS[:-1])}
        least = np.float32(max(confidence, 1e-30))
        counts["miss"] = int((self.missed < least).sum())
        counts["false_positives"] = int((kinds >= 0).sum())
        counts["false_negatives"] = int((self.found < least).sum())
        return counts


def error_types(matches: Matches, pairs: Overlaps, coco: CocoMetrics) -> ErrorTypes:
    """Classify errors and fix each type by itself, as tidecv 1.0.1 does (Bolya et al., TIDE, ECCV 2020; quantify.py).

    The mean is over classes with labels (pycocotools'), where tidecv takes classes with labels or detections: the
    two agree where no detection is of a class without labels. A label counts as found by the detection that takes it
    at IoU 0.5 in COCO's matching. Of equal overlaps the first label counts.
    """
    inside = rank_within(matches.det_image) < MOST_DETECTIONS
    taken = np.where(inside, coco.label_taken, -1)
    conf = matches.det_conf
    found = np.zeros(len(matches.gt_cls), np.float32)
    correct = np.flatnonzero(taken >= 0)
    found[taken[correct]] = conf[correct]
    kind, target = _kinds(matches, pairs, taken, found > 0)
    kind[~inside] = OUTSIDE
    target[~inside] = -1
    missed = found.copy()
    aimed = np.flatnonzero(target >= 0)
    np.maximum.at(missed, target[aimed], conf[aimed])
    labels_left = np.repeat(_by_class(matches.gt_cls, coco.classes)[:, None], len(FIXES) + 1, axis=1)
    labels_left[:, 1 + _MISS] -= _by_class(matches.gt_cls[missed == 0], coco.classes)
    labels_left[:, 1 + FIXES.index("false_negatives")] -= _by_class(matches.gt_cls[found == 0], coco.classes)
    first = _first_for_label(target, aimed, found > 0)
    fixed = _fixed(matches, kind, target, first=first, classes=coco.classes, labels=labels_left)
    return ErrorTypes(kind, target, missed, found, coco.classes, fixed[:, 0], fixed[:, 1:])


def _kinds(
    matches: Matches, pairs: Overlaps, taken: NDArray[np.int32], used: NDArray[np.bool_]
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """The kind of each detection and the label that it was meant for, if any."""
    count = len(matches.det_cls)
    same, same_label = _best(pairs, pairs.same_class, count)
    other, other_label = _best(pairs, ~pairs.same_class, count)
    duplicate, _ = _best(pairs, pairs.same_class & used[pairs.label], count)
    misplaced = (same >= BACKGROUND) & (same <= FOREGROUND)
    # The first that applies, in tidecv's order.
    rules = [taken >= 0, misplaced, other >= FOREGROUND, duplicate >= FOREGROUND, np.maximum(same, other) <= BACKGROUND]
    kind = np.select(rules, [CORRECT, _LOC, _CLS, _DUPE, _BKG], _BOTH).astype(np.int8)
    target = np.select([kind == _LOC, kind == _CLS], [same_label, other_label], -1).astype(np.int32)
    return kind, target


def _best(pairs: Overlaps, wanted: NDArray[np.bool_], detections: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The greatest IoU of each detection among the `wanted` pairs, (n,), 0 without one, and its first label."""
    best, label = np.zeros(detections), np.full(detections, -1, np.int32)
    pairs = pairs.only(wanted)
    if len(pairs.iou):
        begins = np.flatnonzero(np.diff(pairs.detection, prepend=-1))
        greatest = np.maximum.reduceat(pairs.iou, begins)
        is_best = pairs.iou == np.repeat(greatest, np.diff(np.r_[begins, len(pairs.iou)]))
        rows = np.minimum.reduceat(np.where(is_best, np.arange(len(is_best)), len(is_best)), begins)
        best[pairs.detection[begins]], label[pairs.detection[begins]] = greatest, pairs.label[rows]
    return best, label


def _first_for_label(target: NDArray[np.int32], aimed: NDArray[np.intp], used: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The detections that a fix makes correct: of all that aim at an unfound label the first, the most confident."""
    free = aimed[~used[target[aimed]]]
    return free[np.unique(target[free], return_index=True)[1]]


def _fixed(
    matches: Matches,
    kind: NDArray[np.int8],
    target: NDArray[np.int32],
    *,
    first: NDArray[np.intp],
    classes: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """AP by class without a fix and with each of FIXES: (k, 9), for as many `labels` (k, 9)."""
    rows = np.flatnonzero(kind != OUTSIDE)
    role = np.where(kind[rows] == CORRECT, _RIGHT, kind[rows]).astype(np.int8)
    role[np.searchsorted(rows, first[kind[first] == _LOC])] = _MOVED
    # A detection whose class is put right joins the detections of another class, under that fix only.
    changed = first[kind[first] == _CLS]
    role = np.r_[role, np.full(len(changed), _JOINING, np.int8)]
    cls = np.r_[matches.det_cls[rows], matches.gt_cls[target[changed]]]
    conf = np.r_[matches.det_conf[rows], matches.det_conf[changed]]
    order = np.lexsort((-conf, cls))
    cls, role = cls[order], role[order]
    result = np.full(labels.shape, np.nan)
    starts, ends = np.searchsorted(cls, classes, side="left"), np.searchsorted(cls, classes, side="right")
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        columns, mine = np.flatnonzero(labels[row]), role[start:end]
        counted = np.cumsum(_COUNTS[mine][:, columns], axis=0, dtype=np.int32)
        hits = np.flatnonzero(mine >= _RIGHT)
        result[row, columns] = average_precision_and_recall(
            _HITS[mine[hits]][:, columns], counted[hits], labels[row, columns], RECALLS
        )[0]
    return result


_RIGHT, _MOVED, _JOINING = range(5, 8)
"""what a detection is while errors are fixed, beside the five kinds of wrong ones: correct; misplaced, and the one that
the fix of Loc puts right for its label; of another class, and put here by the fix of Cls"""


def _roles() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which roles are true positives, and which count at all: (8, 9) each, without a fix and under each of FIXES."""
    hits, counts = np.zeros((8, 1 + len(FIXES)), bool), np.ones((8, 1 + len(FIXES)), bool)
    hits[_RIGHT] = True
    counts[range(5), range(1, 6)] = False
    counts[_MOVED] = counts[_LOC]
    # Wrong detections behind all correct ones: then precision is 1 as far as recall goes.
    counts[:, 1 + FIXES.index("false_positives")] = False
    counts[_RIGHT] = True
    counts[_JOINING] = False
    for role, kind in ((_MOVED, _LOC), (_JOINING, _CLS)):
        hits[role, 1 + kind] = counts[role, 1 + kind] = True
    return hits, counts


_HITS, _COUNTS = _roles()


def _by_class(cls: NDArray[Any], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of `cls` (n,) are of each of `classes` (k,), which are sorted and hold them all."""
    return np.bincount(np.searchsorted(classes, cls), minlength=len(classes))
