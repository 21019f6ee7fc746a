"""F1 against the confidence threshold: where it is best, over all classes and for each, and what the default loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.bootstrap import image_weights, interval, row_sums
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.matching import Matches

DEFAULT: Final = 0.25
"""the threshold that both frameworks predict with unless told otherwise (ultralytics 8.4.190, cfg/default.yaml and
engine/predictor.py; detect.py of YOLOv5)"""
STEPS: Final = 100
GRID: Final = np.arange(1, STEPS) / STEPS
"""thresholds that are tried: 0.01, 0.02, ..., 0.99"""
_DEFAULT_ROW: Final = int(np.argmin(np.abs(GRID - DEFAULT)))
_REACH: Final = 5
"""grid points to either side that a point is averaged with before the best is chosen: the framework smooths its F1
curve over 10 % of its length (utils/metrics.py ap_per_class), without which the choice follows noise"""
_CELLS: Final = 2**23
"""counts held at a time (classes x thresholds x replicates); 32 MiB each"""
SPLITS: Final = 20
"""random halvings of the images behind the cross-fitted figures"""


@dataclass(frozen=True)
class Choice:
    """The best threshold of one curve and what the default loses, with 95 % intervals over images.

    `f1` is at `threshold`, `f1_default` at DEFAULT; `lost` is their difference, which replicates measure at the same
    two thresholds. `threshold_ci95` is of the thresholds that are best in the replicates.
    """

    threshold: float
    threshold_ci95: Interval | None
    f1: float
    f1_ci95: Interval | None
    f1_default: float
    lost: float
    lost_ci95: Interval | None


@dataclass(frozen=True)
class Thresholds:
    """F1 is at IoU 0.50; over all classes it is their mean, as the frameworks have it.

    `classes` (k,) are those with labels, `by_class` their choices. `curve` (99,) is the mean F1 at each of GRID.
    Thresholds chosen on these images look better than they are. So they are also chosen on half of the images (or of
    their groups) and measured on the other half, both ways: `cross_fitted` is F1 with one threshold chosen so,
    `cross_fitted_by_class` with one for each class, `cross_fitted_default` at DEFAULT, the mean over halvings.
    """

    overall: Choice
    classes: NDArray[np.int64]
    by_class: tuple[Choice, ...]
    curve: NDArray[np.float64]
    cross_fitted: float
    cross_fitted_by_class: float
    cross_fitted_default: float


def thresholds(matches: Matches, *, replicates: int, seed: int) -> Thresholds:
    """Choose thresholds by the framework's matches at IoU 0.50; there must be a label.

    Replicates resample images or groups of them, by the same draws as those of mAP.
    """
    counts = _Counts.of(matches)
    images = len(matches.image)
    whole = counts.f1(np.ones((images, 1), np.float32))[:, :, 0]
    mean = whole.mean(axis=1)
    overall, each = _best(mean[:, None])[0], _best(whole)
    classes = np.arange(len(counts.classes))
    best: list[NDArray[np.float64]] = []
    at: list[NDArray[np.float64]] = []
    for weights in image_weights(matches.unit, replicates, seed, width=_CELLS // whole.size):
        f1 = counts.f1(weights)
        total = _mean_over_classes(f1)
        best.append(np.vstack([_best(total), _best(f1)]))
        chosen = np.vstack([total[overall], f1[each, classes]])
        at.append(np.stack([chosen, np.vstack([total[_DEFAULT_ROW], f1[_DEFAULT_ROW]])]))
    columns, values = np.concatenate(best, axis=1), np.concatenate(at, axis=2)
    choices = [
        _choice(curve, int(column), columns[row], values[:, row])
        for row, (curve, column) in enumerate(zip((mean, *whole.T), (overall, *each), strict=True))
    ]
    fitted = _cross_fitted(counts, matches.unit, seed)
    return Thresholds(choices[0], counts.classes, tuple(choices[1:]), mean, *fitted)


def _choice(curve: NDArray[Any], column: int, columns: NDArray[Any], values: NDArray[Any]) -> Choice:
    """One curve's choice, with the columns chosen in replicates (b,) and F1 there at it and at DEFAULT (2, b)."""
    defined = ~np.isnan(values[0])
    return Choice(
        threshold=float(GRID[column]),
        threshold_ci95=interval(GRID[columns[defined]]),
        f1=float(curve[column]),
        f1_ci95=interval(values[0].astype(np.float64)),
        f1_default=float(curve[_DEFAULT_ROW]),
        lost=float(curve[column] - curve[_DEFAULT_ROW]),
        lost_ci95=interval((values[0] - values[1]).astype(np.float64)),
    )


def _best(curves: NDArray[Any]) -> NDArray[np.intp]:
    """The row of GRID at which each smoothed curve is highest: (99, ...) gives (...)."""
    sums = np.empty((len(curves) + 2 * _REACH + 1, *curves.shape[1:]), np.float32)
    sums[0] = 0
    for row in range(len(sums) - 1):
        np.add(sums[row], curves[min(max(row - _REACH, 0), len(curves) - 1)], out=sums[row + 1])
    return np.asarray(np.argmax(sums[2 * _REACH + 1 :] - sums[: -2 * _REACH - 1], axis=0))


