"""Masks: those of labels drawn, those of detections put together, and how much both overlap, image by image.

All masks are a quarter of their batch's height and width, which is how the framework compares them (mask_ratio 4 and
the prototypes' own size: models/yolo/segment/val.py of ultralytics 8.4.190).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.evaluation.polygons import Polygon

RATIO: Final = 4
_EPSILON: Final = 1e-7
_MOST_VALUES: Final = 2**25
"""values of the masks that are compared at a time: 1310 masks of 160 x 160, 128 MiB an array"""


def label_map(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Which label each pixel belongs to, counted from 1; 0 for none.

    `polygons` are in pixels of a batch of `shape` (height, width), multiples of 4. Smaller masks lie over larger ones
    (overlap_mask; data/utils.py polygons2masks_overlap). Each mask is drawn twice, once for its area, so that there is
    never more than one of them at a time.
    """
    areas = np.array([int(_drawn(polygon, shape)[0].sum()) for polygon in polygons], dtype=np.uint64)
    owner = np.zeros((shape[0] // RATIO, shape[1] // RATIO), dtype=np.int32)
    # Negated as unsigned numbers and sorted by NumPy's default, as in the framework, for the order of equal areas.
    for label in np.argsort(-areas).tolist():
        mask, place = _drawn(polygons[label], shape)
        owner[place][mask] = label + 1
    return owner


def _drawn(polygon: Polygon, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
    """A polygon's mask where it is not empty, and where that lies in the whole.

    The framework fills the polygon of whole pixels in the size of the batch and makes that smaller linearly. With 4
    pixels to one, whatever lies outside the cut changes nothing.
    """
    corners = polygon.astype(np.int32)
    low = np.clip(corners.min(axis=0), 0, (shape[1] - 1, shape[0] - 1)) // RATIO
    high = np.clip(corners.max(axis=0), 0, (shape[1] - 1, shape[0] - 1)) // RATIO + 1
    canvas = np.zeros(((high - low)[::-1] * RATIO), dtype=np.uint8)
    cv2.fillPoly(canvas, [corners - (low * RATIO).astype(np.int32)], color=1)
    small = cv2.resize(canvas, (int(high[0] - low[0]), int(high[1] - low[1])))
    return small.astype(bool), (slice(low[1], high[1]), slice(low[0], high[0]))


@torch.inference_mode()
def mask_iou(
    prototypes: torch.Tensor, coefficients: torch.Tensor, boxes: torch.Tensor, owner: NDArray[np.int32], labels: int
) -> NDArray[np.float32]:
    """IoU (labels, n) of the masks of an image's labels and of its n detections.

    Args:
        prototypes: (c, h, w) the image's mask prototypes.
        coefficients: (n, c) of the detections.
        boxes: (n, 4) of the detections, in pixels of the batch; their masks end there.
        owner: (h, w) `label_map`.
        labels: how many labels the image has.

    Detections and labels are taken in parts of bounded size; sums of whole numbers are the same in any order.
    """
    _, height, width = prototypes.shape
    device = prototypes.device
    pixels = height * width
    step = max(1, _MOST_VALUES // pixels)
    owners = torch.from_numpy(owner).to(device).flatten()
    found: Any = torch.zeros((labels, len(boxes)), device=device)
    for at in range(0, len(boxes), step):
        part = slice(at, at + step)
        masks: Any = framework().utils.ops.process_mask(
            prototypes, coefficients[part], boxes[part], (height * RATIO, width * RATIO)
        )
        masks = masks.flatten(1).float()
        for first in range(0, labels, step):
            ids = torch.arange(first + 1, min(first + step, labels) + 1, device=device)
            drawn = (owners[None] == ids[:, None]).float()
            shared = drawn @ masks.T
            union = drawn.sum(1)[:, None] + masks.sum(1)[None] - shared
            found[first : first + step, part] = shared / (union + _EPSILON)
    return np.asarray(found.cpu().numpy())
