"""results.csv of every generation, its columns told apart by meaning.

The layouts are those of yolo.md A2: YOLOv5 and YOLOv9 (`metrics/mAP_0.5`, `x/lr0`, epochs from 0, padded headers),
YOLOv5 classification (`lr/0`, `test/loss`), its oriented fork (`metrics/HBBmAP.5`), and ultralytics from 8.0.0
(padded, epochs from 0) to 8.4 (`time`, epochs from 1, further losses and learning-rate groups). Columns that none of
them writes are kept under their own name. Rows that can't be read are left out, each with a note.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runaudit.errors import CurvesError
from runaudit.runs.facts import Column, Curves, Note

Dialect = Literal["yolov5", "yolov9", "ultralytics", "unknown"]

MAX_BYTES = 32 << 20
"""A thousand epochs of the widest layout (35 columns of 23 characters) have 0.8 MB."""
MAX_LINE = 1 << 14
"""The widest header measured has 0.8 kB."""
MAX_COLUMNS = 512
MAX_EPOCH = 10**7
MAX_NOTES = 20

_LOSS = re.compile(r"(train|val|test)/(.+)\Z")
_LEARNING_RATE = re.compile(r"(?:x/lr|lr/pg|lr/)([0-9]{1,2})\Z")
_METRIC = re.compile(r"metrics/(.+?)(?:\(([BMP])\))?\Z")
_METRIC_KEYS = {
    "precision": "precision",
    "recall": "recall",
    "mAP_0.5": "map50",
    "mAP50": "map50",
    "mAP_0.5:0.95": "map50_95",
    "mAP50-95": "map50_95",
    # YOLOv5's oriented fork measures the horizontal box around the oriented one.
    "HBBmAP.5": "map50",
    "HBBmAP.5:.95": "map50_95",
    "accuracy_top1": "top1",
    "accuracy_top5": "top5",
}
_METRIC_PREFIX = {None: "", "B": "", "M": "mask/", "P": "pose/"}
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z|[-+]?(?:nan|inf|infinity)\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class Results:
    """results.csv as read: its curves, what was seen on the way, and which program writes such a header.

    `columns` are the header's names without padding; `first_epoch` is what the file counts from, 0 or 1.
    """

    curves: Curves
    notes: tuple[Note, ...]
    columns: tuple[str, ...]
    dialect: Dialect
    first_epoch: Literal[0, 1]


def read_curves(path: Path, *, source: str) -> Curves:
    """The curves of `read_results`, for those who need no notes."""
    return read_results(path, source=source).curves


def read_results(path: Path, *, source: str) -> Results:
    """Read one results.csv in one pass.

    Raises
    ------
    CurvesError : `results_unreadable` if it has no header with an `epoch` column, or is far too large;
        `results_empty` if no row of an epoch follows the header. The place is `results.csv:1`.
    """
    lines = _lines(path, source)
    header_line, columns = _header(lines, source)
    reading = _Reading(source, columns)
    for number, line in enumerate(lines[header_line:], start=header_line + 1):
        if line and not line.isspace():
            reading.take(number, line)
    if not reading.rows:
        raise CurvesError(
            f"{source} has a header but no row of an epoch.", code="results_empty", place=f"{source}:{header_line}"
        )
    return as_results(source, columns, Table(reading.lines, reading.epochs, reading.rows), reading.notes.listed())


@dataclass(frozen=True)
class Table:
    """Rows of curves: the place of each (a line, or a record of an event file), its epoch as written, its cells."""

    lines: list[int]
    epochs: list[int]
    rows: list[list[float | None]]


def as_results(source: str, columns: tuple[str, ...], table: Table, notes: Iterable[Note]) -> Results:
    """The results that a table of at least one row holds; columns are told apart by their names' meaning."""
    dialect = _dialect(columns)
    first_epoch = _first_epoch(dialect, table.epochs)
    return Results(
        curves=_curves(source, columns, table, first_epoch),
        notes=tuple(notes),
        columns=columns,
        dialect=dialect,
        first_epoch=first_epoch,
    )


def _lines(path: Path, source: str) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CurvesError(f"{source} can't be opened: {error.strerror}.", place=source) from None
    if len(content) > MAX_BYTES:
        raise CurvesError(f"{source} is larger than {MAX_BYTES >> 20} MiB.", place=f"{source}:1")
    if not content.strip():
        raise CurvesError(f"{source} is empty.", code="results_empty", place=f"{source}:1")
    # bytes.splitlines knows only the ends of lines, where str.splitlines would also cut at form feeds and the like.
    return [line.decode("utf-8", "replace") for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]


def _header(lines: list[str], source: str) -> tuple[int, tuple[str, ...]]:
    """The line (from 1) and the names of the header: the first line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        names = tuple(_cells(line)) if len(line) <= MAX_LINE else ()
        if "epoch" not in names or len(names) > MAX_COLUMNS:
            raise CurvesError(
                f"{source} has no `epoch` column in its header. It must be the file that training wrote.",
                place=f"{source}:{number}",
            )
        return number, names
    raise CurvesError(f"{source} is empty.", code="results_empty", place=f"{source}:1")


def _cells(line: str) -> list[str]:
    """The cells of a line without padding and quotes; an empty cell after a last comma is no cell."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    while cells and not cells[-1]:
        cells.pop()
    return cells


