"""The learning-rate schedule that a run asked for, and the one that its curves show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.history import History, number
from runaudit.diagnostics.robust import Series
from runaudit.runs.facts import RunFacts

USUAL_RATE = {
    "SGD": 0.01,
    "MuSGD": 0.01,
    "Adam": 0.001,
    "AdamW": 0.001,
    "Adamax": 0.001,
    "NAdam": 0.001,
    "RAdam": 0.001,
    "RMSProp": 0.001,
}
"""Initial learning rates that the frameworks' own configuration names: SGD 1e-2, Adam 1e-3
(ultralytics cfg/default.yaml; diagnostics.md B6). Adaptive optimizers share Adam's."""

DEFAULT_RATE = 0.01
"""lr0 of both families' default configuration: an lr0 of this value was probably not asked for by anyone."""


@dataclass(frozen=True)
class Schedule:
    """`optimizer` is as asked, in its usual spelling; None if unknown. `effective` is what optimizer=auto resolved to
    by the rate that was logged. Rates are those of the weights; `peak` is the rate at the start of the decay,
    estimated from all rows after warm-up; `shape_error` is the largest relative deviation from the shape asked for.
    """

    optimizer: str | None
    automatic: bool
    effective: str | None
    asked_rate: float | None
    asked_final: float
    cosine: bool
    peak: float | None
    last: float | None
    constant: bool
    rows: int
    shape_error: float | None

    @property
    def usual(self) -> float | None:
        """The usual initial rate of the optimizer in use."""
        return USUAL_RATE.get(self.effective or "")

    @property
    def times_usual(self) -> float | None:
        """How many times the usual rate the run really used; the asked rate where none was logged."""
        rate = self.peak if self.peak is not None else (None if self.automatic else self.asked_rate)
        return rate / self.usual if rate is not None and self.usual else None


def schedule_of(run: RunFacts, history: History | None) -> Schedule:
    """Reads the schedule off a run; what can't be known is None."""
    named = run.argument("optimizer")
    text = named.strip() if isinstance(named, str) else ""
    automatic = text.lower() == "auto"
    spelling = {name.lower(): name for name in USUAL_RATE}
    optimizer = "auto" if automatic else spelling.get(text.lower())
    if optimizer is None and run.framework != "ultralytics":
        optimizer = "Adam" if run.argument("adam") is True else "SGD"  # YOLOv5 before 6.2 had --adam, else SGD
    asked = number(run.argument("lr0"), 0.0)
    final = number(run.argument("lrf"), 0.01)
    cosine = run.argument("cos_lr") is True
    peak, last, rows, constant, error = None, None, 0, False, None
    if history is not None:
        after = np.isfinite(history.rate) & ~history.warmup & (history.rate > 0)
        rates = history.rate[after]
        rows = int(rates.size)
        if rows:
            last = float(rates[-1])
            shape = asked_shape(history.epochs[after], run.epochs_planned, final, cosine=cosine)
            relative = rates / shape
            peak = float(np.median(relative))
            # Trust a flat line over the shape asked for: dividing by a decay that never came would invent a peak.
            constant = rows >= 2 and _level(rates, 0.01) and not _hardly_bent(shape)
            if constant:
                peak = float(np.median(rates))
            error = float(np.max(np.abs(relative / np.median(relative) - 1.0)))
    return Schedule(
        optimizer=optimizer,
        automatic=automatic,
        effective=_resolved(peak) if automatic else optimizer,
        asked_rate=asked if asked > 0 else None,
        asked_final=final,
        cosine=cosine,
        peak=peak,
        last=last,
        constant=constant,
        rows=rows,
        shape_error=error,
    )


def _level(values: Series, share: float) -> bool:
    """Standard deviation below this share of the mean."""
    return bool(float(values.std()) < share * float(values.mean()))


def _hardly_bent(shape: Series) -> bool:
    """The rows are so few of a long schedule that one which was followed looks level as well: 10 of 600 epochs fall by
    1.5 %. Twice the level's own share, so that no rounding decides; a shape of ones says nothing of the schedule."""
    return bool((shape != 1.0).any()) and _level(shape, 0.02)


def asked_shape(epochs: Series, planned: int | None, final: float, *, cosine: bool) -> Series:
    """Learning rate over lr0 in the row of each epoch: (1 - x/E)(1 - lrf) + lrf or its cosine form, x from 0
    (yolo.md A9).

    All ones where the planned epochs are not known or exceeded. Never below 1e-6, so that it can be divided by.
    """
    if not planned or epochs.max() > planned:  # rows beyond the plan: the plan isn't this run's
        return np.ones_like(epochs)
    progress = np.clip((epochs - 1.0) / planned, 0.0, 1.0)
    left = (1.0 + np.cos(np.pi * progress)) / 2.0 if cosine else 1.0 - progress
    return np.maximum(left * (1.0 - final) + final, 1e-6)


def _resolved(peak: float | None) -> str | None:
    """What optimizer=auto chose, by its rate: SGD (MuSGD) at 0.01 for long runs, else AdamW at 0.002*5/(4+nc) "
    "<= 0.002."""
    if peak is None:
        return None
    return "SGD" if peak > 0.005 else "AdamW"
