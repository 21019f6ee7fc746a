"""Epochs that took far longer than the others of the same run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.history import finite_column
from runaudit.runs.facts import Curves


@dataclass(frozen=True)
class EpochTimes:
    """`median` seconds an epoch over `epochs` of them; `stalls` are the rows of those that took far longer."""

    median: float
    epochs: int
    stalls: tuple[int, ...]
    longest: float


FEWEST = 5


def epoch_times(curves: Curves | None, *, longer: float, seconds: float) -> EpochTimes | None:
    """Durations by the cumulative clock of results.csv; None for fewer than five epochs of one stretch.

    A stall takes `longer` times the median, and `seconds` more than it. The clock restarts when a run is resumed, and
    a row after a gap holds several epochs, so that both are left out; so is the first epoch, which also sets up.
    """
    if curves is None or curves.seconds is None:
        return None
    clock = finite_column(curves.seconds)
    epochs = np.asarray(curves.epochs, dtype=np.float64)
    taken = np.diff(clock)
    usable = np.flatnonzero(np.isfinite(taken) & (taken > 0) & (taken < 1e9) & (np.diff(epochs) == 1)) + 1
    if usable.size < FEWEST:
        return None
    taken = taken[usable - 1]
    median = float(np.median(taken))
    stalled = usable[(taken > longer * median) & (taken - median >= seconds)]
    return EpochTimes(median, int(usable.size), tuple(int(row) for row in stalled), float(taken.max()))
