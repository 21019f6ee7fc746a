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
    rows = np.flatnonzero(np.isin(matches.det_cls, classes))
    order = rows[np.lexsort((-matches.det_conf[rows], matches.det_cls[rows]))]
    cls, conf = matches.det_cls[order], matches.det_conf[order]
    ends = np.flatnonzero(np.r_[(cls[1:] != cls[:-1]) | (conf[1:] != conf[:-1]), np.ones(min(1, len(cls)), bool)])
    hit = np.flatnonzero(coco.label_taken[order] >= 0)
    result = OptimalError(classes, np.ones(len(classes)), *(np.full(len(classes), np.nan) for _ in range(4)))
    result.false_negative[:] = 1.0
    if not len(hit):
        return result
    # Only a true positive lowers the error, so that it is least at one, with all detections of its confidence.
    row, end = np.searchsorted(classes, cls[hit]), ends[np.searchsorted(ends, hit)]
    begins = np.searchsorted(cls, classes)
    before, up_to = np.searchsorted(hit, begins)[row], np.searchsorted(hit, end, side="right")
    total = np.r_[0.0, np.cumsum(1 - coco.iou_taken[order[hit]])]
    found, misplaced, counted = up_to - before, total[up_to] - total[before], end + 1 - begins[row]
    missed = labels[row] - found
    # found + false positives + false negatives = detections + labels not found
    error = (misplaced / (1 - FOREGROUND) + counted - found + missed) / (counted + missed)
    best = _least(error, row)
    best = best[error[best] < 1]
    of = row[best]
    result.error[of] = error[best]
    result.localization[of] = misplaced[best] / found[best]
    result.false_positive[of] = 1 - found[best] / counted[best]
    result.false_negative[of] = missed[best] / labels[of]
    result.confidence[of] = conf[hit[best]]
    return result


def _least(error: NDArray[np.float64], cls: NDArray[np.intp]) -> NDArray[np.intp]:
    """The row of the least error of each class, rows standing by class; of equals the first, the most confident."""
    begins = np.flatnonzero(np.r_[True, cls[1:] != cls[:-1]])
    least = np.minimum.reduceat(error, begins)
    is_least = error == np.repeat(least, np.diff(np.r_[begins, len(error)]))
    rows: NDArray[np.intp] = np.minimum.reduceat(np.where(is_least, np.arange(len(error)), len(error)), begins)
    return rows
