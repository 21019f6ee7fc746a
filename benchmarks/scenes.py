"""Made-up detections of made-up labels, with every kind of error in known shares: what statistics are measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import Boxes, Matches, true_positives

LABELS_PER_IMAGE = 7.3
"""as in COCO val2017: 36,335 boxes on 4,952 images"""
SIDE = 640
"""pixels of an image"""


def scenes(images: int, per_image: int, classes: int, *, seed: int = 0, labels: float = LABELS_PER_IMAGE) -> Matches:
    """Matches of a detector of about 0.4 mAP50-95 on `images` images, `per_image` detections on each.

    Of the labels 80 % are found, with the box off by some, 5 % under a wrong class, and 10 % twice; the other
    detections lie anywhere. Confidences of what was found are higher. Sizes span COCO's three ranges.
    """
    rng = np.random.default_rng(seed)
    counts = rng.poisson(labels, images)
    gt_image = np.repeat(np.arange(images, dtype=np.int32), counts)
    gt_cls = rng.integers(0, classes, len(gt_image)).astype(np.int32)
    gt_box = _boxes(rng, len(gt_image))
    draw = rng.uniform(size=len(gt_image))
    found = np.flatnonzero(draw < 0.8)
    found = np.r_[found, found[rng.uniform(size=len(found)) < 0.1]]
    cls = gt_cls[found].copy()
    wrong = rng.uniform(size=len(found)) < 0.05
    cls[wrong] = rng.integers(0, classes, int(wrong.sum()))
    spread = rng.choice([0.02, 0.08, 0.25], size=(len(found), 1))
    sides = gt_box[found, 2:] - gt_box[found, :2]
    box = gt_box[found] + rng.normal(0, 1, (len(found), 4)) * spread * np.tile(sides, 2)
    others = np.maximum(per_image - np.bincount(gt_image[found], minlength=images), 0)
    det_image = np.r_[gt_image[found], np.repeat(np.arange(images, dtype=np.int32), others)]
    det_cls = np.r_[cls, rng.integers(0, classes, others.sum())].astype(np.int32)
    det_box = np.r_[_ordered(box), _boxes(rng, int(others.sum()))].astype(np.float32)
    conf = np.r_[rng.beta(2, 2, len(found)), rng.beta(0.4, 4, others.sum())]
    conf = np.clip(conf, 0.001, 1).astype(np.float32)
    order = np.lexsort((-conf, det_image))
    rank = np.arange(len(order)) - np.searchsorted(det_image[order], det_image[order])
    order = order[rank < per_image]
    detections = Boxes(det_image[order], det_cls[order], det_box[order])
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=detections.image.astype(np.int32),
        det_cls=detections.cls,
        det_conf=conf[order],
        det_box=detections.box,
        tp=true_positives(detections, Boxes(gt_image, gt_cls, gt_box)),
        gt_image=gt_image,
        gt_cls=gt_cls,
        gt_box=gt_box,
    )


def _boxes(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Boxes of sides of 8 to 256 pixels inside the image."""
    side = np.exp(rng.uniform(np.log(8), np.log(256), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (SIDE - side)
    return np.hstack([corner, corner + side]).astype(np.float32)


def _ordered(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes with the lesser corner first and at least a pixel a side."""
    least = np.minimum(box[:, :2], box[:, 2:])
    return np.hstack([least, np.maximum(np.maximum(box[:, :2], box[:, 2:]), least + 1)])
