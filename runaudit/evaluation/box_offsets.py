"""Are labels systematically looser, tighter or shifted, measured by the residuals of sure detections?

Where training and validation were labelled alike, a detector learns the annotators' habit and no residual is left. What
is left is a difference of habit between the two, or a mistake in reading or writing the boxes of one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.sightings import SURE, Sightings
from runaudit.proportions import Z95

LEAST_IOU: Final = 0.25
"""a label twice as large as its object in area still overlaps it by 0.5; one twice as large in both sides by 0.25"""
MARGIN: Final = 0.01
"""boxes that end within this share of the image's sides at its edge are left out: labels are cut there, detections
are not"""
FENCE: Final = 5.0
"""median absolute deviations beyond which a residual is cut: it is an error of one box, not a habit"""
FEWEST: Final = 30
"""boxes behind a mean"""


@dataclass(frozen=True)
class Residuals:
    """Of sure detections and the labels that they fit best: `label` and `detection` (n,) rows, and `value` (n, 4).

    The columns of `value` are log(width of the label / of the detection), the same of the heights, and how far the
    label's centre lies to the right and below, over the detection's width and height.
    """

    label: NDArray[np.intp]
    detection: NDArray[np.intp]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Habit:
    """The mean residual (4,), its 95 % interval (4, 2) and how many boxes are behind it."""

    mean: NDArray[np.float64]
    ci95: NDArray[np.float64]
    boxes: int


def residuals(matches: Matches, seen: Sightings, sizes: NDArray[Any]) -> Residuals:
    """Pair each label with the detection of its class that fits best, if each is the other's best and it is sure.

    Args:
        matches, seen: what is examined.
        sizes: (k, 2) width and height of each image in pixels.
    """
    pairs = seen.pairs
    chosen = pairs.kept(
        (pairs.iou >= LEAST_IOU)
        & (seen.rank[pairs.first] >= SURE)
        & (matches.det_cls[pairs.first] == matches.gt_cls[pairs.second])
    )
    _, of_label = largest(chosen.second, chosen.iou, len(matches.gt_cls))
    _, of_detection = largest(chosen.first, chosen.iou, len(matches.det_cls))
    rows = of_label[of_label >= 0]
    rows = rows[of_detection[chosen.first[rows]] == rows]
    label, detection = chosen.second[rows], chosen.first[rows]
    extent = np.tile(sizes[matches.gt_image[label]], 2)
    margin = MARGIN * extent
    target, found = matches.gt_box[label].astype(np.float64), matches.det_box[detection].astype(np.float64)
    inside = ((target > margin) & (target < extent - margin) & (found > margin) & (found < extent - margin)).all(axis=1)
    target, found = target[inside], found[inside]
    target_side = np.maximum(target[:, 2:] - target[:, :2], 1e-6)
    found_side = np.maximum(found[:, 2:] - found[:, :2], 1e-6)
    shift = (target[:, :2] + target[:, 2:] - found[:, :2] - found[:, 2:]) / 2 / found_side
    return Residuals(label[inside], detection[inside], np.hstack([np.log(target_side / found_side), shift]))


def habit(image: NDArray[Any], value: NDArray[np.float64]) -> Habit | None:
    """The mean residual of `value` (n, 4), whose boxes lie in `image` (n,); None for fewer than FEWEST.

    Residuals are cut at FENCE deviations from their median. The interval takes images, or groups of them, as the
    units drawn, by the linearised variance of a ratio (Cochran, Sampling Techniques (1977), section 2.11).
    """
    if len(value) < FEWEST:
        return None
    median = np.median(value, axis=0)
    spread = FENCE * 1.4826 * np.median(np.abs(value - median), axis=0)
    cut = np.clip(value, median - spread, median + spread)
    mean = cut.mean(axis=0)
    _, place = np.unique(image, return_inverse=True)
    clusters = int(place.max()) + 1
    sums = np.stack([np.bincount(place, weights=column, minlength=clusters) for column in (cut - mean).T])
    variance = (sums**2).sum(axis=1) * clusters / max(1, clusters - 1)
    half = Z95 * np.sqrt(variance) / len(value)
    return Habit(mean, np.stack([mean - half, mean + half], axis=1), len(value))


def corrected(box: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """The label boxes (m, 4) with the habit `mean`, (4,) or (m, 4), taken off them."""
    mean = np.atleast_2d(mean)
    centre = (box[:, :2] + box[:, 2:]) / 2
    side = (box[:, 2:] - box[:, :2]) * np.exp(-mean[:, :2])
    centre = centre - mean[:, 2:] * side
    return np.hstack([centre - side / 2, centre + side / 2]).astype(np.float32)
