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
    counts = _first_of_class(matches)
    pairs = pairs.within_class
    pairs = pairs.only((pairs.iou >= IOU_THRESHOLDS[0]) & counts[pairs.detection])
    reaches = pairs.iou[:, None] >= IOU_THRESHOLDS
    ranking = _Ranking.of(matches, counts, classes)
    det_area, gt_area = _areas(matches.det_box), _areas(matches.gt_box)
    areas: dict[str, AreaMetrics] = {}
    label_taken = np.full(len(matches.det_cls), -1, np.int32)
    for name, (least, most) in AREAS.items():
        inside = (gt_area >= least) & (gt_area <= most)
        labels = np.bincount(class_row[inside], minlength=len(classes))
        # A label inside the range goes before every one outside it; between two of a kind the IoU decides.
        priority = np.where(reaches, (pairs.iou + 2.0 * inside[pairs.label])[:, None], 0.0)
        candidates, chosen = taken_labels(pairs, priority, matches)
        det_inside = (det_area >= least) & (det_area <= most)
        areas[name] = ranking.metrics(det_inside, candidates, chosen, inside=inside, labels=labels)
        if name == "all":
            label_taken[candidates] = chosen[:, 0]
    iou_taken = np.zeros(len(label_taken))
    took = np.flatnonzero(label_taken[pairs.detection] == pairs.label)
    iou_taken[pairs.detection[took]] = pairs.iou[took]
    return CocoMetrics(classes, areas, label_taken, iou_taken)


def _areas(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """Areas in square pixels of boxes (n, 4)."""
    # A side at a time: a copy of all boxes in double precision would be the largest thing in memory.
    areas: NDArray[np.float64] = np.subtract(box[:, 2], box[:, 0], dtype=np.float64)
    areas *= np.subtract(box[:, 3], box[:, 1], dtype=np.float64)
    return areas


def _first_of_class(matches: Matches) -> NDArray[np.bool_]:
    """Which detections are among the first MOST_DETECTIONS of their image and class, (n,)."""
    first = np.ones(len(matches.det_cls), bool)
    in_image = np.bincount(matches.det_image, minlength=1)
    crowded = np.flatnonzero(in_image[matches.det_image] > MOST_DETECTIONS)
    first[crowded] = rank_within(matches.det_image[crowded], matches.det_cls[crowded]) < MOST_DETECTIONS
    return first


@dataclass(frozen=True)
class _Ranking:
    """Detections by class and falling confidence: `order` (n,) their rows of Matches, `place` the place of each row in
    it, `begins` (k + 1,) where each class begins and the last ends.
    """

    classes: NDArray[np.int64]
    order: NDArray[np.intp]
    place: NDArray[np.intp]
    begins: NDArray[np.intp]

    @classmethod
    def of(cls, matches: Matches, counts: NDArray[np.bool_], classes: NDArray[np.int64]) -> _Ranking:
        """Those of `classes` that `counts` (n,) lets through."""
        rows = np.flatnonzero(counts & np.isin(matches.det_cls, classes))
        order = rows[np.lexsort((-matches.det_conf[rows], matches.det_cls[rows]))]
        place = np.full(len(matches.det_cls), -1)
        place[order] = np.arange(len(order))
        begins = np.r_[np.searchsorted(matches.det_cls[order], classes), len(order)]
        return cls(classes, order, place, begins)

    def metrics(
        self,
        det_inside: NDArray[np.bool_],
        candidates: NDArray[np.int32],
        chosen: NDArray[np.int32],
        *,
        inside: NDArray[np.bool_],
        labels: NDArray[np.int64],
    ) -> AreaMetrics:
        """AP and recall of one range.

        Args:
            det_inside: (n,) which detections are in the range themselves.
            candidates, chosen: see `taken_labels`.
            inside: (m,) which labels are in the range.
            labels: (k,) how many there are of each class.

        Only rows of candidates are looked at: all others are false, or ignored, at every threshold alike.
        """
        by_place = np.argsort(self.place[candidates])
        place, chosen = self.place[candidates[by_place]], chosen[by_place]
        taken, own = chosen >= 0, det_inside[candidates[by_place]]
        hits = taken & inside[chosen]
        # What counts beyond what is in the range by its own area: 1 for a hit outside, -1 for one that took an ignored.
        beyond = np.where(taken, hits.astype(np.int8) - own[:, None].astype(np.int8), np.int8(0))
        counted = np.r_[0, np.cumsum(det_inside[self.order])]
        starts = np.searchsorted(place, self.begins)
        average_precision = np.full((len(self.classes), hits.shape[1]), np.nan)
        recall = np.full_like(average_precision, np.nan)
        for row in np.flatnonzero(labels):
            mine = slice(starts[row], starts[row + 1])
            up_to = (counted[place[mine] + 1] - counted[self.begins[row]])[:, None]
            up_to = up_to + np.cumsum(beyond[mine], axis=0, dtype=np.int64)
            average_precision[row], recall[row] = average_precision_and_recall(hits[mine], up_to, labels[row])
        return AreaMetrics(labels, average_precision, recall)


def average_precision_and_recall(
    hits: NDArray[np.bool_],
    counted: NDArray[Any],
    labels: NDArray[Any] | int,
    recalls: NDArray[np.float64] = RECALLS,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the envelope of precision at `recalls`, and the last recall, of each of c columns.

    Args:
        hits: (n, c) true positives by falling confidence; rows without any may be left out.
        counted: (n, c) how many detections count up to here.
        labels: at least 1 in each column; (c,) or a number.
        recalls: (r,) increasing.
    """
    rows = np.flatnonzero(hits.any(axis=1))
    if not len(rows):
        return np.zeros(hits.shape[1]), np.zeros(hits.shape[1])
    found = running_sum(hits[rows])
    # A row that is no hit of its column has a lower precision than the hit before it: the envelope passes over it.
    envelope = maximum_from_here(found / np.maximum(counted[rows], 1))
    recall = found / labels
    covered = np.searchsorted(recalls, recall, side="right")
    added = np.diff(covered, axis=0, prepend=0)
    return np.einsum("ij,ij->j", envelope, added) / len(recalls), recall[-1]
