"""Curves from TensorBoard event files, for runs whose results.csv is missing.

YOLOv5 and ultralytics log the columns of results.csv under the same tags, with the epoch as the step: YOLOv5 counts it
from 0, ultralytics from 1 (utils/loggers/__init__.py; utils/callbacks/tensorboard.py). After the last epoch both log
the metrics of best.pt once more at its step; only the first value of a tag at a step is an epoch's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runaudit.errors import CurvesError
from runaudit.runs.curves import MAX_COLUMNS, MAX_EPOCH, Results, Table, as_results
from runaudit.runs.event_file import EventFile, Scalar, read_event_file
from runaudit.runs.facts import Note
from runaudit.runs.locate import EVENTS, regular

MAX_FILES = 64
_PREFIXES = ("train/", "val/", "test/", "metrics/", "lr/", "x/")


def event_files(folder: Path) -> list[Path]:
    """The event files of a folder in the order in which they were begun: their names hold the time."""
    found = [path for path in folder.glob(f"{EVENTS}*") if regular(path)]
    return sorted(found, key=lambda path: (_begun(path.name), path.name))[:MAX_FILES]


def read_event_curves(files: Iterable[Path]) -> Results:
    """The curves of a run's event files, one row an epoch and file: a resumed training begins another file.

    Raises
    ------
    CurvesError : `results_empty` if they hold no scalar of a training.
    """
    notes: list[Note] = []
    columns: dict[str, int] = {}
    read: list[EventFile] = []
    for path in files:
        try:
            file = read_event_file(path, source=path.name)
        except OSError as error:
            detail = f"It can't be opened: {error.strerror}."
            notes.append(Note(code="event_file_damaged", detail=detail, place=path.name))
            continue
        notes += file.notes
        read.append(file)
        for scalar in file.scalars:
            if _is_of_training(scalar) and len(columns) < MAX_COLUMNS:
                columns.setdefault(scalar.tag, len(columns))
    table = Table([], [], [])
    for file in read:
        _add_rows(file, columns, table)
    if not table.rows:
        raise CurvesError("The event files hold no curves of a training.", code="results_empty")
    source = next(file.source for file in read if any(scalar.tag in columns for scalar in file.scalars))
    if len(read) > 1:
        notes.append(Note(code="event_files_joined", detail=f"{len(read)} event files were read.", place=source))
    notes.append(
        Note(code="curves_from_events", detail="There is no results.csv; the curves are TensorBoard's.", place=source)
    )
    return as_results(source, tuple(columns), table, notes)


def _is_of_training(scalar: Scalar) -> bool:
    return scalar.tag.startswith(_PREFIXES) and 0 <= scalar.step <= MAX_EPOCH


def _add_rows(file: EventFile, columns: dict[str, int], table: Table) -> None:
    """Rows of one file, by step; the first value of a tag at a step stands."""
    rows: dict[int, list[float | None]] = {}
    records: dict[int, int] = {}
    for scalar in file.scalars:
        column = columns.get(scalar.tag) if _is_of_training(scalar) else None
        if column is None:
            continue
        row = rows.setdefault(scalar.step, [None] * len(columns))
        records.setdefault(scalar.step, scalar.record)
        if row[column] is None:
            row[column] = scalar.value
    for step in sorted(rows):
        table.lines.append(records[step])
        table.epochs.append(step)
        table.rows.append(rows[step])


def _begun(name: str) -> int:
    """The seconds in `events.out.tfevents.1700000000.host.123.0`; 0 for a name without."""
    digits = name.removeprefix(EVENTS).partition(".")[0]
    return int(digits) if digits.isdecimal() and len(digits) < 20 else 0