def _mean_over_classes(f1: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the classes that a replicate drew a label of: (99, k, b) gives (99, b), NaN if there is none."""
    drawn = ~np.isnan(f1[0])
    count = drawn.sum(axis=0)
    total = np.nansum(f1, axis=1) if not drawn.all() else f1.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float32)


def _cross_fitted(counts: _Counts, unit: NDArray[np.int32], seed: int) -> tuple[float, float, float]:
    """F1 at thresholds chosen on other images: one for all classes, one for each class, and at DEFAULT."""
    generator = np.random.default_rng(seed)
    units = int(unit.max()) + 1
    drawn = np.zeros((units, SPLITS), np.float32)
    for column in drawn.T:
        column[generator.permutation(units)[: units // 2]] = 1
    half = drawn[unit]
    fitted = np.zeros(3)
    first, second = counts.table(half), counts.table(1 - half)
    chosen_by = [_f1(*table) for table in (first, second)]
    classes, columns = np.arange(len(counts.classes))[:, None], np.arange(SPLITS)[None]
    shape = (len(classes), SPLITS)
    for number in range(3):
        parts = []
        for f1, other in zip(chosen_by, (second, first), strict=True):
            if number == 0:
                where = np.broadcast_to(_best(np.nan_to_num(_mean_over_classes(f1)))[None], shape)
            elif number == 1:
                where = _best(np.nan_to_num(f1))
            else:
                where = np.full(shape, _DEFAULT_ROW)
            found, detected, labels = other
            parts.append((found[where, classes, columns], detected[where, classes, columns], labels))
        found, detected, labels = (one + another for one, another in zip(*parts, strict=True))
        fitted[number] = (2 * found / (detected + labels)).mean()
    return float(fitted[0]), float(fitted[1]), float(fitted[2])


def _f1(found: NDArray[np.float32], detected: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """F1 (99, k, b) from true positives, detections (99, k, b) and labels (k, b); NaN where there is no label."""
    f1 = found * np.float32(2)
    f1 /= detected + np.where(labels > 0, labels, np.float32(np.nan))
    return f1


@dataclass(frozen=True)
class _Counts:
    """Detections and true positives of each class above each threshold, as stretches of rows to be weighted by image.

    `detection` and `hit` are the image of each detection and
    true positive of at least the least threshold, `detection_ends` and `hit_ends` (99 x k,) where those of each
    threshold, falling, and class end that reach no higher one; `label` and `label_ends` (k,) the labels by class.
    """

    classes: NDArray[np.int64]
    detection: NDArray[np.int32]
    detection_ends: NDArray[np.int64]
    hit: NDArray[np.int32]
    hit_ends: NDArray[np.int64]
    label: NDArray[np.int32]
    label_ends: NDArray[np.int64]

    @classmethod
    def of(cls, matches: Matches) -> _Counts:
        """The counts of the classes that have labels."""
        classes, row = np.unique(matches.gt_cls.astype(np.int64), return_inverse=True)
        by_class = np.argsort(row, kind="stable")
        reached = np.searchsorted(GRID.astype(np.float32), matches.det_conf, side="right")
        rows = np.flatnonzero((reached > 0) & np.isin(matches.det_cls, classes))
        # A detection belongs to the highest threshold it reaches.
        cell = (len(GRID) - reached[rows]) * len(classes) + np.searchsorted(classes, matches.det_cls[rows])
        order = np.argsort(cell, kind="stable")
        rows, cell = rows[order], cell[order]
        hit = matches.tp[rows, 0]
        ends = np.arange(len(classes) * len(GRID))
        return cls(
            classes=classes,
            detection=matches.det_image[rows],
            detection_ends=np.searchsorted(cell, ends, side="right"),
            hit=matches.det_image[rows[hit]],
            hit_ends=np.searchsorted(cell[hit], ends, side="right"),
            label=matches.gt_image[by_class],
            label_ends=np.cumsum(np.bincount(row)),
        )

    def table(
        self, weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """True positives and detections at each threshold (99, k, b) and labels (k, b), for weights (images, b)."""
        return (
            self._above(self.hit, self.hit_ends, weights),
            self._above(self.detection, self.detection_ends, weights),
            row_sums(self.label, self.label_ends, weights),
        )

    def f1(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """F1 at each threshold of each class: (99, k, b), NaN for a class without labels."""
        return _f1(*self.table(weights))

    def _above(
        self, image: NDArray[np.int32], ends: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Weights of all rows of a class that reach a threshold, thresholds rising."""
        sums = row_sums(image, ends, weights).reshape(len(GRID), len(self.classes), -1)
        for row in range(1, len(GRID)):
            np.add(sums[row - 1], sums[row], out=sums[row])
        return sums[::-1]
