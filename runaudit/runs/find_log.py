"""Which file of a run is its console log."""

from __future__ import annotations

from pathlib import Path

from runaudit.runs.facts import LogFacts, Note
from runaudit.runs.locate import RunFolder, regular

MAX_CANDIDATES = 16
_NAMED_FIRST = ("train.log", "training.log", "log.txt", "console.log", "output.log", "nohup.out", "train.txt")
_SUFFIXES = (".log", ".out", ".txt")
_NEVER = ("requirements.txt", "results.txt", "classes.txt", "labels.txt", "license.txt", "readme.txt")


def find_log(run: RunFolder) -> tuple[LogFacts | None, list[Note]]:
    """The facts of the first file that is the log of a YOLO training: in the run folder, then in those above it.

    A log above the run folder counts only if the training in it saved into a folder of the run's name, since it may
    be another run's. Further logs are named in a note.
    """
    name = Path(run.folder).name or run.root.name
    notes: list[Note] = []
    chosen: LogFacts | None = None
    folder = run.path
    while True:
        candidates = _candidates(folder)
        if candidates:
            from runaudit.runs.console_log import read_console_log  # noqa: PLC0415 - few runs have a log
            from runaudit.runs.log_text import read_log  # noqa: PLC0415
        for path in candidates:
            source = path.relative_to(run.path).as_posix() if folder == run.path else path.name
            try:
                log = read_log(path, source=source)
            except OSError as error:
                notes.append(Note(code="log_unreadable", detail=f"It can't be opened: {error.strerror}.", place=source))
                continue
            facts = read_console_log(log, run_name=name, strict=folder != run.path)
            if facts is not None and chosen is not None:
                detail = f"It is a log of this training too; {chosen.sources[0]} was read."
                notes.append(Note(code="log_ignored", detail=detail, place=source))
            chosen = chosen or facts
        if chosen is not None or folder == run.root:
            return chosen, notes
        folder = folder.parent


def _candidates(folder: Path) -> list[Path]:
    """Files that may be a log by their name, the likeliest first."""
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES]
    except OSError:
        return []
    found = [path for path in names if path.name.lower() not in _NEVER and regular(path)]
    return sorted(found, key=_likelihood)[:MAX_CANDIDATES]


def _likelihood(path: Path) -> tuple[int, int, str]:
    name = path.name.lower()
    rank = _NAMED_FIRST.index(name) if name in _NAMED_FIRST else len(_NAMED_FIRST)
    return rank, _SUFFIXES.index(path.suffix.lower()), name
