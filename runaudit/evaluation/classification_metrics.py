"""Accuracy of a classifier: top-1 and top-5, class by class, what is mistaken for what, and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import ClassAccuracy, Confusion, Interval
from runaudit.proportions import wilson_interval, wilson_of_share

MOST_CONFUSIONS: Final = 20
"""pairs of classes that are told of"""


@dataclass(frozen=True)
class Accuracy:
    """Shares of images in [0, 1]."""

    top1: float
    top5: float


def accuracy(ranked: NDArray[np.int32], target: NDArray[np.int32]) -> Accuracy:
    """Top-1 and top-5 accuracy.

    `ranked` (n, k) holds the k = min(5, classes) likeliest classes of each image, the likeliest first; `target` (n,)
    its class; n is at least 1. With fewer than five classes top-5 counts all there are, as ultralytics does
    (utils/metrics.py ClassifyMetrics).
    """
    hit = ranked == target[:, None]
    return Accuracy(top1=float(hit[:, 0].mean()), top5=float(hit.any(axis=1).mean()))


def accuracy_intervals(measured: Accuracy, images: int) -> dict[str, Interval]:
    """Wilson's 95 % intervals of both, under `top1` and `top5`; each of `images` is one trial, copies left out."""
    return {"top1": wilson_of_share(measured.top1, images), "top5": wilson_of_share(measured.top5, images)}


def class_accuracies(
    chosen: NDArray[np.int32], target: NDArray[np.int32], names: Mapping[int, str], classes: int
) -> tuple[ClassAccuracy, ...]:
    """One entry a class of the model; `chosen` and `target` (n,) are class ids from 0 to `classes` - 1."""
    images = np.bincount(target, minlength=classes)
    predicted = np.bincount(chosen, minlength=classes)
    correct = np.bincount(target[chosen == target], minlength=classes)
    return tuple(
        ClassAccuracy(
            class_id=class_id,
            name=names.get(class_id, str(class_id)),
            images=int(images[class_id]),
            correct=int(correct[class_id]),
            predicted=int(predicted[class_id]),
            recall=float(correct[class_id] / images[class_id]) if images[class_id] else None,
            recall_ci95=wilson_interval(int(correct[class_id]), int(images[class_id])) if images[class_id] else None,
            precision=float(correct[class_id] / predicted[class_id]) if predicted[class_id] else None,
        )
        for class_id in range(classes)
    )


def confusions(
    chosen: NDArray[np.int32], target: NDArray[np.int32], names: Mapping[int, str], classes: int
) -> tuple[Confusion, ...]:
    """The pairs of classes that are mistaken most often, at most MOST_CONFUSIONS; of equal ones the lower ids first."""
    wrong = chosen != target
    pairs, counts = np.unique(target[wrong].astype(np.int64) * classes + chosen[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_CONFUSIONS]
    return tuple(
        Confusion(
            labelled=names.get(int(pair) // classes, str(int(pair) // classes)),
            predicted=names.get(int(pair) % classes, str(int(pair) % classes)),
            images=int(count),
        )
        for pair, count in zip(pairs[order], counts[order], strict=True)
    )
