"""Whether a run ever learnt anything by its own metric, and how many optimizer steps it took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

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
    flat: float = threshold(
        0.03,
        "By how much of itself the training loss has fallen at its lowest. The classifier that never learnt has 0.02 "
        "in 5 epochs; the 7 others of the corpus 0.85 or more in 20 to 145.",
    )


LIMITS = Thresholds()
_LOSSES: Final = 3
"""epochs of training losses that tell a level from a fall"""


def has_learnt(run: RunFacts, history: History | None) -> bool | None:
    """Whether the best metric is above chance; None if that can't be told."""
    best = _best_row(history)
    limit = chance_level(run, history) if history is not None else None
    return None if history is None or best is None or limit is None else bool(history.metric[best] >= limit)


def chance_level(run: RunFacts, history: History) -> float | None:
    """The metric below which nothing was learnt; None for a classifier of which nobody knows what guessing reaches."""
    if history.metric_name == "map50_95":
        return LIMITS.learnt
    classes = len(run.checkpoint.names) if run.checkpoint is not None else 0
    guessing = 1.0 / classes if classes > 1 else _guessing(history)
    return None if guessing is None else LIMITS.chance * guessing


def _guessing(history: History) -> float | None:
    """The accuracy of guessing, by a cross-entropy that never fell: guessing among n classes costs ln n.

    None where the loss did fall, or is none of guessing: with n >= 2 it is ln 2 at least, and right once in n times.
    Some versions wrote a part of the mean, which is far from what the accuracy says.
    """
    losses, reached = history.train, history.metric[np.isfinite(history.metric)]
    if losses.size < _LOSSES or not np.isfinite(losses).all() or not reached.size:
        return None
    mean = float(losses.mean())
    fell = 1.0 - float(losses.min()) / float(losses[0]) if losses[0] > 0 else 1.0
    guessing = math.exp(-mean)
    of_guessing = guessing <= 0.5 / (1.0 - LIMITS.flat) and float(reached.max()) * LIMITS.chance >= guessing
    return guessing if fell <= LIMITS.flat and of_guessing else None


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
