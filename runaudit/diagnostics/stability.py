"""How stable a training was, relative to its own noise: divergence, spikes, oscillation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.evidence import Measurement
from runaudit.diagnostics.history import History
from runaudit.diagnostics.robust import noise_sigma, rolling_median, upward_spikes
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import metric_word


@dataclass(frozen=True)
class Thresholds:
    loss_ratio: float = threshold(1.5, "diagnostics.md B6: last over lowest training loss of a diverged run.")
    metric_left: float = threshold(
        0.5,
        "Share of the best mAP that is left at the end of a diverged run. Overfitting costs 15 to 40 % in the "
        "simulated "
        "runs, of which none is called diverged; all 300 planted divergences are (benchmarks/curve_false_alarms.py).",
    )
    deviations: float = threshold(5.0, "diagnostics.md B6: Hampel identifier with five deviations.")
    spike: float = threshold(
        0.182,
        "log(1.2): a spike raises the training loss by 20 %, which normal epochs don't (diagnostics.md A2(6): 4 "
        "% in five).",
    )
    oscillating: float = threshold(
        0.1,
        "mAP50-95 from which its relative noise means something; below, a handful of detections makes all of it.",
    )
    learnt: float = threshold(0.01, "mAP50-95 below which nothing was learnt (diagnostics.md B10).")
    rows: int = threshold(5, "Rows below which a run is not called diverged or lost.")


LIMITS = Thresholds()


@dataclass(frozen=True)
class Stability:
    """`loss_ratio` is the median of the last three training losses over the lowest (median of three); `metric_left` the
    median of the last three values of mAP over the best; None where the series is missing or too short.
    `metric` is what a sentence calls the metric, `drop` is best minus last. `lost`: the run never learnt
    anything though it had time to."""

    metric: str
    best_metric: float
    best_index: int | None
    loss_ratio: float | None
    metric_left: float | None
    drop: float | None
    lost: bool
    spikes: int
    spike_at: int | None
    oscillation: float | None
    noise_follows_rate: bool
    nonfinite_train: int | None
    """index of the first row whose training losses are not all finite"""

    @property
    def diverged(self) -> bool:
        """The training loss rose far above its minimum, or became NaN for good, and mAP fell with it."""
        if self.metric_left is None or self.metric_left >= LIMITS.metric_left:
            return False
        exploded = self.loss_ratio is not None and self.loss_ratio > LIMITS.loss_ratio
        return exploded or self.nonfinite_train is not None

    def sentence(self) -> str:
        """The curves' behaviour in words."""
        parts = []
        if self.nonfinite_train is not None:
            parts.append("The training loss became NaN or infinite.")
        if self.loss_ratio is not None:
            parts.append(f"The last training losses are {self.loss_ratio:.2g} times their minimum.")
        if self.metric_left is not None and self.best_metric > 0:
            parts.append(f"{self.metric} ends at {self.metric_left:.0%} of its best, {self.best_metric:.3g}.")
            if self.metric_left < LIMITS.metric_left:
                parts.append(
                    "last.pt lost that; best.pt holds the best row, and what it would have become isn't known."
                )
        return " ".join(parts)

    def measurements(self, history: History) -> tuple[Measurement, ...]:
        items = []
        if self.loss_ratio is not None:
            ratio = float(f"{self.loss_ratio:.4g}")
            items.append(
                Measurement(
                    "last over lowest training loss", ratio, LIMITS.loss_ratio, n=history.size, source=history.place(-1)
                )
            )
        if self.best_index is not None:
            best = float(f"{self.best_metric:.4g}")
            items.append(
                Measurement(f"best {history.metric_name}", best, n=history.size, source=history.place(self.best_index))
            )
        if self.metric_left is not None:
            items.append(
                Measurement(
                    "share of the best mAP at the end", round(self.metric_left, 4), LIMITS.metric_left, n=history.size
                )
            )
        if self.spikes:
            source = history.place(self.spike_at) if self.spike_at is not None else None
            items.append(Measurement("spikes of the training loss", self.spikes, n=history.size, source=source))
        if self.oscillation is not None:
            items.append(Measurement("noise of mAP over its best", round(self.oscillation, 4), n=history.size))
        return tuple(items)


def stability_of(history: History) -> Stability:
    """Measures a history; every part copes with a series that is missing, short, constant or all zero."""
    finite = np.flatnonzero(np.isfinite(history.metric))
    metric = history.metric[finite]
    best_index = int(finite[int(np.argmax(metric))]) if metric.size else None
    best = float(metric.max()) if metric.size else 0.0
    enough = metric.size >= LIMITS.rows
    last = float(np.median(metric[-3:])) if enough else None
    ratio = _loss_ratio(history)
    spikes, spike_at = _spikes(history)
    oscillation, follows = _oscillation(history, best)
    return Stability(
        metric=metric_word(history, begins=True),
        best_metric=best,
        best_index=best_index,
        loss_ratio=ratio,
        metric_left=last / best if last is not None and best > 0 else None,
        drop=best - last if last is not None and best > 0 else None,
        lost=enough and best < LIMITS.learnt,
        spikes=spikes,
        spike_at=spike_at,
        oscillation=oscillation,
        noise_follows_rate=follows,
        nonfinite_train=first_nonfinite_train(history),
    )


def first_nonfinite_train(history: History) -> int | None:
    """Index of the first row with a NaN or infinite training loss; an empty cell is not one."""
    for index, row in enumerate(history.rows):
        cells = [column[int(row)] for column in history.curves.train_losses.values()]
        if any(cell is not None and not np.isfinite(cell) for cell in cells):
            return index
    return None


def _loss_ratio(history: History) -> float | None:
    """Mosaic's end changes the loss' level, so that the lowest and the last loss are both taken before it."""
    usable = history.train[np.isfinite(history.train) & ~history.mosaic_closed]
    if usable.size < LIMITS.rows:
        return None
    lowest = float(rolling_median(usable, 1).min())
    return float(np.median(usable[-3:])) / lowest if lowest > 0 else None


def _spikes(history: History) -> tuple[int, int | None]:
    usable = np.flatnonzero(history.steady() & (history.train > 0))
    spikes = upward_spikes(
        np.log(history.train[usable]), half_width=3, deviations=LIMITS.deviations, floor=LIMITS.spike
    )
    where = usable[spikes]
    return int(where.size), int(where[0]) if where.size else None


def _oscillation(history: History, best: float) -> tuple[float | None, bool]:
    """Noise of mAP over its best in the last two thirds, and whether it falls by half as the rate falls by half."""
    usable = np.flatnonzero(history.steady() & np.isfinite(history.metric))
    usable = usable[usable.size // 3 :]
    if usable.size < 12 or best < LIMITS.oscillating:
        return None, False
    noise = noise_sigma(history.metric[usable])
    half = usable.size // 2
    early, late = noise_sigma(history.metric[usable[:half]]), noise_sigma(history.metric[usable[half:]])
    rate = history.rate[usable]
    falling = bool(np.isfinite(rate).all() and np.median(rate[half:]) < 0.5 * np.median(rate[:half]))
    follows = falling and early is not None and late is not None and late < 0.5 * early
    return (noise or 0.0) / best, follows
