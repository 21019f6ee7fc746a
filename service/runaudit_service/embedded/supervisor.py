"""Keeps parts running: starts them in order, starts again what dies, and stops them in the opposite order."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runaudit_service.embedded.part import Part, ended

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
STABLE_SECONDS = 30.0
"""a part that ran this long is forgiven its earlier deaths"""
POLL_SECONDS = 0.1
MOST_EARLY_DEATHS = 5
"""a part that died this often in a row (over 7 s with the pauses between) while others wait for it will not get up"""
LAST_LINE_BYTES = 4096

Say = Callable[[str], None]


@dataclass
class _Kept:
    part: Part
    process: subprocess.Popen[bytes]
    started: float
    early_deaths: int = 0
    start_again_at: float | None = None


class PartFailedError(Exception):
    """A part dies whenever it is started."""


@dataclass
class Supervisor:
    """Groups of parts in the order of their start. Use it from one thread, which outlives them all (see Part.start)."""

    say: Say
    _groups: list[list[_Kept]] = field(default_factory=list)

    def start(self, *parts: Part) -> None:
        """Starts parts, and keeps them running from now on; they will be stopped together."""
        group: list[_Kept] = []
        self._groups.append(group)
        for part in parts:
            process = part.start()
            group.append(_Kept(part, process, time.monotonic()))
            self.say(f"{part.name} started (process {process.pid}, log {part.log})")

    def watch(self) -> None:
        """Looks at each part once: one that died is started again after a pause that doubles with each early death."""
        now = time.monotonic()
        for kept in self._all():
            if kept.start_again_at is not None:
                if now >= kept.start_again_at:
                    self._start_again(kept)
            elif (code := kept.process.poll()) is not None:
                self._plan_restart(kept, code)

    def wait(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Watches until `condition` is true.

        Raises:
            TimeoutError: it was not within `seconds`.
            PartFailedError: a part died too often for it to become true.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} is not ready after {seconds:.0f} s")
            self.watch()
            for kept in self._all():
                if kept.early_deaths >= MOST_EARLY_DEATHS:
                    raise PartFailedError(f"{kept.part.name} can't be started: {last_line(kept.part.log)}")
            time.sleep(POLL_SECONDS)

    def stop_all(self) -> None:
        """Stops the groups, what was started last first."""
        while self._groups:
            group = [kept for kept in self._groups[-1] if kept.process.poll() is None]
            begun = time.monotonic()
            for kept in group:
                kept.process.send_signal(kept.part.stop_signal)
            for kept in group:
                if ended(kept.process, kept.part.stop_seconds - (time.monotonic() - begun)):
                    self.say(f"{kept.part.name} stopped ({time.monotonic() - begun:.1f} s)")
                else:
                    self.say(f"{kept.part.name} did not stop within {kept.part.stop_seconds:g} s and was killed")
            self._groups.pop()

    def hurry(self) -> None:
        """Tells the parts that may take their time to stop not to."""
        for kept in self._all():
            if kept.part.hurry_signal is not None and kept.process.poll() is None:
                kept.process.send_signal(kept.part.hurry_signal)

    def _all(self) -> list[_Kept]:
        return [kept for group in self._groups for kept in group]

    def _plan_restart(self, kept: _Kept, code: int) -> None:
        now = time.monotonic()
        if now - kept.started >= STABLE_SECONDS:
            kept.early_deaths = 0
        back_off = min(FIRST_BACK_OFF_SECONDS * 2**kept.early_deaths, LONGEST_BACK_OFF_SECONDS)
        kept.early_deaths += 1
        kept.start_again_at = now + back_off
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self.say(f"{kept.part.name} ended ({how}); it starts again in {back_off:g} s: {last_line(kept.part.log)}")

    def _start_again(self, kept: _Kept) -> None:
        kept.process = kept.part.start()
        kept.started = time.monotonic()
        kept.start_again_at = None
        self.say(f"{kept.part.name} started (process {kept.process.pid})")


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - LAST_LINE_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"
