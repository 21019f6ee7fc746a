"""COCO's average precision and recall, over all labels and by their size, as pycocotools computes them for boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.accumulate import maximum_from_here, running_sum
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import Overlaps, rank_within, taken_labels

IOU_THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
"""in double precision, as pycocotools compares them (cocoeval.py Params.setDetParams)"""
RECALLS: Final = np.linspace(0, 1, 101)
"""at which precision is read (the same place)"""
MOST_DETECTIONS: Final = 100
"""of an image and class that count (the same place)"""
AREAS: Final[dict[str, tuple[float, float]]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""square pixels of a box, both ends included (the same place)"""


@dataclass(frozen=True)
class AreaMetrics:
    """Average precision and recall of the labels of one range of areas.

    `labels` (k,) int counts them by class; `average_precision` and `recall` are (k, 10), a column for each of
    IOU_THRESHOLDS, NaN for a class without such a label.
    """

    labels: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def map50_95(self) -> float | None:
        """The mean over the classes that have labels and over IoU thresholds; None if none has."""
        return self._mean(self.average_precision)

    @property
    def map50(self) -> float | None:
        """The same at IoU 0.50."""
        return self._mean(self.average_precision[:, 0])

    @property
    def map75(self) -> float | None:
        """The same at IoU 0.75."""
        return self._mean(self.average_precision[:, 5])

    @property
    def average_recall(self) -> float | None:
        """Recall with up to MOST_DETECTIONS detections, the mean over classes and IoU thresholds."""
        return self._mean(self.recall)

    def _mean(self, values: NDArray[np.float64]) -> float | None:
        present = self.labels > 0
        return float(values[present].mean()) if present.any() else None


@dataclass(frozen=True)
class CocoMetrics:
    """By name of AREAS; `classes` (k,) are those that have labels.

    `label_taken` (n,) int32 is the label that each detection takes at IoU 0.50 among all sizes, a row of Matches, or
    -1; `iou_taken` (n,) float64 its IoU, else 0.
    """

    classes: NDArray[np.int64]
    areas: dict[str, AreaMetrics]
    label_taken: NDArray[np.int32]
    iou_taken: NDArray[np.float64]


def coco_metrics(matches: Matches, pairs: Overlaps) -> CocoMetrics:
    """Evaluate as `COCOeval` does for boxes without crowds (pycocotools 2.0.11, cocoeval.py evaluateImg, accumulate).

    A label outside the range is ignored: a detection that takes it counts neither way, and one takes it only where no
    label inside the range is left for it. So is a detection outside the range that takes none. The area of a label is
    that of its box, in pixels of the image as decoded. Of equal overlaps the first label is taken, where pycocotools
    takes the last.
    """
    classes, class_row = np.unique(matches.gt_cls.astype(np.int64), return_inverse=True)
    counted = rank_within(matches.det_image, matches.det_cls) < MOST_DETECTIONS
    pairs = pairs.within_class
    pairs = pairs.only((pairs.iou >= IOU_THRESHOLDS[0]) & counted[pairs.detection])
    reaches = pairs.iou[:, None] >= IOU_THRESHOLDS
    order = np.lexsort((-matches.det_conf, matches.det_cls))
    order = order[counted[order] & np.isin(matches.det_cls[order], classes)]
    det_area, gt_area = _areas(matches.det_box), _areas(matches.gt_box)
    areas: dict[str, AreaMetrics] = {}
    label_taken = np.full(len(matches.det_cls), -1, np.int32)
    for name, (least, most) in AREAS.items():
        inside = (gt_area >= least) & (gt_area <= most)
        labels = np.bincount(class_row[inside], minlength=len(classes))
        # A label inside the range goes before every one outside it; between two of a kind the IoU decides.
        priority = np.where(reaches, (pairs.iou + 2.0 * inside[pairs.label])[:, None], 0.0)
        candidates, chosen = taken_labels(pairs, priority, matches)
        true = (chosen >= 0) & inside[chosen]
        outside = (det_area < least) | (det_area > most)
        ignored = np.repeat(outside[:, None], len(IOU_THRESHOLDS), axis=1)
        ignored[candidates] = np.where(chosen >= 0, ~inside[chosen], ignored[candidates])
        hits = np.zeros_like(ignored)
        hits[candidates] = true
        areas[name] = _area_metrics(matches.det_cls[order], hits[order], ~ignored[order], classes, labels)
        if name == "all":
            label_taken[candidates] = chosen[:, 0]
    iou_taken = np.zeros(len(label_taken))
    took = np.flatnonzero(label_taken[pairs.detection] == pairs.label)
    iou_taken[pairs.detection[took]] = pairs.iou[took]
    return CocoMetrics(classes, areas, label_taken, iou_taken)


def _areas(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """Areas in square pixels of boxes (n, 4)."""
    wide = box.astype(np.float64)
    areas: NDArray[np.float64] = (wide[:, 2] - wide[:, 0]) * (wide[:, 3] - wide[:, 1])
    return areas


def _area_metrics(
    det_cls: NDArray[Any],
    hits: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    classes: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> AreaMetrics:
    """AP and recall by class from detections (n, 10) by class and falling confidence, and their classes (n,)."""
    average_precision = np.full((len(classes), hits.shape[1]), np.nan)
    recall = np.full_like(average_precision, np.nan)
    starts = np.searchsorted(det_cls, classes, side="left")
    ends = np.searchsorted(det_cls, classes, side="right")
    for row in np.flatnonzero(labels):
        mine = slice(starts[row], ends[row])
        average_precision[row], recall[row] = average_precision_and_recall(hits[mine], kept[mine], labels[row])
    return AreaMetrics(labels, average_precision, recall)


def average_precision_and_recall(
    hits: NDArray[np.bool_], kept: NDArray[np.bool_], labels: NDArray[Any] | int, recalls: NDArray[np.float64] = RECALLS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the envelope of precision at `recalls`, and the last recall, of each of c columns.

    Args:
        hits: (n, c) true positives by falling confidence.
        kept: (n, c) which detections count at all; a hit does.
        labels: at least 1 in each column; (c,) or a number.
        recalls: (r,) increasing.
    """
    rows = np.flatnonzero(hits.any(axis=1))
    if not len(rows):
        return np.zeros(hits.shape[1]), np.zeros(hits.shape[1])
    found = running_sum(hits[rows])
    counted = np.cumsum(kept, axis=0, dtype=np.int64)[rows]
    # A row that is no hit of its column has a lower precision than the hit before it: the envelope passes over it.
    envelope = maximum_from_here(found / np.maximum(counted, 1))
    recall = found / labels
    covered = np.searchsorted(recalls, recall, side="right")
    added = np.diff(covered, axis=0, prepend=0)
    return (envelope * added).sum(axis=0) / len(recalls), recall[-1]
