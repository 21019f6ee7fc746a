"""Calibration: does a detection's confidence say how often it is right, and how well its box lies?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from runaudit.evaluation.bootstrap import image_weights, interval
from runaudit.evaluation.coco import CocoMetrics
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.matching import Matches

PRECISION_BINS: Final = 10
"""of D-ECE, of equal width over [0, 1] (netcal's default; diagnostics.md D3)"""
LOCALIZATION_BINS: Final = 25
"""of LaECE, for each class (Oksuz et al., CVPR 2023; diagnostics.md D3)"""
NULL_REPLICATES: Final = 400
"""of the error that chance alone gives; their 95 % point then has a standard error of 1.1 percentage points"""
_CORRECTION_REPLICATES: Final = 50
"""of these that the correction is computed from, each with both signs"""
_HALVINGS: Final = 14
"""of the interval in which the corrected share is sought: to 1e-4 of the error"""


@dataclass(frozen=True)
class CalibrationError:
    """An error of confidence and what it would be by chance, in [0, 1].

    `error` is as defined, `by_chance` what a calibrated model would show on average on a sample like this, `chance95`
    what it would exceed in 5 of 100 samples; `corrected` is `error` less what chance adds to it. `ci95` is of
    `corrected`. `detections` were binned, in `cells` that are not empty.
    """

    error: float
    by_chance: float
    chance95: float
    corrected: float
    ci95: Interval | None
    detections: int
    cells: int


@dataclass(frozen=True)
class Bin:
    """The detections of confidence `lower` up to `upper`: how many, mean confidence, and the share that is right."""

    lower: float
    upper: float
    detections: int
    confidence: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """D-ECE and LaECE of the detections of at least `least_confidence`; `bins` are D-ECE's that are not empty.

    `overconfidence` is mean confidence less precision, in [-1, 1].
    """

    least_confidence: float
    overconfidence: float
    precision: CalibrationError
    localization: CalibrationError
    bins: tuple[Bin, ...]


def calibration(
    matches: Matches, coco: CocoMetrics, *, least_confidence: float, replicates: int, seed: int
) -> Calibration | None:
    """Compare confidence with precision and with the overlap of what was found; None without detections.

    D-ECE (Kueppers et al., Multivariate confidence calibration for object detection, CVPR workshops 2020, equation 4,
    by confidence only) is the sum over PRECISION_BINS of (share of detections) |mean confidence - precision|. LaECE
    (Oksuz et al., Towards building self-aware object detectors, CVPR 2023, equation 9) is the mean over classes of the
    sum over LOCALIZATION_BINS of (share) |mean confidence - precision x mean IoU of what is right|. A detection is
    right if it takes a label at IoU 0.5 in COCO's matching.

    Both grow as bins get emptier (diagnostics.md D3), so chance is measured too: see `_error`.
    """
    rows = np.flatnonzero(matches.det_conf >= np.float32(least_confidence))
    if not len(rows):
        return None
    conf = matches.det_conf[rows].astype(np.float64)
    # Images of one group vary together, as do the detections of one image.
    image, hit = matches.unit[matches.det_image[rows]], coco.label_taken[rows] >= 0
    images = int(matches.unit.max()) + 1
    precision_bin = _binned(conf, PRECISION_BINS)
    by_class = np.unique(matches.det_cls[rows], return_inverse=True)[1]
    localization_cell = by_class * LOCALIZATION_BINS + _binned(conf, LOCALIZATION_BINS)
    error = partial(_error, image=image, images=images, replicates=replicates, seed=seed)
    return Calibration(
        least_confidence=least_confidence,
        overconfidence=float(conf.mean() - hit.mean()),
        precision=error(conf - hit, precision_bin, np.zeros(len(rows), np.int64)),
        localization=error(conf - coco.iou_taken[rows], localization_cell, by_class),
        bins=_bins(conf, hit, precision_bin),
    )


def _binned(conf: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each confidence; 1 belongs to the last."""
    return np.minimum((conf * bins).astype(np.int64), bins - 1)


def _bins(conf: NDArray[np.float64], hit: NDArray[np.bool_], number: NDArray[np.int64]) -> tuple[Bin, ...]:
    count = np.bincount(number, minlength=PRECISION_BINS)
    confidence = np.bincount(number, weights=conf, minlength=PRECISION_BINS) / np.maximum(count, 1)
    precision = np.bincount(number, weights=hit, minlength=PRECISION_BINS) / np.maximum(count, 1)
    return tuple(
        Bin(row / PRECISION_BINS, (row + 1) / PRECISION_BINS, int(count[row]), confidence[row], precision[row])
        for row in np.flatnonzero(count)
    )


def _error(
    residual: NDArray[np.float64],
    cell: NDArray[Any],
    group: NDArray[Any],
    *,
    image: NDArray[np.int32],
    images: int,
    replicates: int,
    seed: int,
) -> CalibrationError:
    """The mean over groups of the sum over a group's cells of |sum of residuals|, over the group's detections.

    Args:
        residual: (n,) confidence less what came of it.
        cell: (n,) the bin of each detection; those of a cell are of one group.
        group: (n,) the class of each detection, from 0 on.
        image: (n,) of `images`, the image or group of images that is drawn as a whole.
        replicates, seed: of the bootstrap over them.

    Chance: the residuals of a calibrated model vary about 0 as these do about the mean of their cell, those of an image
    together. So each image's part of a cell's sum, less the cell's mean, gets a random sign (a wild cluster bootstrap;
    Cameron, Gelbach and Miller, Review of Economics and Statistics 90, 2008), widened by m / (m - 1) for the mean
    having been taken from the same m images. A cell with detections of one image only may be chance altogether.

    Chance adds less to an error that is there than to one that is not: it works both ways on a large gap and only
    upwards on none. The corrected error is that share of the error for which, were every gap that share of the gap
    seen, chance would on average bring it to the error seen; none of it if chance alone does.

    The interval is of replicates that resample images, shifted so that their mean is the corrected error, because
    resampling adds the noise of chance once more.
    """
    _, cell = np.unique(cell, return_inverse=True)
    cells = int(cell.max()) + 1
    group_of = np.zeros(cells, np.int64)
    group_of[cell] = group
    groups = int(group.max()) + 1
    pair, of_pair = np.unique(cell.astype(np.int64) * images + image, return_inverse=True)
    pair_cell, pair_image = pair // images, pair % images
    count = np.bincount(of_pair).astype(np.float64)
    total = np.bincount(of_pair, weights=residual)
    cell_count = np.bincount(pair_cell, weights=count)
    cell_mean = np.bincount(pair_cell, weights=total) / cell_count
    cell_images = np.bincount(pair_cell)
    spread = total - count * cell_mean[pair_cell]
    spread *= np.sqrt(cell_images / np.maximum(cell_images - 1, 1))[pair_cell]
    alone = cell_images[pair_cell] == 1
    spread[alone] = total[alone]
    by_group = csr_array((np.ones(cells, np.float32), (group_of, np.arange(cells))), shape=(groups, cells))

    def matrix(values: NDArray[Any]) -> csr_array:
        return csr_array((values.astype(np.float32), (pair_cell, pair_image)), shape=(cells, images))

    def measured(sums: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float64]:
        of_groups = by_group @ np.abs(sums), by_group @ counts
        present = of_groups[1] > 0
        shares = np.divide(of_groups[0], of_groups[1], out=np.zeros(of_groups[0].shape), where=present)
        return np.asarray(shares.sum(axis=0) / np.maximum(present.sum(axis=0), 1), np.float64)

    error = float(measured((cell_mean * cell_count)[:, None], cell_count[:, None])[0])
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], np.float32), size=(images, NULL_REPLICATES))
    noise = matrix(spread) @ signs
    null = measured(noise, np.repeat(cell_count[:, None], NULL_REPLICATES, axis=1))

    def with_chance(share: float) -> float:
        around = noise[:, :_CORRECTION_REPLICATES]
        gaps = share * (cell_mean * cell_count)[:, None] + np.hstack([around, -around])
        return float(measured(gaps, np.repeat(cell_count[:, None], gaps.shape[1], axis=1)).mean())

    corrected = error * _least_share(with_chance, error)
    sums, counts = matrix(total), matrix(count)
    samples = np.concatenate(
        [
            measured(sums @ weights, counts @ weights)
            for weights in image_weights(np.arange(images), replicates, seed, width=max(1, 2**24 // cells))
        ]
    )
    ends = interval(np.maximum(samples - samples.mean() + corrected, 0.0))
    return CalibrationError(
        error=error,
        by_chance=float(null.mean()),
        chance95=float(np.quantile(null, 0.95)),
        corrected=corrected,
        ci95=ends,
        detections=len(residual),
        cells=cells,
    )


def _least_share(with_chance: Callable[[float], float], error: float) -> float:
    """The least share in [0, 1] at which `with_chance`, which does not fall, reaches `error`."""
    reached = error * (1 - 1e-6)  # sums are in single precision
    if with_chance(0.0) >= reached:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if with_chance(middle) >= reached else (middle, high)
    return high
