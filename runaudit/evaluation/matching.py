"""Matches detections to labels once, at ten IoU thresholds; all metrics and intervals are read off the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.touching_boxes import Crowd, Pairs, TooCrowdedError, every_pair, gathered, touching

IOU_THRESHOLDS: Final[NDArray[np.float32]] = np.linspace(0.5, 0.95, 10, dtype=np.float64).astype(np.float32)
"""0.50, 0.55, ..., 0.95 in single precision, as the framework compares them"""
_EPSILON: Final = np.float32(1e-7)


@dataclass(frozen=True)
class Matches:
    """All detections and labels of a split, flat, matched once.

    `image` (k,) int32 names the evaluated images by their position in the ImageIndex; `det_image` (n,) and `gt_image`
    (m,) int32 are positions in `image`. Boxes are float32 (x1, y1, x2, y2) in pixels of the image as decoded, not
    clipped to it. `det_conf` is float32 in [0, 1]; `det_cls` and `gt_cls` are int32. `tp` (n, 10) says at which
    of IOU_THRESHOLDS a detection is a true positive. The detections of an image stand together, by falling confidence.

    Masks and keypoints are matched beside the boxes: `tp_further` (n, 10) is `tp` by mask IoU or by object keypoint
    similarity. Of rotated boxes, `det_box` and `gt_box` are the upright hulls, `det_rotated` (n, 5) and `gt_rotated`
    (m, 5) float32 the boxes themselves (centre x and y, width, height, radians), and `tp` is by them.

    `group` (k,) int32 numbers the images from 0 so that those that belong together share a number (`image_groups`);
    None where each stands for itself.
    """

    image: NDArray[np.int32]
    det_image: NDArray[np.int32]
    det_cls: NDArray[np.int32]
    det_conf: NDArray[np.float32]
    det_box: NDArray[np.float32]
    tp: NDArray[np.bool_]
    gt_image: NDArray[np.int32]
    gt_cls: NDArray[np.int32]
    gt_box: NDArray[np.float32]
    tp_further: NDArray[np.bool_] | None = None
    det_rotated: NDArray[np.float32] | None = None
    gt_rotated: NDArray[np.float32] | None = None
    group: NDArray[np.int32] | None = None

    @property
    def unit(self) -> NDArray[np.int32]:
        """(k,) what a bootstrap draws as a whole with each image: its group, or the image itself, counted from 0."""
        return np.arange(len(self.image), dtype=np.int32) if self.group is None else self.group

    def taking(self, *, detections: NDArray[Any], labels: NDArray[Any]) -> Matches:
        """The same with only these detections and labels; images stay and are counted as before."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        rows = {"det": detections, "tp": detections, "gt": labels}
        taken = {
            name: column[rows[name.split("_")[0]]]
            for name, column in columns.items()
            if name not in ("image", "group") and column is not None
        }
        return replace(self, **taken)


Similarity = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]]
"""given rows of detections and of labels, (p,) each, how alike the two of each pair are: (p,) in [0, 1]"""


@dataclass(frozen=True)
class Boxes:
    """Boxes of many images: `image` (n,) and `cls` (n,) int, `box` (n, 4) float32 as x1, y1, x2, y2."""

    image: NDArray[Any]
    cls: NDArray[Any]
    box: NDArray[np.float32]

    @property
    def group(self) -> NDArray[np.int64]:
        """One number for each (image, class)."""
        return (self.image.astype(np.int64) << 32) | self.cls.astype(np.int64)


