"""The rows that a checkpoint carries of its own training, compared with results.csv."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runaudit.runs.facts import CheckpointFacts, Column, Curves

RELATIVE = 1e-3
ABSOLUTE = 2e-5
"""Older versions print five significant digits and five decimals, which bounds rounding well below these."""
LEAST_ROUNDED = 5
"""Values of a column from which it counts as rounded: that so many end in zeros has a chance of 1 in 100,000."""

_METRICS = {
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
    "metrics/accuracy_top1": "top1",
    "metrics/accuracy_top5": "top5",
}


@dataclass(frozen=True)
class Comparison:
    """`compared` recorded rows, of which `differing` have no equal row of that epoch; the first one's place and "
    "column."""

    compared: int
    differing: int
    place: str | None
    column: str


def recorded_differences(curves: Curves, checkpoint: CheckpointFacts, *, cut_off: bool = False) -> Comparison | None:
    """Compares every recorded row with the rows of its epoch; None where the checkpoint records none to compare.

    A resumed run has several rows of an epoch, of which one must agree. An epoch that results.csv lacks counts as a
    difference: ultralytics appends to the file and never removes a row. `cut_off`: its last line ends too early, so
    that the epoch after the last whole row is none it lacks.
    """
    recorded = {name.strip(): column for name, column in checkpoint.train_results.items()}
    epochs = recorded.get("epoch")
    pairs = [
        (name, values, column, _rounding(column))
        for name, values in recorded.items()
        if (column := _matching(curves, name)) is not None
    ]
    if not epochs or not pairs:
        return None
    offset = 1 if any(epoch == 0 for epoch in epochs) else 0
    rows_of: dict[int, list[int]] = {}
    for row, written in enumerate(curves.epochs):
        rows_of.setdefault(written, []).append(row)
    compared, differing = 0, 0
    first: tuple[str | None, str] = (None, "")
    for index, epoch in enumerate(epochs):
        if epoch is None or not math.isfinite(epoch):
            continue
        candidates = rows_of.get(int(epoch) + offset, [])
        if cut_off and int(epoch) + offset == curves.epochs[-1] + 1 and not candidates:
            continue
        compared += 1
        wrong = [_first_difference(pairs, index, row) for row in candidates]
        if None in wrong:
            continue
        if differing == 0:
            first = (
                (f"{curves.source}:{curves.lines[candidates[0]]}", wrong[0] or "") if candidates else (None, "epoch")
            )
        differing += 1
    return Comparison(compared, differing, first[0], first[1]) if compared else None


def _matching(curves: Curves, name: str) -> Column | None:
    """The column of the curves that the framework's name stands for."""
    if name in _METRICS:
        return curves.metrics.get(_METRICS[name])
    kind, _, rest = name.partition("/")
    component = rest.removesuffix("_loss")
    if kind == "train":
        return curves.train_losses.get(component)
    if kind == "val":
        return curves.val_losses.get(component)
    return curves.learning_rates.get(rest) if kind == "lr" else None


def _rounding(column: Column) -> float:
    """By how much a value of the column may be off because somebody rounded the file: half of its last decimal.

    The last decimal is the one that all values are multiples of. Files as the frameworks write them have four or five.
    """
    values = [value for value in column if value is not None and math.isfinite(value)]
    for decimals in range(1, 4):
        if len(values) >= LEAST_ROUNDED and all(math.isclose(value, round(value, decimals)) for value in values):
            return 0.5 * 10.0**-decimals
    return 0.0


def _first_difference(pairs: list[tuple[str, Column, Column, float]], index: int, row: int) -> str | None:
    """The name of the first column in which recorded row `index` and csv row `row` differ, None if they agree."""
    for name, recorded, written, rounded in pairs:
        left = recorded[index] if index < len(recorded) else None
        right = written[row] if row < len(written) else None
        if left is None or right is None:
            continue  # a checkpoint may be written before all columns of its epoch are known
        if math.isfinite(left) and math.isfinite(right):
            if not math.isclose(left, right, rel_tol=RELATIVE, abs_tol=ABSOLUTE + rounded):
                return name
        elif math.isfinite(left) != math.isfinite(right):
            return name
    return None
