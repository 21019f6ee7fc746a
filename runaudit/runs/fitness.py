"""Which epoch a version of a framework took for its best, recomputed from results.csv.

Source: yolo.md A6, read from the packages named there.
"""

from __future__ import annotations

import math

from runaudit.runs.facts import Column, Curves, Framework, Task

_EXTRA_TASKS = ("mask/", "pose/")


def fitness(curves: Curves, framework: Framework, task: Task, *, map50_95_only: bool) -> Column:
    """The fitness of each row; None where a metric that it needs is missing.

    Boxes count 0.1 mAP50 + 0.9 mAP50-95 in YOLOv5, YOLOv9 and ultralytics before 8.4, and mAP50-95 alone from 8.4 on
    (`map50_95_only`); masks or keypoints count as much again. Classification counts top-1 in YOLOv5
    (classify/train.py) and the mean of top-1 and top-5 in ultralytics.
    """
    metrics = curves.metrics
    if task == "classify":
        weights = {"top1": 1.0} if framework == "yolov5" else {"top1": 0.5, "top5": 0.5}
    else:
        share = {"map50_95": 1.0} if map50_95_only else {"map50": 0.1, "map50_95": 0.9}
        parts = ["", *(part for part in _EXTRA_TASKS if f"{part}map50_95" in metrics)]
        weights = {part + name: weight for part in parts for name, weight in share.items()}
    columns = [metrics.get(name) for name in weights]
    return tuple(
        _weighted([column[row] if column is not None else None for column in columns], list(weights.values()))
        for row in range(len(curves.epochs))
    )


def best_row(values: Column) -> int | None:
    """The last row of the highest fitness, which is what best.pt holds; None if no row has a finite fitness.

    All versions write best.pt whenever an epoch's fitness equals the best so far (`best_fitness == fitness`), so the
    last of equal epochs stays. results.csv rounds to five or six digits: rows equal there may have differed.
    """
    finite = [(value, row) for row, value in enumerate(values) if value is not None and math.isfinite(value)]
    return max(finite)[1] if finite else None


def first_best_row(values: Column) -> int | None:
    """The first row of the highest fitness, from which newer versions count their patience."""
    last = best_row(values)
    return None if last is None else values.index(values[last])


def _weighted(values: list[float | None], weights: list[float]) -> float | None:
    if any(value is None for value in values):
        return None
    return sum(value * weight for value, weight in zip(values, weights, strict=True) if value is not None)
