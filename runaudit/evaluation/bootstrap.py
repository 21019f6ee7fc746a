"""Confidence intervals of mAP by resampling images: the cluster bootstrap, never resampling boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.average_precision import area, ramp_area
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.matching import IOU_THRESHOLDS, Matches
from runaudit.evaluation.protocol import ULTRALYTICS, AveragePrecision

REPLICATES: Final = 1000
COVERAGE: Final = 0.95
_BLOCK_CELLS: Final = 2**24
"""weights held at a time (images x replicates); 64 MiB"""
_ROW_CELLS: Final = 2**23
"""gathered weights held at a time (detections of a class x replicates); 32 MiB"""


@dataclass(frozen=True)
class Bootstrap:
    """Metrics of each replicate: `map50` and `map50_95` (b,), `class_map50_95` (b, k) in the order of `classes` (k,).

    A class that a replicate drew no label of is NaN there and left out of that replicate's mean, as the framework
    would leave it out.
    """

    classes: NDArray[np.int64]
    map50: NDArray[np.float64]
    map50_95: NDArray[np.float64]
    class_map50_95: NDArray[np.float64]


def interval(samples: NDArray[np.float64]) -> Interval | None:
    """The percentile interval of COVERAGE of replicates (b,), NaN left out; None if nothing is left.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.3.
    """
    finite = samples[~np.isnan(samples)]
    if not len(finite):
        return None
    lower, upper = np.quantile(finite, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(lower), float(upper)


def image_draws(images: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """For each replicate, `images` positions drawn with replacement. The same seed draws the same, whatever follows."""
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        yield generator.integers(0, images, size=images)


def bootstrap(
    matches: Matches,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    kind: AveragePrecision = ULTRALYTICS.average_precision,
) -> Bootstrap:
    """Compute mAP again for `replicates` samples of the images, drawn with replacement.

    An image that is drawn twice counts as two images with the same detections and labels. Since the detections of a
    copy follow each other in the order of confidence, weighting each detection by how often its image was drawn gives
    the same average precision as copying it (see `average_precision.area`). Detections are matched and sorted once;
    detections behind a class' last true positive are left out: they count only in the ramp of YOLOv5's average
    precision, and there by their number. Memory is bounded by the number of detections and _BLOCK_CELLS, not by the
    number of replicates.
    """
    classes = np.unique(matches.gt_cls.astype(np.int64))
    ranked = [_Ranked.of(matches, int(class_id)) for class_id in classes]
    images = len(matches.image)
    result = np.full((replicates, len(classes), len(IOU_THRESHOLDS)), np.nan)
    done = 0
    for weights in _weights(images, replicates, seed):
        block = slice(done, done + weights.shape[1])
        for column, detections in enumerate(ranked):
            result[block, column] = detections.average_precision(weights, ramp=kind.ramp)
        done += weights.shape[1]
    return Bootstrap(
        classes=classes,
        map50=_mean_over_classes(result[:, :, 0]),
        map50_95=_mean_over_classes(result.mean(axis=2)),
        class_map50_95=result.mean(axis=2),
    )


def _mean_over_classes(per_class: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row without NaN; NaN where nothing is left."""
    present = ~np.isnan(per_class)
    count = present.sum(axis=1)
    total = np.where(present, per_class, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _weights(images: int, replicates: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """How often each image was drawn, in blocks of replicates: (images, block) each."""
    width = max(1, min(replicates, 256, _BLOCK_CELLS // max(images, 1)))
    block: list[NDArray[np.int32]] = []
    for number, draw in enumerate(image_draws(images, replicates, seed), start=1):
        block.append(np.bincount(draw, minlength=images).astype(np.int32))
        if len(block) == width or number == replicates:
            yield np.ascontiguousarray(np.stack(block).T)
            block = []


@dataclass(frozen=True)
class _Ranked:
    """The detections of one class by falling confidence, up to its last true positive.

    `image` (n,) is the image of each; `hit_row` (h,) the rows that are a true positive at any threshold;
    `hit` (h, 10) at which; `gt_image` (m,) the image of each label; `counts` (images,) how many detections of the class
    each image has, those behind the last true positive included.
    """

    image: NDArray[np.int32]
    hit_row: NDArray[np.intp]
    hit: NDArray[np.bool_]
    gt_image: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, matches: Matches, class_id: int) -> _Ranked:
        """Pick the detections of `class_id` out of `matches`."""
        mine = np.flatnonzero(matches.det_cls == class_id)
        mine = mine[np.argsort(-matches.det_conf[mine], kind="stable")]
        tp = matches.tp[mine]
        hit_row = np.flatnonzero(tp.any(axis=1))
        last = int(hit_row[-1]) + 1 if len(hit_row) else 0
        return cls(
            image=matches.det_image[mine[:last]],
            hit_row=hit_row,
            hit=tp[hit_row],
            gt_image=matches.gt_image[matches.gt_cls == class_id],
            counts=np.bincount(matches.det_image[mine], minlength=len(matches.image)),
        )

    def average_precision(self, weights: NDArray[np.int32], *, ramp: bool) -> NDArray[np.float64]:
        """AP at each threshold for each replicate: weights (images, b) give (b, 10); NaN where no label was drawn."""
        labels = self._summed(self.gt_image, np.zeros(1, dtype=np.intp), weights)[0]
        result = np.full((weights.shape[1], len(IOU_THRESHOLDS)), np.nan)
        drawn = labels > 0
        result[drawn] = 0
        if not len(self.hit_row) or not drawn.any():
            return result
        detections = self._summed(self.image, np.r_[0, self.hit_row[:-1] + 1], weights).cumsum(axis=0)
        hits = weights[self.image[self.hit_row]]
        everything = self.counts @ weights if ramp else None
        for threshold in range(len(IOU_THRESHOLDS)):
            rows = self.hit[:, threshold]
            if rows.any():
                found = hits[rows].cumsum(axis=0)
                result[drawn, threshold] = area(found, detections[rows], np.maximum(labels, 1))[drawn]
                if everything is not None:
                    result[drawn, threshold] += ramp_area(found[-1], everything, np.maximum(labels, 1))[drawn]
        return result

    @staticmethod
    def _summed(images: NDArray[Any], starts: NDArray[np.intp], weights: NDArray[np.int32]) -> NDArray[np.int64]:
        """Weights of the images summed over stretches of rows that begin at `starts` (increasing): (s, b)."""
        total = np.zeros((len(starts), weights.shape[1]), dtype=np.int64)
        step = max(1, _ROW_CELLS // weights.shape[1])
        for first in range(0, len(images), step):
            gathered = weights[images[first : first + step]]
            begin = np.searchsorted(starts, first, side="right") - 1
            inside = np.flatnonzero((starts > first) & (starts < first + len(gathered)))
            local = np.r_[0, starts[inside] - first]
            total[np.r_[begin, inside]] += np.add.reduceat(gathered, local, axis=0)
        return total
