"""Does a classifier's training loss alone prove that it knows training images it can't tell in validation?

An image that is classified wrongly has a probability of at most 1/2 for its class, and so costs ln 2 of cross-entropy
at least. By Markov's inequality no more than loss / ln 2 of the training images, as they were augmented, were wrong.
Detection has no such bound: its losses are sums over anchors.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found
from runaudit.diagnostics.evidence import CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.history import History
from runaudit.diagnostics.optimizer_steps import batch_of

ROWS: Final = 3
"""epochs at the end that the training loss is the mean of"""
MEAN_FROM: Final = (8, 3, 0)
"""ultralytics from here on is known to take the mean over the batch; before, its sum / 64 was written for some time"""
NOMINAL: Final = 64.0
GAP: Final = 0.2
"""overfitting.Thresholds.classifier_gap"""


def judge(evidence: Evidence, history: History, remedies: tuple[Remedy, ...]) -> CheckResult | None:
    """The finding, or None where the losses prove nothing."""
    known = least_accuracy(evidence, history)
    reached = history.metric[np.isfinite(history.metric)]
    if known is None or not reached.size:
        return None
    best = float(reached.max())
    gap = known - best
    if gap < GAP:
        return None
    last = history.size - 1
    return found(
        "overfitting",
        "major",
        f"Training images are known by heart ({known:.2f} of them at least), validation images at best {best:.2f}",
        "An image that is classified wrongly costs ln 2 of cross-entropy at least, so that a training loss of "
        f"{_loss(history):.3f} leaves few wrong. Validation images that come from elsewhere, or whose folders are "
        "other classes, look the same in the curves: look at a few of each class first.",
        evidence=(
            Measurement("least accuracy on training images", round(known, 4), n=ROWS, source=history.place(last)),
            Measurement("best accuracy of validation", round(best, 4), n=int(reached.size)),
            Measurement("gap between both", round(gap, 4), threshold=GAP, n=int(reached.size)),
        ),
        # How much of it mending gains was measured for detection only.
        impact=Impact("lowers", metric="top1"),
        remedies=remedies,
        effect=gap,
        n=int(reached.size),
    )


def least_accuracy(evidence: Evidence, history: History) -> float | None:
    """On the training images of the last epochs, in [0, 1]; None where no loss tells it."""
    run = evidence.run
    if run.task != "classify" or run.framework != "ultralytics" or history.metric_name != "top1":
        return None
    loss = _loss(history)
    if loss is None:
        return None
    version = run.release()
    if version is None or version < MEAN_FROM:
        batch = batch_of(evidence)
        if batch is None:
            return None
        loss *= max(1.0, NOMINAL / batch.size)
    return max(0.0, 1.0 - loss / math.log(2.0))


def _loss(history: History) -> float | None:
    """The mean training loss of the last epochs."""
    losses = history.train[-ROWS:]
    return float(losses.mean()) if losses.size == ROWS and np.isfinite(losses).all() else None