@dataclass
class _Notes:
    """Notes of which only the first few are kept, and the rest counted by code."""

    source: str
    kept: list[Note] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, code: str, detail: str, line: int) -> None:
        if len(self.kept) < MAX_NOTES:
            self.kept.append(Note(code=code, detail=detail, place=f"{self.source}:{line}"))
        else:
            self.dropped[code] += 1

    def listed(self) -> list[Note]:
        more = [Note(code=code, detail=f"{n} more of these.", place=self.source) for code, n in self.dropped.items()]
        return self.kept + more


class _Reading:
    """The rows read so far."""

    def __init__(self, source: str, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.notes = _Notes(source)
        self.lines: list[int] = []
        self.epochs: list[int] = []
        self.rows: list[list[float | None]] = []
        self._epoch_column = columns.index("epoch")
        for name, count in Counter(columns).items():
            if count > 1:
                self.notes.add(
                    "column_repeated", f"The column `{name[:80]}` stands {count} times; the first is read.", 1
                )

    def take(self, number: int, line: str) -> None:
        if len(line) > MAX_LINE or "\0" in line:
            self.notes.add("row_unreadable", "The row is no text of a results.csv and is left out.", number)
            return
        cells = _cells(line)
        expected = len(self.columns)
        if len(cells) < expected and line.count(",") + 1 in (expected, expected + 1):
            cells += [""] * (expected - len(cells))
        if tuple(cells) == self.columns:
            self.notes.add("header_repeated", "The header stands here again: another run was appended.", number)
        elif len(cells) != expected:
            detail = f"The row has {len(cells)} cells where the header has {expected}; it is left out."
            self.notes.add("row_length", detail, number)
        else:
            self._row(number, cells)

    def _row(self, number: int, cells: list[str]) -> None:
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            row = []
        values: list[float | None] = list(row) if row and "_" not in "".join(cells) else self._tolerant(number, cells)
        epoch = values[self._epoch_column]
        if epoch is None or not 0 <= epoch <= MAX_EPOCH or epoch != int(epoch):
            self.notes.add("row_epoch", f"`{cells[self._epoch_column][:40]}` is no epoch; the row is left out.", number)
            return
        self.lines.append(number)
        self.epochs.append(int(epoch))
        self.rows.append(values)

    def _tolerant(self, number: int, cells: list[str]) -> list[float | None]:
        """Cell by cell, with None for what is no number (Python's `float` also takes `1_000`)."""
        values: list[float | None] = []
        for name, cell in zip(self.columns, cells, strict=True):
            value = float(cell) if _NUMBER.match(cell) else None
            if value is None and cell and name != "epoch":
                self.notes.add("cell_not_a_number", f"`{cell[:40]}` in `{name[:80]}` is no number.", number)
            values.append(value)
        return values


def _dialect(columns: tuple[str, ...]) -> Dialect:
    """Which program writes such a header."""
    names = set(columns)
    if any(name.startswith("lr/pg") for name in names) or any(name in names for name in _ULTRALYTICS_ONLY):
        return "ultralytics"
    if names & {"x/lr0", "lr/0", "metrics/mAP_0.5", "metrics/HBBmAP.5"}:
        return "yolov9" if "train/dfl_loss" in names else "yolov5"
    return "unknown"


_ULTRALYTICS_ONLY = ("metrics/mAP50(B)", "metrics/mAP50-95(B)", "metrics/mAP50-95(M)", "metrics/mAP50-95(P)")


def _first_epoch(dialect: Dialect, epochs: list[int]) -> Literal[0, 1]:
    """YOLOv5 and YOLOv9 always count from 0, ultralytics to 8.0.1xx from 0 and later from 1 (yolo.md A2)."""
    return 0 if dialect in ("yolov5", "yolov9") or min(epochs) == 0 else 1


def _curves(source: str, columns: tuple[str, ...], table: Table, first_epoch: int) -> Curves:
    groups: dict[str, dict[str, Column]] = {"train": {}, "val": {}, "metric": {}, "rate": {}, "other": {}}
    seconds: Column | None = None
    for name, values in zip(columns, zip(*table.rows, strict=True), strict=True):
        group, key = _meaning(name)
        if group == "seconds":
            seconds = values if seconds is None else seconds
        elif group in groups:
            groups[group].setdefault(key, values)
    return Curves(
        source=source,
        lines=tuple(table.lines),
        epochs=tuple(epoch + 1 - first_epoch for epoch in table.epochs),
        train_losses=groups["train"],
        val_losses=groups["val"],
        metrics=groups["metric"],
        learning_rates=groups["rate"],
        seconds=seconds,
        other=groups["other"],
    )


def _meaning(name: str) -> tuple[str, str]:
    """The group of a column (`train`, `val`, `metric`, `rate`, `seconds`, `epoch`, `other`) and its key there."""
    if name in ("epoch", "time"):
        return ("epoch" if name == "epoch" else "seconds"), name
    if rate := _LEARNING_RATE.match(name):
        return "rate", f"pg{rate[1]}"
    if loss := _LOSS.match(name):
        return ("train" if loss[1] == "train" else "val"), loss[2].removesuffix("_loss")
    if (metric := _METRIC.match(name)) and metric[1] in _METRIC_KEYS:
        return "metric", _METRIC_PREFIX[metric[2]] + _METRIC_KEYS[metric[1]]
    return "other", name
