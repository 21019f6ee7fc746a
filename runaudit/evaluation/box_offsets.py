"""Are labels systematically looser, tighter or shifted, measured by the residuals of sure detections?

Where training and validation were labelled alike, a detector learns the annotators' habit and no residual is left. What
is left is a difference of habit between the two, or a mistake in reading or writing the boxes of one of them.

Each edge is measured by itself, because of a large object one edge in four lies at the border of the image, where a
habit can't show, and the other three say as much as those of any other object.
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
"""a label twice as large as its object in area still overlaps it by 0.5; one twice as large in both sides by 0.25. So
no label of a pair has less than this share of its detection's side, nor more than its inverse"""
MARGIN: Final = 0.01
"""an edge within this share of the image's sides at its border doesn't count: labels are cut off there, detections are
not"""
FENCE: Final = 5.0
"""median absolute deviations beyond which a residual is cut: it is an error of one box, not a habit"""
FEWEST: Final = 30
"""boxes behind the mean of an edge"""
_SUMS: Final = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])
"""what widths, heights and the centre's place have more, of the displacements of left, top, right and bottom"""


@dataclass(frozen=True)
class Residuals:
    """Of sure detections and the labels that they fit best: `label` and `detection` (n,) rows, and `value` (n, 4).

    The columns of `value` are how far the label's left, top, right and bottom edge lie outside the detection's, over
    the detection's side on that axis; NaN where the border of the image is too near to say (MARGIN).
    """

    label: NDArray[np.intp]
    detection: NDArray[np.intp]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Habit:
    """What is constant in residuals.

    `edge` (4,) is the mean of each of their columns. `mean` (4,), with its 95 % interval `ci95` (4, 2), is what they
    add up to: the logarithms of width and height of a label over those of its detection, and how far the label's centre
    lies to the right and below, over the detection's sides. `boxes` are the fewest that a column's mean is of.
    """

    edge: NDArray[np.float64]
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
    target, found = matches.gt_box[label].astype(np.float64), matches.det_box[detection].astype(np.float64)
    size = sizes[matches.gt_image[label]]
    side = np.tile(np.maximum(found[:, 2:] - found[:, :2], 1e-6), 2)
    outwards = np.where(np.arange(4) < 2, found - target, target - found) / side
    counts = _inside(target, size) & _inside(found, size)
    some = counts.any(axis=1)
    return Residuals(label[some], detection[some], np.where(counts, outwards, np.nan)[some])


def _inside(box: NDArray[Any], size: NDArray[Any]) -> NDArray[np.bool_]:
    """Which edges (n, 4) of boxes in images of `size` (n, 2) lie MARGIN or more away from the border."""
    extent = np.tile(size, 2)
    inside: NDArray[np.bool_] = (box > MARGIN * extent) & (box < (1 - MARGIN) * extent)
    return inside


def habit(image: NDArray[Any], value: NDArray[np.float64], *, fewest: int = FEWEST) -> Habit | None:
    """What is constant in the residuals `value` (n, 4), whose boxes lie in `image` (n,).

    None if an edge counts in fewer boxes than `fewest`, or all of them lie in one image. Residuals are cut at FENCE
    deviations from their median. The interval takes images, or groups of them, as the units drawn, by the linearised
    variance of a ratio (Cochran, Sampling Techniques (1977), section 2.11): an edge's mean is its sum over the boxes
    where it counts, and what an image has to do with a sum of means is the sum of what it has to do with each.
    """
    counts = ~np.isnan(value)
    number = counts.sum(axis=0)
    _, place = np.unique(image, return_inverse=True)
    clusters = int(place.max()) + 1 if len(place) else 0
    if number.min() < fewest or clusters < 2:
        return None
    median = np.nanmedian(value, axis=0)
    spread = FENCE * 1.4826 * np.nanmedian(np.abs(value - median), axis=0)
    cut = np.clip(value, median - spread, median + spread)
    edge = np.nanmean(cut, axis=0)
    shares = np.where(counts, cut - edge, 0.0) / number
    influence = np.stack([np.bincount(place, weights=column, minlength=clusters) for column in shares.T])
    half = Z95 * np.sqrt(((_SUMS @ influence) ** 2).sum(axis=1) * clusters / (clusters - 1))
    mean = _SUMS @ edge
    scale = _over_detection(mean[:2])
    mean[:2], half[:2] = np.log(scale), half[:2] / scale
    return Habit(edge, mean, np.stack([mean - half, mean + half], axis=1), int(number.min()))


def corrected(box: NDArray[np.float32], edge: NDArray[np.float64], size: NDArray[Any]) -> NDArray[np.float32]:
    """The label boxes (m, 4), in images of `size` (m, 2), with the displacements `edge` (4,) taken off them.

    An edge at the border stays where it is: the label was cut off there.
    """
    moved = np.where(_inside(box, size), edge, 0.0)
    side = (box[:, 2:] - box[:, :2]) / _over_detection(moved[:, :2] + moved[:, 2:])
    inwards = moved * np.tile(side, 2) * np.where(np.arange(4) < 2, 1, -1)
    result: NDArray[np.float32] = (box + inwards).astype(np.float32)
    return result


def _over_detection(displacement: NDArray[np.float64]) -> NDArray[np.float64]:
    """The side of a label over its detection's, of how far its two edges lie outside, together."""
    # Opposite edges are seldom of the same boxes throughout: only of one box can the sum not be less than this.
    return np.maximum(1.0 + displacement, LEAST_IOU)
