"""Robust statistics of short, noisy series: what an outlier, a step or a trend must not upset."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

GAUSSIAN_MAD = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation estimate the standard deviation of a Gaussian
(Hampel, JASA 69 (1974))."""


def robust_sigma(values: Series) -> float:
    """Standard deviation estimated by the median absolute deviation; 0 for fewer than two values."""
    if values.size < 2:
        return 0.0
    return float(GAUSSIAN_MAD * np.median(np.abs(values - np.median(values))))


def noise_sigma(values: Series) -> float | None:
    """Standard deviation of the epoch-to-epoch noise of a smooth curve, None for fewer than six values.

    Second differences of white noise have variance 6 sigma^2, and a straight trend drops out of them
    (Gasser, Sroka and Jennen-Steinmetz, Biometrika 73 (1986)); the MAD keeps steps and spikes out.
    """
    if values.size < 6:
        return None
    return robust_sigma(np.diff(values, n=2)) / math.sqrt(6.0)


def theil_sen(x: Series, y: Series) -> float:
    """Slope of y on x: the median of all pairwise slopes (Sen, JASA 63 (1968)). 0 where x does not vary."""
    rows, columns = np.triu_indices(x.size, k=1)
    run = x[columns] - x[rows]
    rise = y[columns] - y[rows]
    usable = run != 0
    return float(np.median(rise[usable] / run[usable])) if usable.any() else 0.0


def rolling_mean(values: Series, width: int) -> Series:
    """Means of all `width` neighbouring values; shape (n - width + 1,). Needs n >= width."""
    return np.convolve(values, np.full(width, 1.0 / width), mode="valid")


def rolling_median(values: Series, half_width: int) -> Series:
    """Median of the 2 * half_width + 1 neighbours of each value, the ends padded with themselves; shape (n,)."""
    padded = np.pad(values, half_width, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width + 1), axis=1))


def upward_spikes(values: Series, *, half_width: int, deviations: float, floor: float) -> NDArray[np.bool_]:
    """Which values stand out upwards from their neighbours' median (Hampel identifier).

    A value is a spike if it exceeds the median of its window by `deviations` robust standard deviations of all such
    residuals, and by `floor` in any case: with little noise even rounding would stand out.
    """
    if values.size < 2 * half_width + 1:
        return np.zeros(values.size, dtype=np.bool_)
    residual = values - rolling_median(values, half_width)
    return np.asarray(residual > max(deviations * robust_sigma(residual), floor), dtype=np.bool_)


@dataclass(frozen=True)
class PowerLaw:
    """m(t) = ceiling - amplitude * t^-exponent, with `replicates` refits of resampled residuals, one row each."""

    ceiling: float
    amplitude: float
    exponent: float
    residual_sigma: float
    replicates: Series
    """shape (B, 2): amplitude and exponent of each refit"""

    def gain(self, start: float, end: float) -> float:
        """What the law adds between epoch `start` and epoch `end`."""
        return float(self.amplitude * (start**-self.exponent - end**-self.exponent))

    def gain_ci95(self, start: float, end: float) -> tuple[float, float]:
        """95 % percentile interval of `gain`."""
        amplitude, exponent = self.replicates[:, 0], self.replicates[:, 1]
        gains = amplitude * (start**-exponent - end**-exponent)
        low, high = np.percentile(gains, [2.5, 97.5])
        return float(low), float(high)


EXPONENTS = np.linspace(0.1, 2.5, 25)
"""Grid of the power law's exponent. Learning curves of trained networks lie between about 0.1 and 2
(Viering and Loog, "The shape of learning curves", TPAMI 2022); the grid reaches a little further."""


def fit_power_law(epochs: Series, values: Series, *, replicates: int = 200, seed: int = 0) -> PowerLaw | None:
    """Least-squares power law of a rising curve, with a moving-block bootstrap of its residuals.

    For each exponent of the grid the law is linear in ceiling and amplitude, so that all replicates are solved at
    once. Blocks of the square root of n keep the residuals' own correlation (Kuensch, Ann. Stat. 17 (1989)).
    None for fewer than eight values. A falling curve gives amplitude 0: no gain is ever predicted from it.
    """
    if values.size < 8:
        return None
    amplitude, exponent, fitted = _solve(epochs, values[None, :])
    residual = values - fitted[0]
    generator = np.random.default_rng(seed)
    block = max(1, round(np.sqrt(values.size)))
    starts = generator.integers(0, values.size - block + 1, size=(replicates, -(-values.size // block)))
    order = (starts[:, :, None] + np.arange(block)).reshape(replicates, -1)[:, : values.size]
    again_amplitude, again_exponent, _ = _solve(epochs, fitted[0] + residual[order])
    return PowerLaw(
        ceiling=float(fitted[0, -1] + amplitude[0] * epochs[-1] ** -exponent[0]),
        amplitude=float(amplitude[0]),
        exponent=float(exponent[0]),
        residual_sigma=robust_sigma(residual),
        replicates=np.stack([again_amplitude, again_exponent], axis=1),
    )


def _solve(epochs: Series, values: Series) -> tuple[Series, Series, Series]:
    """Best amplitude, exponent and fitted curve of each row of `values` (B, n), amplitudes not below 0."""
    count = values.shape[0]
    best_error = np.full(count, np.inf)
    amplitude, exponent = np.zeros(count), np.full(count, EXPONENTS[0])
    fitted = np.repeat(values.mean(axis=1, keepdims=True), values.shape[1], axis=1)
    centred = values - values.mean(axis=1, keepdims=True)
    for candidate in EXPONENTS:
        basis = epochs**-candidate
        basis = basis - basis.mean()
        slope = np.minimum(centred @ basis / (basis @ basis), 0.0)
        prediction = values.mean(axis=1, keepdims=True) + slope[:, None] * basis
        error = ((values - prediction) ** 2).sum(axis=1)
        better = error < best_error
        best_error[better] = error[better]
        amplitude[better] = -slope[better]
        exponent[better] = candidate
        fitted[better] = prediction[better]
    return amplitude, exponent, fitted
