"""Localisation recall precision: one error for misplaced, false and missed boxes, at the best confidence of a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.coco import CocoMetrics
from runaudit.evaluation.matching import Matches

FOREGROUND: Final = 0.5
"""IoU from which a detection is a true positive (tau)"""


@dataclass(frozen=True)
class OptimalError:
    """oLRP and its parts by class, (k,) each in the order of `classes`, all in [0, 1], 0 the best.

    `localization` is the mean of 1 - IoU of true positives, `false_positive` is 1 - precision, `false_negative` is
    1 - recall, all at `confidence`, where the error is least. Where no detection at all is best, the error is 1, and
    `localization`, `false_positive` and `confidence` are NaN.
    """

    classes: NDArray[np.int64]
    error: NDArray[np.float64]
    localization: NDArray[np.float64]
    false_positive: NDArray[np.float64]
    false_negative: NDArray[np.float64]
    confidence: NDArray[np.float64]


def optimal_error(matches: Matches, coco: CocoMetrics) -> OptimalError:
    """The least LRP of each class over all confidences that its detections have.

    LRP = (sum over true positives of (1 - IoU) / (1 - tau), + false positives + false negatives) / (all three counts),
    in [0, 1]. The labels taken at IoU 0.5 in COCO's matching are the true positives. Source: Oksuz et al., Localization
    Recall Precision: a new performance metric for object detection, ECCV 2018, equations 2 to 4; research page
    diagnostics.md D3. Detections of one confidence count together. The authors' code tries 101 confidences; this tries
    all, so that its errors are at most theirs.
    """
    classes, labels = np.unique(matches.gt_cls.astype(np.int64), return_counts=True)
    order = np.lexsort((-matches.det_conf, matches.det_cls))
    order = order[np.isin(matches.det_cls[order], classes)]
    cls, conf = np.searchsorted(classes, matches.det_cls[order]), matches.det_conf[order]
    begins = np.searchsorted(cls, np.arange(len(classes)))
    counted = np.arange(1, len(order) + 1) - begins[cls]
    hit = coco.label_taken[order] >= 0
    found = _within_class(hit.astype(np.float64), cls, begins)
    misplaced = _within_class(np.where(hit, 1 - coco.iou_taken[order], 0.0), cls, begins)
    missed = labels[cls] - found
    # found + false positives + false negatives = detections + labels not found
    error = (misplaced / (1 - FOREGROUND) + counted - found + missed) / (counted + missed)
    last_of_confidence = np.r_[(cls[1:] != cls[:-1]) | (conf[1:] != conf[:-1]), np.ones(min(1, len(cls)), bool)]
    error[~last_of_confidence] = np.inf
    best = _least(error, cls, begins)
    result = OptimalError(classes, np.ones(len(classes)), *(np.full(len(classes), np.nan) for _ in range(4)))
    result.false_negative[:] = 1.0
    use = best[error[best] < 1]
    row = cls[use]
    result.error[row] = error[use]
    with_hits = found[use] > 0
    result.localization[row[with_hits]] = misplaced[use][with_hits] / found[use][with_hits]
    result.false_positive[row] = 1 - found[use] / counted[use]
    result.false_negative[row] = missed[use] / labels[row]
    result.confidence[row] = conf[use]
    return result


def _within_class(values: NDArray[np.float64], cls: NDArray[np.intp], begins: NDArray[np.intp]) -> NDArray[np.float64]:
    """Running sums that begin anew with each class."""
    total: NDArray[np.float64] = np.r_[0.0, np.cumsum(values)]
    return np.asarray(total[1:] - total[begins[cls]])


def _least(error: NDArray[np.float64], cls: NDArray[np.intp], begins: NDArray[np.intp]) -> NDArray[np.intp]:
    """The row of the least error of each class that has rows; the first, of the highest confidence, among equals."""
    present = begins[np.unique(cls)] if len(cls) else begins[:0]
    if not len(present):
        return present
    least = np.minimum.reduceat(error, present)
    is_least = error == np.repeat(least, np.diff(np.r_[present, len(error)]))
    rows: NDArray[np.intp] = np.minimum.reduceat(np.where(is_least, np.arange(len(error)), len(error)), present)
    return rows
