"""Which detections overlap which labels of their image, by how much, and which label each detection takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import Matches, Similarity
from runaudit.evaluation.touching_boxes import Crowd, gathered, touching


@dataclass(frozen=True)
class Overlaps:
    """All pairs of a detection and a label of one image that share some area, by detection, then by label.

    `detection` and `label` (p,) int32 are rows of Matches; `iou` (p,) float64 in (0, 1] is of the boxes in pixels of
    the image; `same_class` (p,) bool.
    """

    detection: NDArray[np.int32]
    label: NDArray[np.int32]
    iou: NDArray[np.float64]
    same_class: NDArray[np.bool_]

    @property
    def within_class(self) -> Overlaps:
        """The pairs of one class."""
        return self.only(self.same_class)

    def only(self, wanted: NDArray[np.bool_]) -> Overlaps:
        """The pairs that are `wanted` (p,)."""
        rows = np.flatnonzero(wanted)
        return Overlaps(self.detection[rows], self.label[rows], self.iou[rows], self.same_class[rows])


def overlaps(matches: Matches, similarity: Similarity | None = None) -> Overlaps:
    """Find the overlapping pairs, block by block of images, so that memory is bounded by the pairs that overlap.

    IoU is computed in double precision from the boxes' sides, as pycocotools does. With `similarity` that takes its
    place, for the pairs whose boxes overlap. Raises TooCrowdedError, see `touching_boxes`.
    """
    blocks = touching(Crowd(matches.det_image, matches.det_box), Crowd(matches.gt_image, matches.gt_box))
    detection, label, iou = gathered(blocks, lambda pairs: _overlapping(matches, *pairs, similarity))
    return Overlaps(detection, label, iou, matches.det_cls[detection] == matches.gt_cls[label])


def _overlapping(
    matches: Matches, detection: NDArray[np.int64], label: NDArray[np.int64], similarity: Similarity | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The pairs that share some area, with their IoU."""
    det, gt = matches.det_box, matches.gt_box
    # Most pairs are apart in x or y: comparing one coordinate after the other leaves little to gather.
    for axis in (0, 1):
        meet = det[detection, axis + 2] > gt[label, axis]
        meet &= gt[label, axis + 2] > det[detection, axis]
        rows = np.flatnonzero(meet)
        detection, label = detection[rows], label[rows]
    if similarity is not None:
        return _positive(detection, label, similarity(detection, label).astype(np.float64))
    first, second = det[detection].astype(np.float64), gt[label].astype(np.float64)
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared = sides[:, 0] * sides[:, 1]
    iou = np.divide(shared, _areas(first) + _areas(second) - shared, out=np.zeros(len(shared)), where=shared > 0)
    return _positive(detection, label, iou)


def _positive(
    detection: NDArray[np.int64], label: NDArray[np.int64], iou: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """The pairs whose IoU is above 0."""
    rows = np.flatnonzero(iou > 0)
    return detection[rows].astype(np.int32), label[rows].astype(np.int32), iou[rows]


def _areas(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas of boxes (n, 4) as x1, y1, x2, y2, in square pixels."""
    areas: NDArray[np.float64] = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return areas


def rank_within(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """For each row, how many rows before it have the same keys: (n,) arrays of integers give (n,)."""
    if not len(keys[0]):
        return np.zeros(0, np.int64)
    order = np.lexsort(keys[::-1])
    new = np.zeros(len(order), bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    begins = np.flatnonzero(new)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    return rank


def taken_labels(
    pairs: Overlaps, priority: NDArray[np.float64], matches: Matches
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which label each detection takes, as each in its turn takes the free label of the highest priority.

    Args:
        pairs: of one class each; detections of an image stand by falling confidence.
        priority: (p, c) of each pair under each of c rules; a pair of priority 0 is none. Each rule goes by itself.
        matches: that the pairs are of.

    Returns the detections that have a pair, (d,), and the label that each takes under each rule, (d, c), -1 for none.
    Of equal priorities the first label. The work is done in rounds: the n-th candidate of each image and class at once.
    """
    begins = np.flatnonzero(np.diff(pairs.detection, prepend=-1))
    candidates = pairs.detection[begins]
    length = np.diff(np.r_[begins, len(priority)])
    result = np.full((len(candidates), priority.shape[1]), -1, np.int32)
    taken = np.zeros((len(matches.gt_cls), priority.shape[1]), bool)
    columns = np.arange(priority.shape[1])
    turn = rank_within(matches.det_image[candidates], matches.det_cls[candidates])
    order = np.argsort(turn, kind="stable")
    for now in np.split(order, np.flatnonzero(np.diff(turn[order])) + 1) if len(order) else []:
        size = length[now]
        ends = np.cumsum(size)
        rows = np.repeat(begins[now] - (ends - size), size) + np.arange(ends[-1])
        label = pairs.label[rows]
        free = np.where(taken[label], 0.0, priority[rows])
        starts = ends - size
        best = np.maximum.reduceat(free, starts, axis=0)
        position = np.where(free == np.repeat(best, size, axis=0), np.arange(len(rows))[:, None], len(rows))
        chosen = label[np.minimum.reduceat(position, starts, axis=0)]
        hit = best > 0
        result[now] = np.where(hit, chosen, -1)
        taken[chosen, columns] |= hit
    return candidates, result
