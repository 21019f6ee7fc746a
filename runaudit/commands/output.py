"""What the commands say: results on standard output or in a file, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from runaudit.commands.outcome import UsageError
from runaudit.errors import RunauditError
from runaudit.reports.escape import visible_code


class ShowProgress(Protocol):
    """Called with a stage, and how many of how many images or files of it are done (0 of 0: it can't be counted)."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


def say(line: str) -> None:
    """One line on standard error. It may quote a run, so nothing in it can reach a terminal but text."""
    sys.stderr.write(f"{visible_code(line)}\n")
    sys.stderr.flush()


def deliver(text: str, output: Path | None) -> None:
    """`text` into the file `output`, else on standard output. Raises UsageError if the file can't be written."""
    text = text if text.endswith("\n") else f"{text}\n"
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"-o: {output} can't be written: {error.strerror}", code="output_unwritable") from error
    say(f"report written to {output}")


def describe_error(error: RunauditError) -> str:
    """What went wrong, where in the input, and under which code it is documented."""
    place = f"{error.place}: " if error.place and not error.detail.startswith(error.place) else ""
    return f"runaudit: {place}{error.detail} [{error.error_code}]"


@contextmanager
def shown_progress() -> Iterator[ShowProgress]:
    """A progress bar where standard error is a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield PlainProgress()


class PlainProgress:
    """A line at each new stage, and at each quarter of one that can be counted."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        quarter = 4 * done // total if total else 0
        if (stage, quarter) == self._last:
            return
        self._last = (stage, quarter)
        say(f"{_words(stage)}: {done} of {total}" if total else _words(stage))


@contextmanager
def _bar() -> Iterator[ShowProgress]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def show(stage: str, done: int, total: int) -> None:
            progress.update(task, description=_words(stage), completed=done, total=total or None)

        yield show


def _words(stage: str) -> str:
    return stage.replace("_", " ")
