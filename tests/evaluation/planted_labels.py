"""A simulated detector's matches, and label errors to plant in any matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import Boxes, Matches, true_positives
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled

SIDE = 640
AT_A_BORDER = 0.9
"""share of the large objects that one border cuts off"""
ErrorKind = Literal["missing", "swap", "shift", "spawn", "duplicate"]


@dataclass(frozen=True)
class World:
    """How objects and the detector are. `difficulty` shifts confidences down and mistakes up; `crowd` packs objects."""

    images: int = 250
    classes: int = 4
    objects: float = 6.0
    difficulty: float = 0.0
    small: float = 0.0
    """share of objects that the detector can't see"""
    crowd: bool = False
    seed: int = 0


def simulated(world: World) -> Matches:
    """Matches of a detector with low confidences, as YOLO's are: true positives at 0.1 to 0.9, its mistakes below."""
    rng = np.random.default_rng(world.seed)
    counts = rng.poisson(world.objects, world.images)
    image = np.repeat(np.arange(world.images), counts)
    cls = rng.integers(0, world.classes, len(image))
    side = rng.uniform(40, 120, (len(image), 2))
    tiny = rng.uniform(size=len(image)) < world.small
    side[tiny] = rng.uniform(6, 12, (int(tiny.sum()), 2))
    spread = 0.25 * SIDE if world.crowd else SIDE - 120
    corner = rng.uniform(0, spread, (len(image), 2))
    box = np.hstack([corner, corner + side])
    ease = rng.beta(4, 2 + world.difficulty, len(image)) * np.where(tiny, 0, 1)
    seen = ease > 0.05
    jitter = rng.normal(0, 0.03, (len(image), 4)) * np.tile(side, 2)
    parts = [(image[seen], cls[seen], (0.95 * ease)[seen], (box + jitter)[seen])]
    # Second opinions of another class, and noise on background: many, and seldom sure.
    other = (cls + rng.integers(1, max(2, world.classes), len(image))) % world.classes
    doubt = 0.6 * rng.beta(1, 5 - world.difficulty, len(image)) * (other != cls)
    parts.append((image[seen], other[seen], doubt[seen], (box + 1.3 * jitter)[seen]))
    noise = world.images * 20
    side = rng.uniform(20, 120, (noise, 2))
    corner = rng.uniform(0, SIDE - 120, (noise, 2))
    unsure = 0.5 * rng.beta(0.5, 8 - 2 * world.difficulty, noise)
    noise_image = rng.integers(0, world.images, noise)
    parts.append((noise_image, rng.integers(0, world.classes, noise), unsure, np.hstack([corner, corner + side])))
    det_image, det_cls, conf, det_box = (np.concatenate([part[column] for part in parts]) for column in range(4))
    kept = conf >= 0.001
    det_image, det_cls, conf, det_box = det_image[kept], det_cls[kept], conf[kept], det_box[kept]
    return _matched(world.images, Boxes(image, cls, box), Boxes(det_image, det_cls, det_box), conf)


def _matched(images: int, labels: Boxes, detections: Boxes, conf: NDArray[np.float64]) -> Matches:
    """The matches of labels and detections in any order, in single precision."""
    order = np.lexsort((-conf, detections.image))
    labels, detections = (
        Boxes(boxes.image[rows].astype(np.int32), boxes.cls[rows].astype(np.int32), boxes.box[rows].astype(np.float32))
        for boxes, rows in ((labels, slice(None)), (detections, order))
    )
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=detections.image,
        det_cls=detections.cls,
        det_conf=conf[order].astype(np.float32),
        det_box=detections.box,
        tp=true_positives(detections, labels),
        gt_image=labels.image,
        gt_cls=labels.cls,
        gt_box=labels.box,
    )


def drawn_again(box: NDArray[np.float64], width: float, height: float, right: float, down: float):
    """The boxes (n, 4) so many times as wide and high, their centres moved by shares of the sides."""
    side = box[:, 2:] - box[:, :2]
    centre = (box[:, :2] + box[:, 2:]) / 2 + np.array([right, down]) * side
    side = side * np.array([width, height])
    return np.hstack([centre - side / 2, centre + side / 2])


def large_objects(images: int = 60, *, scale: float = 1.0, seed: int = 0) -> Matches:
    """Three large objects an image, most cut off by a border, seen surely; labels `scale` as large, cut off as well."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 3)
    rows = np.arange(len(image))
    side = rng.uniform(120, 220, (len(image), 2))
    corner = rng.uniform(60, SIDE - 60 - side)
    box = np.hstack([corner, corner + side])
    edge = rng.integers(0, 4, len(image))
    onto = np.where(edge < 2, 0.0, float(SIDE)) - box[rows, edge]
    moved = rng.uniform(size=len(image)) < AT_A_BORDER
    box[np.ix_(moved, [0, 2])] += np.where(edge % 2 == 0, onto, 0)[moved, None]
    box[np.ix_(moved, [1, 3])] += np.where(edge % 2 == 1, onto, 0)[moved, None]
    found = np.clip(box + rng.normal(0, 0.03, box.shape) * np.tile(side, 2), 0, SIDE)
    cls, drawn = np.zeros_like(image), np.clip(drawn_again(box, scale, scale, 0, 0), 0, SIDE)
    return _matched(images, Boxes(image, cls, drawn), Boxes(image, cls, found), rng.uniform(0.7, 0.95, len(image)))


def square_sizes(matches: Matches) -> NDArray[np.int64]:
    """Width and height of the simulated images."""
    return np.full((len(matches.image), 2), SIDE)


def planted(
    matches: Matches, sizes: NDArray[np.int64], kind: ErrorKind, rate: float, seed: int = 0
) -> tuple[Matches, NDArray[np.bool_]]:
    """The matches with errors in a share `rate` of the labels, and which of the old rows were drawn.

    Of `swap` and `shift` the new rows are the old ones; `missing` takes rows away, `spawn` and `duplicate` add some.
    """
    rng = np.random.default_rng(seed)
    hit = rng.uniform(size=len(matches.gt_cls)) < rate
    image, cls, box = matches.gt_image.copy(), matches.gt_cls.copy(), matches.gt_box.copy()
    side = box[:, 2:] - box[:, :2]
    classes = int(matches.gt_cls.max()) + 1
    if kind == "missing":
        image, cls, box = image[~hit], cls[~hit], box[~hit]
    elif kind == "swap":
        cls[hit] = (cls[hit] + rng.integers(1, classes, hit.sum())) % classes
    elif kind == "shift":
        move = rng.uniform(0.35, 0.6, (len(cls), 2)) * rng.choice([-1, 1], (len(cls), 2))
        box[hit] += np.tile(move * side, 2)[hit].astype(np.float32)
    else:
        rows = np.flatnonzero(hit)
        if kind == "spawn":
            new_image = rng.integers(0, len(matches.image), len(rows))
            extent = np.minimum(side[rows], sizes[new_image] - 1)
            corner = rng.uniform(size=extent.shape) * (sizes[new_image] - extent)
            new_box = np.hstack([corner, corner + extent])
            new_cls = rng.integers(0, classes, len(rows))
        else:
            new_image, new_cls = image[rows], cls[rows]
            new_box = box[rows] + rng.normal(0, 0.02, (len(rows), 4)) * np.tile(side[rows], 2)
        image, cls, box = np.r_[image, new_image], np.r_[cls, new_cls], np.vstack([box, new_box])
    return relabelled(matches, ULTRALYTICS, gt_image=image, gt_cls=cls, gt_box=box), hit
