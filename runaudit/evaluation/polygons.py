"""Polygons of labels in the pixels of a batch, resampled and rounded as the framework does it before it uses them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.batches import Placement
from runaudit.evaluation.labels import Labelled

OUTLINE_POINTS: Final = 1000
"""points that a polygon is resampled to before it is drawn (data/dataset.py update_labels_info)"""
CORNER_POINTS: Final = 100
"""the same for the corners of rotated boxes"""

Polygon = NDArray[np.float32]
"""(n, 2) x and y"""


def polygons_in_batch(labelled: Labelled, image: int, placement: Placement, points: int) -> Iterator[Polygon]:
    """The polygon of each label of an image, in pixels of its batch, resampled to `points`.

    If one of the image has more points than that, all of the image get one point more than it has. `image` is a
    position in `labelled.entry`; its labels all have points.

    Each step is in single precision, in the framework's order: to the resized image, to the batch's scale, to its place
    (utils/instance.py, data/augment.py LetterBox). Where a label lies on the edge of a pixel, a last bit decides.
    """
    if labelled.points is None or labelled.point_start is None:
        return
    start = labelled.point_start[labelled.start[image] : labelled.start[image + 1] + 1]
    most = int(np.diff(start).max(initial=0))
    number = most + 1 if most > points else points
    size = np.array(placement.resized, dtype=np.float32)
    margin = np.array((placement.left, placement.top), dtype=np.float32)
    for first, last in zip(start[:-1].tolist(), start[1:].tolist(), strict=True):
        yield resampled(labelled.points[first:last], number) * size * np.float32(placement.shrink) + margin


def resampled(polygon: Polygon, number: int) -> Polygon:
    """`number` points along the closed outline of `polygon`, its own among them where there is room for them.

    utils/ops.py resample_segments of ultralytics 8.4.190; a polygon of `number` points stays as it is.
    """
    if len(polygon) == number:
        return polygon
    corner, share = _positions(len(polygon), number)
    closed = np.concatenate([polygon, polygon[:1]]).astype(np.float64)
    step = np.diff(closed, axis=0, append=closed[-1:])
    return (step[corner] * share[:, None] + closed[corner]).astype(np.float32)


@lru_cache(maxsize=4096)
def _positions(corners: int, number: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each of `number` points on a closed outline, the corner before it, and its share of the way to the next."""
    own = np.arange(corners + 1)
    if corners + 1 < number:
        at = np.linspace(0, corners, number - (corners + 1))
        at = np.insert(at, np.searchsorted(at, own), own)
    else:
        at = np.linspace(0, corners, number)
    corner = np.minimum(at.astype(np.intp), corners)
    return corner, at - corner
