"""Confidence intervals of mAP by resampling images, or groups of them that belong together; never resampling boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from runaudit.evaluation.accumulate import running_sum
from runaudit.evaluation.average_precision import area, ramp_area
from runaudit.evaluation.distinct_images import independent_by_class, independent_images
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.matching import IOU_THRESHOLDS, Matches
from runaudit.evaluation.protocol import ULTRALYTICS, AveragePrecision
from runaudit.proportions import COVERAGE, wilson_of_share

REPLICATES: Final = 1000
FEW_IMAGES: Final = 5
"""Images that differ, below which replicates hold the same few and their interval is too narrow. benchmarks/
few_images.py: percentile intervals hold the population's mAP50-95 in 0 of 100 samples of one image, 35 to 47 of two, 64
to 75 of three, 71 to 83 of five, and from there on no more often up to 20; widened ones in 97 to 100."""
_BLOCK_CELLS: Final = 2**25
"""weights held at a time (images x replicates); 128 MiB"""
_HIT_CELLS: Final = 2**24
"""counts held at a time (true positives of a class x replicates); 128 MiB each"""


@dataclass(frozen=True)
class Bootstrap:
    """Metrics of each replicate: `map50` and `map50_95` (b,), `class_map50_95` (b, k) in the order of `classes` (k,).

    A class that a replicate drew no label of is NaN there and left out of that replicate's mean, as the framework
    would leave it out. `distinct` counts the labelled images that differ, `class_distinct` (k,) those of each class;
    images of one group count as one at most.
    """

    classes: NDArray[np.int64]
    map50: NDArray[np.float64]
    map50_95: NDArray[np.float64]
    class_map50_95: NDArray[np.float64]
    distinct: int
    class_distinct: NDArray[np.int64]


def interval(samples: NDArray[np.float64]) -> Interval | None:
    """The percentile interval of COVERAGE of replicates (b,), NaN left out; None if nothing is left.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.3.
    """
    finite = samples[~np.isnan(samples)]
    if not len(finite):
        return None
    lower, upper = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(lower), float(upper)


def metric_interval(ends: Interval | None, value: float, distinct: int) -> Interval | None:
    """The interval of a metric in [0, 1] that is `value`, from its percentile interval over `distinct` images that
    differ.

    With fewer than FEW_IMAGES, or where no replicate differs (a figure of 0 or 1), it is widened to Wilson's interval
    of a share seen in as many trials: one image, or copies of one, know nothing of others.
    """
    if ends is None or (distinct >= FEW_IMAGES and ends[1] > ends[0]):
        return ends
    outer = wilson_of_share(min(max(value, 0.0), 1.0), distinct)
    return min(ends[0], outer[0]), max(ends[1], outer[1])


def difference_interval(ends: Interval | None, value: float, distinct: int) -> Interval | None:
    """The interval of a difference of two metrics, in [-1, 1], as `metric_interval`.

    It is widened with fewer than FEW_IMAGES images that differ only: a change that changes nothing on more is known to
    change nothing.
    """
    if ends is None or distinct >= FEW_IMAGES:
        return ends
    outer = wilson_of_share(min(max((1 + value) / 2, 0.0), 1.0), distinct)
    return min(ends[0], 2 * outer[0] - 1), max(ends[1], 2 * outer[1] - 1)


def unit_draws(units: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """For each replicate, `units` positions drawn with replacement. The same seed draws the same, whatever follows."""
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        yield generator.integers(0, units, size=units)


def bootstrap(
    matches: Matches,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    kind: AveragePrecision = ULTRALYTICS.average_precision,
) -> Bootstrap:
    """Compute mAP again for `replicates` samples of the images, drawn with replacement; those of a group together.

    Frames of one scene are no independent images: drawn one by one, their interval is too narrow (benchmarks/
    grouped_images.py).

    An image that is drawn twice counts as two images with the same detections and labels. Since the detections of a
    copy follow each other in the order of confidence, weighting each detection by how often its image was drawn gives
    the same average precision as copying it (see `average_precision.area`). Detections are matched and sorted once;
    detections behind a class' last true positive count only in the ramp of YOLOv5's average precision, and there by
    their number. Memory is bounded by the number of detections, _BLOCK_CELLS and _HIT_CELLS, not by the number of
    replicates.
    """
    classes = np.unique(matches.gt_cls.astype(np.int64))
    ranked = _ranked(matches, classes)
    result = np.full((replicates, len(classes), len(IOU_THRESHOLDS)), np.nan)
    done = 0
    most = max((len(detections.hit_row) for detections in ranked), default=0)
    for weights in image_weights(matches.unit, replicates, seed, width=_HIT_CELLS // max(most, 1)):
        block = slice(done, done + weights.shape[1])
        for column, detections in enumerate(ranked):
            result[block, column] = detections.average_precision(weights, ramp=kind.ramp)
        done += weights.shape[1]
    return Bootstrap(
        classes=classes,
        map50=_mean_over_classes(result[:, :, 0]),
        map50_95=_mean_over_classes(result.mean(axis=2)),
        class_map50_95=result.mean(axis=2),
        distinct=independent_images(matches),
        class_distinct=independent_by_class(matches, classes),
    )


def _mean_over_classes(per_class: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row without NaN; NaN where nothing is left."""
    present = ~np.isnan(per_class)
    count = present.sum(axis=1)
    total = np.where(present, per_class, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def image_weights(unit: NDArray[Any], replicates: int, seed: int, *, width: int) -> Iterator[NDArray[np.float32]]:
    """How often each image was drawn, (images, b) for each block of at most `width` replicates.

    The draws are those of `unit_draws`: whole units, of which `unit` (images,) numbers each image's from 0. A block
    holds no more than _BLOCK_CELLS weights.
    """
    images, units = len(unit), int(unit.max(initial=-1)) + 1
    draws = unit_draws(units, replicates, seed)
    width = max(1, min(replicates, width, _BLOCK_CELLS // max(images, 1)))
    for first in range(0, replicates, width):
        block = np.empty((min(width, replicates - first), images), dtype=np.float32)
        for row, draw in zip(block, draws, strict=False):
            row[:] = np.bincount(draw, minlength=units)[unit]
        yield np.ascontiguousarray(block.T)


def row_sums(image: NDArray[Any], ends: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights summed over stretches of rows: (s, b).

    Args:
        image: (n,) the image of each row.
        ends: (s,) where each stretch ends, increasing; it begins where the one before it ends, the first at row 0.
        weights: (images, b).

    Sums are exact up to 2**24. A sparse product does it without writing the (n, b) weights out.
    """
    ends = np.asarray(ends, dtype=np.int64)
    image = np.asarray(image[: ends[-1]] if len(ends) else image[:0], dtype=np.int64)
    ones = np.ones(len(image), dtype=np.float32)
    sums = csr_array((ones, image, np.r_[0, ends]), shape=(len(ends), len(weights))) @ weights
    return np.asarray(sums, dtype=np.float32)


@dataclass(frozen=True)
class _Ranked:
    """The detections of one class by falling confidence.

    `image` (n,) is the image of each; `hit_row` (h,) the rows that are a true positive at any threshold;
    `hit` (h, 10) at which; `gt_image` (m,) the image of each label.
    """

    image: NDArray[np.int32]
    hit_row: NDArray[np.intp]
    hit: NDArray[np.bool_]
    gt_image: NDArray[np.int32]

    def average_precision(self, weights: NDArray[np.float32], *, ramp: bool) -> NDArray[np.float64]:
        """AP at each threshold for each replicate: weights (images, b) give (b, 10); NaN where no label was drawn."""
        labels = self._total(self.gt_image, weights)
        result = np.zeros((weights.shape[1], len(IOU_THRESHOLDS)))
        if len(self.hit_row):
            detections = np.maximum(running_sum(row_sums(self.image, self.hit_row + 1, weights)), 1)
            hits = weights[self.image[self.hit_row]]
            everything = self._total(self.image, weights) if ramp else None
            for threshold in range(len(IOU_THRESHOLDS)):
                rows = self.hit[:, threshold]
                if rows.any():
                    found = running_sum(hits[rows])
                    result[:, threshold] = area(found, detections[rows], np.maximum(labels, 1))
                    if everything is not None:
                        result[:, threshold] += ramp_area(found[-1], everything, np.maximum(labels, 1))
        result[labels == 0] = np.nan
        return result

    @staticmethod
    def _total(image: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """The weights of all rows together: (b,)."""
        total: NDArray[np.float64] = row_sums(image, np.array([len(image)]), weights)[0].astype(np.float64)
        return total


def _ranked(matches: Matches, classes: NDArray[np.int64]) -> list[_Ranked]:
    """The detections of each of `classes`; of equal confidences the first row stands first."""
    order = np.lexsort((-matches.det_conf, matches.det_cls))
    of_class = np.searchsorted(matches.det_cls, [classes, classes + 1], side="left", sorter=order).T
    labels = np.argsort(matches.gt_cls, kind="stable")
    labels_of_class = np.searchsorted(matches.gt_cls, [classes, classes + 1], side="left", sorter=labels).T
    is_hit = np.asarray(matches.tp.any(axis=1))
    ranked = []
    for (start, end), (first, last) in zip(of_class, labels_of_class, strict=True):
        mine = order[start:end]
        hit_row = np.flatnonzero(is_hit[mine])
        ranked.append(
            _Ranked(
                image=matches.det_image[mine],
                hit_row=hit_row,
                hit=matches.tp[mine[hit_row]],
                gt_image=matches.gt_image[labels[first:last]],
            )
        )
    return ranked