def box_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes row by row: (n, 4) and (n, 4) as x1, y1, x2, y2 give (n,) in [0, 1], in single precision."""
    overlap = np.maximum(np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2]), 0)
    intersection = overlap[:, 0] * overlap[:, 1]
    first_side, second_side = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    union = first_side[:, 0] * first_side[:, 1] + second_side[:, 0] * second_side[:, 1] - intersection + _EPSILON
    iou: NDArray[np.float32] = intersection / union
    return iou


def true_positives(detections: Boxes, labels: Boxes, similarity: Similarity | None = None) -> NDArray[np.bool_]:
    """At which thresholds each detection is a true positive, (n, 10), by `similarity`, else by the IoU of the boxes.

    Detections of an image must stand by falling confidence. Each takes, at each threshold by itself, the label of its
    image and class that it overlaps most among those still free, if the IoU reaches the threshold; of equal overlaps
    the first label. This is `match_predictions` of ultralytics 8.4.190 (engine/validator.py), which follows COCO's
    order; versions before 8.4 matched by falling IoU (research page yolo.md, A6).

    The work is done in rounds: the n-th candidate of every (image, class) at once. Candidates are detections that
    overlap a label by the least threshold, so there are few rounds.
    """
    correct = np.zeros((len(detections.box), len(IOU_THRESHOLDS)), dtype=bool)
    detection, label, iou = _candidate_pairs(detections, labels, similarity)
    if not len(iou):
        return correct
    taken = np.zeros((len(labels.box), len(IOU_THRESHOLDS)), dtype=bool)
    rounds = _rounds(detection, detections.group)
    order = np.argsort(rounds, kind="stable")
    detection, label, iou = detection[order], label[order], iou[order]
    starts = np.searchsorted(rounds[order], np.arange(rounds.max() + 2))
    columns = np.arange(len(IOU_THRESHOLDS))
    for start, end in pairwise(starts):
        turn, claimed = detection[start:end], label[start:end]
        free = np.where(taken[claimed], np.float32(0), iou[start:end, None])
        first_pair = np.flatnonzero(np.r_[True, turn[1:] != turn[:-1]])
        best = np.maximum.reduceat(free, first_pair, axis=0)
        length = np.diff(np.r_[first_pair, len(turn)])
        is_best = free == np.repeat(best, length, axis=0)
        position = np.where(is_best, np.arange(len(turn))[:, None], len(turn))
        chosen = claimed[np.minimum.reduceat(position, first_pair, axis=0)]
        hit = best >= IOU_THRESHOLDS
        correct[turn[first_pair]] = hit
        taken[chosen, columns] |= hit
    return correct


def true_positives_by_best_label(
    detections: Boxes, labels: Boxes, similarity: Similarity | None = None
) -> NDArray[np.bool_]:
    """At which thresholds each detection is a true positive by the rule of YOLOv5, (n, 10).

    Detections of an image must stand by falling confidence. Each stands for the one label of its image and class that
    it overlaps most, free or not; at each threshold a label counts for the first of its detections that reaches it. So
    a second detection of a label is wrong even where another label beside it is missed (utils/metrics.py process_batch
    of YOLOv5; research page yolo.md, A6). Of equal overlaps the last label, which is what its sort gives to a few.
    """
    correct = np.zeros((len(detections.box), len(IOU_THRESHOLDS)), dtype=bool)
    detection, label, iou = _candidate_pairs(detections, labels, similarity)
    if not len(iou):
        return correct
    order = np.lexsort((label, iou, detection))
    detection, label, iou = detection[order], label[order], iou[order]
    best = np.flatnonzero(np.r_[detection[1:] != detection[:-1], True])
    detection, label, iou = detection[best], label[best], iou[best]
    for column, threshold in enumerate(IOU_THRESHOLDS):
        reaches = np.flatnonzero(iou >= threshold)
        first = reaches[np.unique(label[reaches], return_index=True)[1]]
        correct[detection[first], column] = True
    return correct


def _candidate_pairs(
    detections: Boxes, labels: Boxes, similarity: Similarity | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Detection, label and IoU (or `similarity`) of each pair of one image and class that reaches the least threshold.

    Pairs are ordered by detection, then by label. Raises TooCrowdedError with the image, see `touching_boxes`.
    """
    first, second = Crowd(detections.group, detections.box), Crowd(labels.group, labels.box)
    # Masks and keypoints may be alike where boxes are not.
    pairs = every_pair(first, second) if similarity else touching(first, second, float(IOU_THRESHOLDS[0]))

    def enough(pairs: Pairs) -> tuple[NDArray[Any], ...]:
        detection, label = pairs
        iou = similarity(detection, label) if similarity else box_iou(labels.box[label], detections.box[detection])
        kept = np.flatnonzero(iou >= IOU_THRESHOLDS[0])
        return detection[kept], label[kept], iou[kept]

    try:
        detection, label, iou = gathered(pairs, enough)
    except TooCrowdedError as error:
        raise TooCrowdedError(error.group >> 32) from None
    return detection, label, iou


def _rounds(detection: NDArray[np.intp], det_group: NDArray[np.int64]) -> NDArray[np.intp]:
    """For each pair, how many candidates of its group come before its detection."""
    candidates, inverse = np.unique(detection, return_inverse=True)
    groups = det_group[candidates]
    by_group = np.argsort(groups, kind="stable")
    ordered = groups[by_group]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank_in_order = np.arange(len(ordered)) - np.repeat(begins, np.diff(np.r_[begins, len(ordered)]))
    rank = np.empty(len(candidates), dtype=np.intp)
    rank[by_group] = rank_in_order
    return rank[inverse]
