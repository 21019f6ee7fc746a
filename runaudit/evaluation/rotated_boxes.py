"""Rotated boxes: from the corners of labels, suppressed, compared, and in the pixels of their images.

A rotated box is (centre x, centre y, width, height, angle in radians), the five columns of an array.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.evaluation.matching import Matches, Similarity
from runaudit.evaluation.polygons import Polygon

Rotated = NDArray[np.float32]
"""(n, 5)"""

MOST_CANDIDATES: Final = 30_000
"""candidates of an image that suppression starts with, the most confident (utils/nms.py max_nms)"""
CLASS_OFFSET: Final = 7680
"""pixels by which the classes are moved apart before boxes are compared (utils/nms.py max_wh)"""
_BLOCK_PAIRS: Final = 2**21
"""Pairs of boxes compared at a time: about 12 arrays of 8 MiB. The framework compares all pairs at once, up to 30,000
squared, with 3.6 GB for each array."""


def rotated_labels(polygons: Iterable[Polygon], shape: tuple[int, int]) -> Rotated:
    """The smallest rectangle around each polygon, the longer side as width and the angle from -45 to 135 degrees.

    Polygons are in pixels of a batch of `shape` (height, width). As in the framework (utils/ops.py xyxyxyxy2xywhr), it
    is OpenCV's; only its results, ties between equal rectangles among them, give the framework's angles. Boxes pass
    through shares of the batch's size, in single precision, on their way to its validator.
    """
    found = [cv2.minAreaRect(polygon) for polygon in polygons]
    rows = np.array([(*centre, *size, angle / 180 * np.pi) for centre, size, angle in found], dtype=np.float64)
    rows = rows.reshape(-1, 5)
    upright = rows[:, 2] < rows[:, 3]
    rows[upright, 2:4] = rows[upright, 3:1:-1]
    rows[upright, 4] += np.pi / 2
    rows[:, 4] = (rows[:, 4] + np.pi / 4) % np.pi - np.pi / 4
    boxes = rows.astype(np.float32)
    extent = np.array(shape[::-1] * 2, dtype=np.float32)
    boxes[:, :4] = boxes[:, :4] / extent * extent
    return boxes


def by_probabilistic_iou(detections: Rotated, labels: Rotated) -> Similarity:
    """How alike a detection and a label are as normal distributions (Llerena et al., arXiv 2106.06072)."""
    metrics = framework().utils.metrics

    def similarity(detection: NDArray[np.intp], label: NDArray[np.intp]) -> NDArray[np.float32]:
        alike = np.empty(len(detection), dtype=np.float32)
        for at in range(0, len(detection), _BLOCK_PAIRS):
            part = slice(at, at + _BLOCK_PAIRS)
            pairs = torch.from_numpy(labels[label[part]]), torch.from_numpy(detections[detection[part]])
            alike[part] = metrics.probiou(*pairs)[:, 0].numpy()
        return alike

    return similarity


def similarity_of(matches: Matches) -> Similarity | None:
    """How the boxes of these matches are compared in pixels of their images; None for the IoU of upright ones."""
    if matches.det_rotated is None or matches.gt_rotated is None:
        return None
    return by_probabilistic_iou(matches.det_rotated, matches.gt_rotated)


@torch.inference_mode()
def suppressed_rotated(
    predictions: torch.Tensor, *, classes: int, confidence: float, iou: float, max_detections: int, agnostic: bool
) -> list[torch.Tensor]:
    """Suppression of rotated boxes, image by image: (n, 7) box (4), confidence, class, angle, by falling confidence.

    `predictions` is (images, 4 + classes + 1, anchors). A box is dropped if it is too like any more confident one of
    its class, dropped itself or not (Fast NMS: Bolya et al., arXiv 1904.02689; utils/nms.py). Candidates, their order
    and the arithmetic are the framework's, but pairs are compared in blocks and within classes only.
    """
    kept = []
    for image in predictions.transpose(-1, -2):
        box, scores, angle = image.split((4, classes, 1), 1)
        if classes > 1:
            anchor, cls = torch.where(scores > confidence)
            score = scores[anchor, cls]
        else:
            anchor = torch.where(scores[:, 0] > confidence)[0]
            score, cls = scores[anchor, 0], torch.zeros_like(anchor)
        rows = torch.cat((box[anchor], score[:, None], cls[:, None].float(), angle[anchor]), 1)
        if len(rows) > MOST_CANDIDATES:
            rows = rows[rows[:, 4].argsort(descending=True)[:MOST_CANDIDATES]]
        rows = rows[rows[:, 4].argsort(descending=True)]
        kept.append(rows[_unlike_any_before(rows, iou, agnostic=agnostic)][:max_detections])
    return kept


def _unlike_any_before(rows: torch.Tensor, iou: float, *, agnostic: bool) -> torch.Tensor:
    """Which rows, (n,), no earlier row of their class is more like than `iou`."""
    metrics = framework().utils.metrics
    cls = rows[:, 5] * 0 if agnostic else rows[:, 5]
    boxes = torch.cat((rows[:, :2] + cls[:, None] * CLASS_OFFSET, rows[:, 2:4], rows[:, 6:]), 1)
    unlike = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for class_id in torch.unique(cls):
        mine = torch.where(cls == class_id)[0]
        width = max(1, _BLOCK_PAIRS // len(mine))
        for at in range(0, len(mine), width):
            columns = mine[at : at + width]
            alike: Any = metrics.batch_probiou(boxes[mine[: at + len(columns)]], boxes[columns])
            before = mine[: at + len(columns), None] < columns[None]
            unlike[columns] = ~((alike > iou) & before).any(0)
    return unlike


def in_image(boxes: Rotated, gains: NDArray[np.float64], offsets: NDArray[np.float64]) -> Rotated:
    """Boxes of a batch in pixels of their images; gains and offsets (n, 4) as `batches.frames` has them, a row a box.

    Where both scales differ, which rounding a side up makes them by less than a pixel, the angle is kept nevertheless,
    as the framework does (utils/ops.py scale_boxes with xywh).
    """
    scaled = boxes.copy()
    scaled[:, :2] = (boxes[:, :2] - offsets[:, :2]) / gains[:, :2]
    scaled[:, 2:4] = boxes[:, 2:4] / gains[:, 2:]
    return scaled


def hulls(boxes: Rotated) -> NDArray[np.float32]:
    """The upright boxes (n, 4) x1, y1, x2, y2 around rotated ones."""
    cosine, sine = np.abs(np.cos(boxes[:, 4:])), np.abs(np.sin(boxes[:, 4:]))
    width, height = boxes[:, 2:3], boxes[:, 3:4]
    half = np.hstack([width * cosine + height * sine, width * sine + height * cosine]) / 2
    return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half]).astype(np.float32)
