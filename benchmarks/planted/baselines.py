"""What published rules would name, on the same runs: the peers that the audit is held against.

Rules and thresholds are those that research page diagnostics.md (A1) read from each project's source or documentation;
only the rules that a finished run allows are here.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from runaudit.diagnostics.counting import cramers_v
from runaudit.runs.facts import DatasetFacts, RunFacts

Curve = NDArray[np.float64]

CONSTANT: Final = ("annotation_errors", "distribution_shift", "learning_rate")
"""the causes most often planted in the part that sets thresholds: what one names without looking"""


def named(run: RunFacts, dataset: DatasetFacts | None, data: Path) -> dict[str, list[str]]:
    """The causes that each baseline names, in its own order."""
    return {
        "constant prior": list(CONSTANT),
        "UMLAUT": umlaut(run),
        "SageMaker Debugger": sagemaker(run, dataset),
        "AutoTrainer": autotrainer(run),
        "deepchecks": deepchecks(dataset, data),
    }


def umlaut(run: RunFacts) -> list[str]:
    """Learning rate above 0.01 or below 1e-7, NaN, and one epoch in which only the validation loss rose."""
    found: list[str] = []
    train, validation = _losses(run)
    if not np.isfinite(train).all() or not np.isfinite(validation).all():
        found.append("numerical_divergence")
    rates = [float(rate) for rate in _column(run, "pg0")]
    if rates and (max(rates) > 0.01 or min(rates) < 1e-7):
        found.append("learning_rate")
    if any(v1 > v0 and t1 <= t0 for (t0, t1), (v0, v1) in zip(pairwise(train), pairwise(validation), strict=True)):
        found.append("overfitting")
    return found


def sagemaker(run: RunFacts, dataset: DatasetFacts | None) -> list[str]:
    """Overfit: (validation - training) / training loss above 0.1 once. ClassImbalance: 10 to 1. A loss that stalls."""
    found: list[str] = []
    train, validation = _losses(run)
    if len(train) and (~np.isfinite(train)).any():
        found.append("numerical_divergence")
    if len(train) and bool(((validation - train) / np.maximum(train, 1e-9) > 0.1).any()):
        found.append("overfitting")
    split = dataset.splits.get("train") if dataset is not None else None
    counts = [count for count in split.class_instances if count] if split is not None else []
    if counts and max(counts) / min(counts) > 10:
        found.append("class_imbalance")
    if len(train) > 10 and bool((train[10:] >= train[:-10]).any()):
        found.append("learning_rate")
    return found


def autotrainer(run: RunFacts) -> list[str]:
    """NaN or a loss of 1000; accuracy (here mAP50) that oscillates, converges slowly or stays below 0.6."""
    found: list[str] = []
    train, _ = _losses(run)
    metric = np.array([float(value) for value in _metric(run)])
    if len(train) and (bool((~np.isfinite(train)).any()) or float(np.nanmax(train)) >= 1e3):
        found.append("numerical_divergence")
    if len(metric) < 3:
        return found
    turns = [abs(second - first) for first, second in pairwise(metric) if abs(second - first) >= 0.03]
    if len(turns) >= 0.2 * len(metric) and bool((np.diff(metric) < -0.03).any()):
        found.append("learning_rate")
    if float(np.diff(metric).max(initial=0)) < 0.01:
        found.append("insufficient_epochs")
    if metric[int(0.3 * len(metric)) :].max() < 0.6:
        found.append("underfitting")
    return found


def deepchecks(dataset: DatasetFacts | None, data: Path) -> list[str]:
    """ImagePropertyDrift above 0.2 (Kolmogorov-Smirnov) and LabelDrift above 0.15 (Cramer's V)."""
    found: list[str] = []
    properties = [_properties(data / "images" / split) for split in ("train", "val")]
    if all(len(values) >= 10 for values in properties):
        drift = max(_kolmogorov_smirnov(a, b) for a, b in zip(properties[0].T, properties[1].T, strict=True))
        if drift > 0.2:
            found.append("distribution_shift")
    if dataset is not None and {"train", "val"} <= dataset.splits.keys():
        table = np.array([dataset.splits[split].class_instances for split in ("train", "val")], dtype=np.float64)
        if cramers_v(table[:, table.sum(axis=0) > 0]) > 0.15:
            found.append("class_imbalance")
    return found


def _properties(folder: Path) -> NDArray[np.float64]:
    """Aspect ratio, area, brightness, RMS contrast and the mean share of each colour, an image a row."""
    rows: list[list[float]] = []
    for file in sorted(folder.iterdir()):
        picture: Any = cv2.imread(str(file))
        if picture is None:
            continue
        values = picture.astype(np.float64)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float64)
        shares = values.mean(axis=(0, 1)) / max(values.mean(axis=(0, 1)).sum(), 1e-9)
        rows.append([grey.shape[0] / grey.shape[1], float(grey.size), grey.mean(), grey.std(), *shares.tolist()])
    return np.array(rows)


def _kolmogorov_smirnov(first: Curve, second: Curve) -> float:
    values = np.sort(np.r_[first, second])
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def _losses(run: RunFacts) -> tuple[Curve, Curve]:
    """Training and validation loss, summed over their parts."""
    if run.curves is None:
        return np.zeros(0), np.zeros(0)
    sums = [
        np.array([[np.nan if cell is None else cell for cell in column] for column in losses.values()]).sum(axis=0)
        for losses in (run.curves.train_losses, run.curves.val_losses)
    ]
    return sums[0], sums[1]


def _column(run: RunFacts, name: str) -> list[float]:
    column = run.curves.learning_rates.get(name, ()) if run.curves is not None else ()
    return [value for value in column if value is not None]


def _metric(run: RunFacts) -> list[float]:
    column = run.curves.metrics.get("map50", ()) if run.curves is not None else ()
    return [value for value in column if value is not None]
