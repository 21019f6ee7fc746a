"""Average precision per class as the frameworks compute it, and precision, recall and F1 at the best F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.accumulate import maximum_from_here
from runaudit.evaluation.protocol import ULTRALYTICS, AveragePrecision

CURVE_POINTS: Final = 1000
"""confidences from 0 to 1 at which precision and recall are compared"""
SMOOTHING: Final = 101
"""points of the box filter over the mean F1: 10 % of the curve, an odd number"""
_TINY: Final = 1e-16


@dataclass(frozen=True)
class DetectionMetrics:
    """Metrics of the classes that have labels, in the order of their ids.

    `classes` and `instances` are (k,) int; `average_precision` is (k, 10), a column for each IoU threshold from 0.50
    to 0.95; `precision`, `recall` and `f1` are (k,) at `confidence_threshold` and IoU 0.50. All in [0, 1].
    """

    classes: NDArray[np.int64]
    instances: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    confidence_threshold: float

    @property
    def map50(self) -> float:
        """Mean over classes of the AP at IoU 0.50; 0 without classes."""
        return float(self.average_precision[:, 0].mean()) if len(self.classes) else 0.0

    @property
    def map50_95(self) -> float:
        """Mean over classes and IoU thresholds; 0 without classes."""
        return float(self.average_precision.mean()) if len(self.classes) else 0.0


def area(true_positives: NDArray[Any], detections: NDArray[Any], labels: NDArray[Any] | int) -> NDArray[Any]:
    """Average precision from cumulative counts, (n, ...) by falling confidence, giving (...).

    Args:
        true_positives: (n, ...) how many of the detections up to here are true positives.
        detections: the same shape or (n, 1): how many detections there are up to here.
        labels: number of labels, at least 1; one for all columns or one a column.

    The framework interpolates the envelope of precision linearly at recalls 0, 0.01, ..., 1 and integrates by
    trapezoids (utils/metrics.py compute_ap). With its end points of 8.4.190 (precision 0 from the last recall on) the
    interpolated value at recall x is the greatest precision at any recall above x: the envelope never falls between
    two points of different recall, since a true positive raises precision. So each point counts for the
    hundredths of recall that it adds, and the end at recall 0 counts half. Only rows that add recall matter, which is
    why rows after the last true positive, and rows of zero weight, may be left out. Computed in the precision of the
    arguments.
    """
    shape = np.broadcast_shapes(true_positives.shape, detections.shape)[1:]
    if not len(true_positives):
        return np.zeros(shape)
    envelope = maximum_from_here(true_positives / np.maximum(detections, 1))
    hundredths = np.multiply(true_positives, 100.0)
    np.divide(hundredths, labels, out=hundredths)
    np.ceil(hundredths, out=hundredths)
    total = np.einsum("i...,i...->...", envelope[1:], np.diff(hundredths, axis=0))
    return np.asarray((total + envelope[0] * (hundredths[0] - 0.5)) / 100)


def ramp_area(true_positives: NDArray[Any], detections: NDArray[Any] | int, labels: NDArray[Any] | int) -> NDArray[Any]:
    """What YOLOv5 adds to `area` past the last recall: counts of all detections, (...), give (...).

    Its last end point is recall 1 with precision 0 (utils/metrics.py compute_ap; research page yolo.md, A6), so from
    the last recall r on the interpolated precision falls in a straight line, p (1 - x) / (1 - r) at recall x, where p
    is the precision of all detections together. Summed over the hundredths h, ..., 100 of recall that are not below r:
    p / (1 - r) times (100 - h)(101 - h) / 2 hundredths, times a hundredth. Nothing if all labels were found.

    Args:
        true_positives: how many of all detections are true positives.
        detections: how many detections there are.
        labels: number of labels, at least 1.
    """
    precision = true_positives / np.maximum(detections, 1)
    missed = 1 - true_positives / labels
    left = 100 - np.ceil(100 * true_positives / labels)
    slope = np.divide(precision, missed, out=np.zeros_like(precision), where=missed > 0)
    return np.asarray(slope * left * (left + 1) / 2 / 1e4)


def detection_metrics(
    tp: NDArray[np.bool_],
    conf: NDArray[Any],
    det_cls: NDArray[Any],
    gt_cls: NDArray[Any],
    *,
    kind: AveragePrecision = ULTRALYTICS.average_precision,
) -> DetectionMetrics:
    """Metrics per class from matched detections (utils/metrics.py ap_per_class of ultralytics 8.4.190 and of YOLOv5).

    Args:
        tp: (n, 10) whether each detection is a true positive at each IoU threshold.
        conf: (n,) confidences in [0, 1].
        det_cls: (n,) class of each detection.
        gt_cls: (m,) class of each label.
        kind: how average precision is computed.

    Detections of classes without labels count nowhere. Equal confidences keep their order, which makes the result
    independent of the machine; the framework leaves their order to NumPy's unstable sort.
    """
    classes, instances = np.unique(gt_cls.astype(np.int64), return_counts=True)
    order = np.lexsort((-conf, det_cls))
    starts = np.searchsorted(det_cls, classes, side="left", sorter=order)
    ends = np.searchsorted(det_cls, classes, side="right", sorter=order)
    average_precision = np.zeros((len(classes), tp.shape[1]))
    precision_curves = np.zeros((len(classes), CURVE_POINTS))
    recall_curves = np.zeros((len(classes), CURVE_POINTS))
    confidences = np.linspace(0, 1, CURVE_POINTS)
    for row, (start, end, labels) in enumerate(zip(starts, ends, instances, strict=True)):
        if start == end:
            continue
        members = order[start:end]
        hits = np.flatnonzero(tp[members].any(axis=1))
        average_precision[row] = area(tp[members[hits]].cumsum(axis=0), hits[:, None] + 1, int(labels))
        if kind.ramp:
            average_precision[row] += ramp_area(tp[members].sum(axis=0), len(members), int(labels))
        found = tp[members, 0].cumsum()
        falling = -conf[members]
        counted = np.arange(1, len(members) + 1)
        precision_curves[row] = np.interp(-confidences, falling, found / counted, left=1)
        recall_curves[row] = np.interp(-confidences, falling, found / labels, left=0)
    f1_curves = 2 * precision_curves * recall_curves / (precision_curves + recall_curves + _TINY)
    best = int(_smoothed(f1_curves.mean(axis=0)).argmax()) if len(classes) else 0
    return DetectionMetrics(
        classes=classes,
        instances=instances,
        average_precision=average_precision,
        precision=precision_curves[:, best],
        recall=recall_curves[:, best],
        f1=f1_curves[:, best],
        confidence_threshold=float(confidences[best]),
    )


def _smoothed(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve under a box filter of SMOOTHING points, its ends continued."""
    padded = np.pad(curve, SMOOTHING // 2, mode="edge")
    return np.convolve(padded, np.ones(SMOOTHING) / SMOOTHING, mode="valid")
