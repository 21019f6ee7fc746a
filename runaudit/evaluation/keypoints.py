"""Object keypoint similarity: how near predicted keypoints are to labelled ones, as a share of 1."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.evaluation.matching import Similarity

AREA_SHARE: Final = np.float32(0.53)
"""of its box that an object covers, for keypoint data without masks (models/yolo/pose/val.py, after xtcocotools)"""
PERSON: Final = (17, 3)
"""the shape of COCO's keypoints, which have scales of their own"""
_EPSILON: Final = np.float32(1e-7)
_BLOCK_VALUES: Final = 2**22
"""keypoints compared at a time; 16 MiB an array"""


def scales(shape: tuple[int, int], own: tuple[float, ...]) -> NDArray[np.float32]:
    """How exactly each keypoint can be placed, (k,): the data set's own, COCO's for 17 points of 3 values, else 1 / k.

    models/yolo/pose/val.py init_metrics; OKS_SIGMA of utils/metrics.py.
    """
    if own:
        return np.asarray(own, dtype=np.float32)
    if shape == PERSON:
        return np.asarray(framework().utils.metrics.OKS_SIGMA, dtype=np.float32)
    return np.full(shape[0], 1 / shape[0], dtype=np.float32)


def visible(keypoints: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which keypoints (n, k, 2 or 3), as shares of the image's size, count: those with a visibility that is not 0.

    Without a visibility, those without a negative coordinate (data/utils.py verify_image_label).
    """
    if keypoints.shape[2] == 2:
        return np.asarray((keypoints >= 0).all(axis=2))
    return np.asarray(keypoints[..., 2] != 0)


def by_keypoints(
    detections: NDArray[np.float32],
    labels: NDArray[np.float32],
    counted: NDArray[np.bool_],
    box: NDArray[np.float32],
    sigma: NDArray[np.float32],
) -> Similarity:
    """The mean over a label's counted keypoints of exp(-d^2 / (2 (2 sigma)^2 area)), in single precision.

    Args:
        detections: (n, k, 2 or more), in pixels.
        labels: (m, k, 2), in the same pixels.
        counted: (m, k) which keypoints of the labels count; a label without any is like nothing.
        box: (m, 4) the labels' boxes, x1, y1, x2, y2.
        sigma: (k,) `scales`.

    Source: kpt_iou of utils/metrics.py of ultralytics 8.4.190, which follows COCO's evaluation.
    """
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) * AREA_SHARE
    spread = (2 * sigma) ** 2
    count = counted.sum(axis=1).astype(np.float32) + _EPSILON
    block = max(1, _BLOCK_VALUES // max(len(sigma), 1))

    def similarity(detection: NDArray[np.intp], label: NDArray[np.intp]) -> NDArray[np.float32]:
        alike = np.empty(len(detection), dtype=np.float32)
        for at in range(0, len(detection), block):
            mine, theirs = detection[at : at + block], label[at : at + block]
            distance = ((labels[theirs] - detections[mine, :, :2]) ** 2).sum(axis=2)
            near = np.exp(-distance / (spread * (area[theirs, None] + _EPSILON) * 2))
            alike[at : at + block] = (near * counted[theirs]).sum(axis=1) / count[theirs]
        return alike

    return similarity
