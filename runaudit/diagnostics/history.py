"""The curves as the checks need them: one row an epoch, losses summed, and the parts of the schedule told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from runaudit.diagnostics.robust import Series
from runaudit.runs.facts import Column, Curves, RunFacts

PRIMARY_METRICS = ("map50_95", "top1")
"""The metric that a run is judged by, the first that it has: mAP50-95, or top-1 accuracy of a classifier."""

FURTHER_METRICS = ("mask/map50_95", "pose/map50_95")
"""What segmentation and pose are trained for besides boxes, as the curves name it."""

LARGEST = 1e30
"""Losses and learning rates from here on are treated as not finite: their squares would overflow."""


@dataclass(frozen=True)
class History:
    """A run's curves after resumption is resolved. All arrays have one value an epoch, in ascending order of epoch.

    `metric` is the primary metric in [0, 1]. `train` and `val` are sums of the losses that carry information: a
    component that is 0 throughout is so by design (one class, a dual head), and one that can go negative (the
    likelihood of YOLO26's pose head) has no meaningful ratio; rows with a non-finite component are NaN, as are `metric`
    and `val` of an epoch that was not validated.
    `rate` is the learning rate of the weights: the lowest of the groups, since a bias group starts far above it in
    warm-up and boosted heads lie above it throughout (yolo.md A2). A series that the run lacks is all NaN.
    """

    curves: Curves
    rows: NDArray[np.int64]
    epochs: Series
    metric_name: str | None
    metric: Series
    train: Series
    val: Series
    rate: Series
    repeated: int
    seams: NDArray[np.bool_]
    warmup: NDArray[np.bool_]
    mosaic_closed: NDArray[np.bool_]

    @property
    def size(self) -> int:
        return int(self.epochs.size)

    def place(self, index: int) -> str:
        """`results.csv:41`, the line that row `index` of this history came from."""
        return f"{self.curves.source}:{self.curves.lines[int(self.rows[index])]}"

    def steady(self) -> NDArray[np.bool_]:
        """Rows outside warm-up, away from a resumption, and before mosaic was closed."""
        near_seam = self.seams | np.roll(self.seams, 1)
        return ~(self.warmup | self.mosaic_closed | near_seam)


def history_of(run: RunFacts) -> History | None:
    """The history of a run, or None if it has no row.

    Of a repeated epoch the last row counts: a resumed run writes the epoch again with what was really kept.
    """
    curves = run.curves
    if curves is None or not curves.epochs:
        return None
    last_row = {epoch: row for row, epoch in enumerate(curves.epochs) if epoch >= 1}
    if not last_row:
        return None
    numbers = sorted(last_row)
    # Floats, since a damaged file may hold an epoch that no integer type of numpy's takes.
    epochs = np.asarray(numbers, dtype=np.float64)
    rows = np.asarray([last_row[epoch] for epoch in numbers], dtype=np.int64)
    metric_name = next((name for name in PRIMARY_METRICS if name in curves.metrics), None)
    seams = np.zeros(epochs.size, dtype=np.bool_)
    seams[1:] = (np.diff(epochs) != 1) | (np.diff(rows) != 1)
    planned = run.epochs_planned
    measured = _measured(run, curves, rows)
    return History(
        curves=curves,
        rows=rows,
        epochs=epochs,
        metric_name=metric_name,
        metric=np.where(measured, _share(curves.metrics.get(metric_name or ""), rows), np.nan),
        train=_total(curves.train_losses, rows),
        val=np.where(measured, _total(curves.val_losses, rows), np.nan),
        rate=_lowest(curves.learning_rates, rows),
        repeated=len(curves.epochs) - len(numbers),
        seams=seams,
        warmup=epochs <= warmup_epochs(run),
        mosaic_closed=np.asarray(epochs > (planned or 0) - closed_mosaic(run)) & bool(planned),
    )


def _measured(run: RunFacts, curves: Curves, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that were validated at all: with val=False (YOLOv5's --noval) all but the last hold zeros in every column.

    Zeros alone are no proof: a dual head's validation losses are 0 by design, and mAP begins at 0.
    """
    losses = [finite_column(column)[rows] for column in curves.val_losses.values()]
    metrics = [finite_column(column)[rows] for column in curves.metrics.values()]
    if not losses or not metrics:
        return np.ones(rows.size, dtype=np.bool_)
    empty = (np.stack(losses) == 0.0).all(axis=0) & (np.stack(metrics) == 0.0).all(axis=0)
    switched_off = run.argument("val") is False or run.argument("noval") is True
    has_losses = bool((np.stack(losses) > 0.0).any())
    return ~empty if switched_off or has_losses else np.ones(rows.size, dtype=np.bool_)


def judged_by(history: History, name: str) -> History | None:
    """The same history by another metric of the curves; None where they don't have it."""
    column = history.curves.metrics.get(name)
    if column is None:
        return None
    shares = np.where(np.isfinite(history.metric), _share(column, history.rows), np.nan)
    return replace(history, metric_name=name, metric=shares)


def warmup_epochs(run: RunFacts) -> float:
    """Epochs of warm-up: as asked, else 3, the default of both families (yolo.md A9)."""
    return number(run.argument("warmup_epochs"), 3.0)


def closed_mosaic(run: RunFacts) -> float:
    """How many epochs at the end are trained without mosaic; 0 where the framework has no such switch.

    Classifiers have no mosaic to close, though their args.yaml names the argument as all do.
    """
    return 0.0 if run.task == "classify" else number(run.argument("close_mosaic"), 0.0)


def number(value: JsonValue, default: float) -> float:
    """`value` if it is a finite number (YAML's `1e-3` is a string to PyYAML), else `default`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return default
    return parsed if np.isfinite(parsed) else default


def finite_column(column: Column) -> Series:
    """A column as floats; missing cells become NaN, infinities stay."""
    return np.asarray([np.nan if value is None else value for value in column], dtype=np.float64)


def _share(column: Column | None, rows: NDArray[np.int64]) -> Series:
    if column is None:
        return np.full(rows.size, np.nan)
    values = finite_column(column)[rows]
    return np.where((values >= 0) & (values <= 1), values, np.nan)


def _total(losses: dict[str, Column], rows: NDArray[np.int64]) -> Series:
    columns = [finite_column(column)[rows] for column in losses.values()]
    telling = [values for values in columns if np.nanmax(np.nan_to_num(values, nan=0.0)) > 0 and not (values < 0).any()]
    if not telling:
        return np.full(rows.size, np.nan)
    # Two finite losses near the largest float can still add up to infinity, which is no loss to reason about.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.sum(telling, axis=0)
    return np.where(total < LARGEST, total, np.nan)


def _lowest(rates: dict[str, Column], rows: NDArray[np.int64]) -> Series:
    columns = [finite_column(column)[rows] for column in rates.values()]
    if not columns:
        return np.full(rows.size, np.nan)
    stacked = np.stack(columns)
    lowest = np.where(np.isfinite(stacked), stacked, np.inf).min(axis=0)
    return np.where((lowest >= 0) & (lowest < LARGEST), lowest, np.nan)
