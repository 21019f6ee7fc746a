"""TIDE's error types: what each wrong detection and each unfound label is, and what average precision it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.coco import CocoMetrics
from runaudit.evaluation.detection_facts import ErrorKind
from runaudit.evaluation.error_fixes import BKG, BOTH, CLS, CORRECT, DUPE, FIXES, KINDS, LOC, OUTSIDE, Fixes, mean_gain
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import Overlaps, rank_within

FOREGROUND: Final = 0.5
"""IoU from which a detection stands for a label (TIDE's t_f)"""
BACKGROUND: Final = 0.1
"""IoU up to which a detection stands for nothing (TIDE's t_b)"""
MOST_DETECTIONS: Final = 100
"""of an image that count (tidecv 1.0.1, data.py)"""


@dataclass(frozen=True)
class ErrorTypes:
    """Errors at IoU FOREGROUND.

    `kind` (n,) int8 is the error of each detection, a position in KINDS, CORRECT, or OUTSIDE beyond the first
    MOST_DETECTIONS of its image. `target` (n,) int32 is the label that a misplaced detection or one of a wrong class
    would have stood for, else -1. `missed` (m,) float32 is, for each label, the confidence below which it counts as
    missed: the highest of a detection that finds it or that one fix would make find it; 0 if there is none, a label
    that is missed at any confidence. `found` (m,) float32 is that of the detection that finds it, 0 if none does.

    `classes` (k,) are those with labels. `average_precision` (k,) is AP at FOREGROUND, 101 points;
    `fixed` (k, 8) the same after each of FIXES alone, NaN where no label of a class is left; `fixes` is what they were
    computed from.
    """

    kind: NDArray[np.int8]
    target: NDArray[np.int32]
    missed: NDArray[np.float32]
    found: NDArray[np.float32]
    classes: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    fixed: NDArray[np.float64]
    fixes: Fixes

    @property
    def map50(self) -> float:
        """The mean AP over classes with labels."""
        return float(self.average_precision.mean())

    def d_ap(self, fix: ErrorKind) -> float:
        """What the mean AP gains by one of FIXES, not less than 0. The gains don't add up: fixes overlap.

        See `error_fixes.mean_gain` for classes that a fix leaves without labels.
        """
        return float(mean_gain(self.average_precision, self.fixed[:, FIXES.index(fix)]))

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
    first = _first_for_label(target, aimed, found > 0)
    fixes = Fixes.of(matches, kind, target, first=first, missed=missed == 0, unfound=found == 0)
    fixed = fixes.average_precision()
    return ErrorTypes(kind, target, missed, found, coco.classes, fixed[:, 0], fixed[:, 1:], fixes)


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
    kind = np.select(rules, [CORRECT, LOC, CLS, DUPE, BKG], BOTH).astype(np.int8)
    target = np.select([kind == LOC, kind == CLS], [same_label, other_label], -1).astype(np.int32)
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
