"""Holds the detections of a batch against its labels, as each task does it, and puts both into pixels of the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.batches import Placement, frames
from runaudit.evaluation.images import LoadedBatch
from runaudit.evaluation.inference import Detections
from runaudit.evaluation.keypoints import by_keypoints, scales, visible
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.masks import label_map, mask_iou
from runaudit.evaluation.matching import (
    Boxes,
    Matches,
    Similarity,
    true_positives,
    true_positives_by_best_label,
)
from runaudit.evaluation.network import Network
from runaudit.evaluation.polygons import CORNER_POINTS, OUTLINE_POINTS, polygons_in_batch
from runaudit.evaluation.protocol import Protocol
from runaudit.evaluation.rotated_boxes import by_probabilistic_iou, hulls, in_image, rotated_labels
from runaudit.evaluation.touching_boxes import MOST_FOUND, TooCrowdedError


@dataclass(frozen=True)
class _Batch:
    """A batch's images (k,) as positions in `labelled.entry`, and its labels.

    `rows` (m,) are theirs in `labelled`, `image` (m,) positions in `images`, `box` (m, 4) float64 in pixels of the
    image, `in_batch` (m, 4) float32 in pixels of the batch.
    """

    labelled: Labelled
    placements: tuple[Placement, ...]
    shape: tuple[int, int]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    image: NDArray[np.int32]
    box: NDArray[np.float64]
    in_batch: NDArray[np.float32]

    @property
    def boxes(self) -> Boxes:
        return Boxes(self.image, self.labelled.cls[self.rows], self.in_batch)


def matches_of_batch(
    found: Detections,
    prototypes: Any,
    labelled: Labelled,
    loaded: LoadedBatch,
    *,
    network: Network,
    protocol: Protocol,
) -> Matches:
    """Detections and labels of one batch, matched by the protocol's rule, then in pixels of the images.

    Args:
        found: the detections, their classes as they are to be matched.
        prototypes: of masks, for a network that predicts them.
        labelled: all images and labels of the pass.
        loaded: the images of the batch.
        network: its task says what is compared.
        protocol: of the pass.
    """
    batch = _batch(labelled, loaded)
    gains, offsets = frames(loaded.placements)
    matches = Matches(
        image=labelled.entry[batch.images],
        det_image=found.image,
        det_cls=found.cls,
        det_conf=found.conf,
        det_box=((found.box - offsets[found.image]) / gains[found.image]).astype(np.float32),
        tp=np.zeros((0, 0), dtype=bool),
        gt_image=batch.image,
        gt_cls=labelled.cls[batch.rows],
        gt_box=batch.box.astype(np.float32),
    )
    if network.task == "obb":
        return _rotated(matches, found, batch)
    detections = Boxes(found.image, found.cls, found.box)
    tp = _true_positives(protocol, detections, batch.boxes, loaded.placements)
    further = _further(network, found, prototypes, batch)
    if further is None:
        return replace(matches, tp=tp)
    return replace(matches, tp=tp, tp_further=true_positives(detections, batch.boxes, further))


def _batch(labelled: Labelled, loaded: LoadedBatch) -> _Batch:
    images = np.array(loaded.images)
    count = labelled.start[images + 1] - labelled.start[images]
    image = np.repeat(np.arange(len(images), dtype=np.int32), count)
    rows = np.arange(len(image)) - np.repeat(np.cumsum(count) - count, count)
    rows += np.repeat(labelled.start[images], count)
    gains, offsets = frames(loaded.placements)
    extent = np.array([(p.width, p.height) * 2 for p in loaded.placements], dtype=np.float64)
    box = labelled.box[rows] * extent[image]
    in_batch = (box * gains[image] + offsets[image]).astype(np.float32)
    height, width = loaded.pixels.shape[1:3]
    return _Batch(labelled, loaded.placements, (height, width), images, rows, image, box, in_batch)


def _true_positives(
    protocol: Protocol, detections: Boxes, labels: Boxes, placements: tuple[Placement, ...]
) -> NDArray[np.bool_]:
    """At which thresholds each detection is a true positive, by the protocol's rule and in its pixels.

    Both come in pixels of the batch.
    """
    if protocol.matched_in == "image":
        detections, labels = _in_image(detections, placements), _in_image(labels, placements)
    rule = true_positives if protocol.matching == "by_confidence" else true_positives_by_best_label
    return rule(detections, labels)


def _in_image(boxes: Boxes, placements: tuple[Placement, ...]) -> Boxes:
    """Boxes of a batch in pixels of their images and cut to them, by the scale of the height alone.

    YOLOv5 scales both axes by it (val.py, utils/general.py scale_boxes); where rounding a side up made the scale of the
    width another, detections and labels are off alike.
    """
    _, offsets = frames(placements)
    gain = np.array([p.gain_y for p in placements], dtype=np.float64)
    extent = np.array([(p.width, p.height) * 2 for p in placements], dtype=np.float64)
    scaled = (boxes.box - offsets[boxes.image]) / gain[boxes.image, None]
    return Boxes(boxes.image, boxes.cls, np.clip(scaled, 0, extent[boxes.image]).astype(np.float32))


def _rotated(matches: Matches, found: Detections, batch: _Batch) -> Matches:
    """The matches by rotated boxes, upright hulls in the place of boxes."""
    labels = np.concatenate(
        [
            rotated_labels(polygons_in_batch(batch.labelled, image, placement, CORNER_POINTS), batch.shape)
            for image, placement in zip(batch.images.tolist(), batch.placements, strict=True)
        ]
    )
    detections = np.hstack([found.box, found.extra.cpu().numpy()])
    tp = true_positives(Boxes(found.image, found.cls, found.box), batch.boxes, by_probabilistic_iou(detections, labels))
    gains, offsets = frames(batch.placements)
    det_rotated = in_image(detections, gains[found.image], offsets[found.image])
    gt_rotated = in_image(labels, gains[batch.image], offsets[batch.image])
    return replace(
        matches,
        tp=tp,
        det_box=hulls(det_rotated),
        gt_box=hulls(gt_rotated),
        det_rotated=det_rotated,
        gt_rotated=gt_rotated,
    )


def _further(network: Network, found: Detections, prototypes: Any, batch: _Batch) -> Similarity | None:
    """How alike masks or keypoints are; None for a task of boxes only."""
    if network.task == "segment":
        return _by_masks(found, prototypes, batch)
    if network.task == "pose" and batch.labelled.keypoints is not None:
        return _by_keypoints(found, batch.labelled.keypoints[batch.rows], batch)
    return None


def _by_keypoints(found: Detections, keypoints: NDArray[np.float32], batch: _Batch) -> Similarity:
    """Object keypoint similarity; `keypoints` are the batch's labels', of the shape that the network predicts."""
    shape = (keypoints.shape[1], keypoints.shape[2])
    gains, offsets = frames(batch.placements)
    extent = np.array([(p.width, p.height) for p in batch.placements], dtype=np.float64)
    in_batch = keypoints[..., :2] * (extent * gains[:, :2])[batch.image, None] + offsets[batch.image, None, :2]
    return by_keypoints(
        found.extra.cpu().numpy().reshape(len(found.cls), *shape),
        in_batch.astype(np.float32),
        visible(keypoints),
        batch.in_batch,
        scales(shape, batch.labelled.sigmas),
    )


def _by_masks(found: Detections, prototypes: Any, batch: _Batch) -> Similarity:
    """Mask IoU, computed image by image; a pair is then looked up. Raises TooCrowdedError."""
    images = np.arange(len(batch.images) + 1)
    det_start, gt_start = np.searchsorted(found.image, images), np.searchsorted(batch.image, images)
    boxes = torch.from_numpy(found.box).to(found.extra.device)
    overlaps = []
    for image, placement in enumerate(batch.placements):
        detections, labels = slice(*det_start[image : image + 2]), int(gt_start[image + 1] - gt_start[image])
        if int(np.diff(det_start)[image]) * labels > MOST_FOUND:
            raise TooCrowdedError(image)
        polygons = list(polygons_in_batch(batch.labelled, int(batch.images[image]), placement, OUTLINE_POINTS))
        owner = label_map(polygons, batch.shape)
        overlap = mask_iou(prototypes[image], found.extra[detections], boxes[detections], owner, labels)
        overlaps.append(overlap.ravel())
    start = np.cumsum([0, *(len(overlap) for overlap in overlaps)])
    width, joined = np.diff(det_start), np.concatenate(overlaps)

    def similarity(detection: NDArray[np.intp], label: NDArray[np.intp]) -> NDArray[np.float32]:
        image = found.image[detection]
        row, column = label - gt_start[image], detection - det_start[image]
        return np.asarray(joined[start[image] + row * width[image] + column])

    return similarity
