"""Small sets of labels and detections for the tests of what is read off matches, by hand or by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import scenes
from runaudit.evaluation.matching import Boxes, Matches, true_positives

Box = Sequence[float]


def by_hand(
    labels: Sequence[tuple[int, int, Box]], detections: Sequence[tuple[int, int, float, Box]], images: int = 1
) -> Matches:
    """Matches of labels (image, class, box) and detections (image, class, confidence, box), boxes as x1, y1, x2, y2."""
    ordered = sorted(detections, key=lambda entry: (entry[0], -entry[2]))
    found = Boxes(
        np.array([entry[0] for entry in ordered], np.int32),
        np.array([entry[1] for entry in ordered], np.int32),
        np.array([entry[3] for entry in ordered], np.float32).reshape(-1, 4),
    )
    given = Boxes(
        np.array([entry[0] for entry in labels], np.int32),
        np.array([entry[1] for entry in labels], np.int32),
        np.array([entry[2] for entry in labels], np.float32).reshape(-1, 4),
    )
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=found.image,
        det_cls=found.cls,
        det_conf=np.array([entry[2] for entry in ordered], np.float32),
        det_box=found.box,
        tp=true_positives(found, given),
        gt_image=given.image,
        gt_cls=given.cls,
        gt_box=given.box,
    )


def by_chance(seed: int, images: int, per_image: int, classes: int, labels: float = 7.3) -> Matches:
    """`benchmarks.scenes` with confidences that are all different, so that no result hangs on the order of ties.

    Detections of classes without labels are left out: peers differ in whether they count.
    """
    matches = scenes(images, per_image, classes, seed=seed, labels=labels)
    distinct = np.linspace(0.001, 0.999, len(matches.det_conf)).astype(np.float32)
    conf = np.empty_like(matches.det_conf)
    conf[np.argsort(matches.det_conf, kind="stable")] = distinct
    # The falling order within images stays as it was: ties are broken the way the rows stand.
    order = np.lexsort((-conf, matches.det_image))
    matches = replace(matches, det_conf=conf).taking(detections=order, labels=np.arange(len(matches.gt_cls)))
    kept = np.flatnonzero(np.isin(matches.det_cls, matches.gt_cls))
    matches = matches.taking(detections=kept, labels=np.arange(len(matches.gt_cls)))
    found = Boxes(matches.det_image, matches.det_cls, matches.det_box)
    return replace(matches, tp=true_positives(found, Boxes(matches.gt_image, matches.gt_cls, matches.gt_box)))


def images_permuted(matches: Matches, seed: int) -> Matches:
    """The same with the images in another order."""
    place = np.random.default_rng(seed).permutation(len(matches.image)).astype(np.int32)
    det_image, gt_image = place[matches.det_image], place[matches.gt_image]
    det, gt = np.argsort(det_image, kind="stable"), np.argsort(gt_image, kind="stable")
    moved = replace(matches, det_image=det_image, gt_image=gt_image)
    return moved.taking(detections=det, labels=gt)


def as_sides(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """Boxes as x, y, width, height in double precision, as pycocotools takes them."""
    wide = box.astype(np.float64)
    return np.hstack([wide[:, :2], wide[:, 2:] - wide[:, :2]])
