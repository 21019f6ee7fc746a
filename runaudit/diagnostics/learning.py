"""Whether a run ever learnt anything by its own metric, and how many optimizer steps it took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.evidence import Measurement
from runaudit.diagnostics.history import History
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import RunFacts


@dataclass(frozen=True)
class Thresholds:
    learnt: float = threshold(
        0.05,
        "Best mAP50-95. Of the corpus' six runs (detect, pose, obb) started from a yaml, four never passed 0.012, the "
        "others reached "
        "0.30 and 0.55.",
    )
    chance: float = threshold(
        1.5,
        "Best top-1 accuracy over that of guessing. The classifier that never learnt has 1.0, the other of a yaml 34.",
    )


LIMITS = Thresholds()


def has_learnt(run: RunFacts, history: History | None) -> bool | None:
    """Whether the best metric is above chance; None if that can't be told."""
    best = _best_row(history)
    limit = chance_level(run, history) if history is not None else None
    return None if history is None or best is None or limit is None else bool(history.metric[best] >= limit)


def chance_level(run: RunFacts, history: History) -> float | None:
    """The metric below which nothing was learnt; None for a classifier of an unknown number of classes."""
    if history.metric_name == "map50_95":
        return LIMITS.learnt
    classes = len(run.checkpoint.names) if run.checkpoint is not None else 0
    return LIMITS.chance / classes if classes > 1 else None


def best_metric(run: RunFacts, history: History | None) -> tuple[Measurement, ...]:
    """The best metric as evidence, with its row; empty without one."""
    best = _best_row(history)
    if history is None or best is None:
        return ()
    name = "best mAP50-95" if history.metric_name == "map50_95" else "best top-1 accuracy"
    value, limit = float(history.metric[best]), chance_level(run, history)
    return (Measurement(name, value, limit, n=history.size, source=history.place(best)),)


def _best_row(history: History | None) -> int | None:
    if history is None or history.metric_name is None or not np.isfinite(history.metric).any():
        return None
    return int(np.argmax(np.where(np.isfinite(history.metric), history.metric, -np.inf)))
