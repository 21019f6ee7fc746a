"""The supervisor with real processes: order, restarts with growing pauses, hurry, and parts that never get up."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runaudit_service.embedded.part import Part
from runaudit_service.embedded.supervisor import PartFailedError, Supervisor
from tests.conftest import wait_until

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Observed:
    """A supervisor and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.supervisor = Supervisor(self.lines.append)

    def part(self, name: str, script: str, **options: object) -> Part:
        command = [sys.executable, "-c", script]
        return Part(name=name, command=command, log=self.folder / name, **options)  # type: ignore[arg-type]

    def up(self, name: str, times: int = 1) -> None:
        log = self.folder / name
        self.supervisor.wait(lambda: log.read_text().count("up") >= times, seconds=20, what=name)

    def process(self, name: str) -> int:
        line = [line for line in self.lines if line.startswith(f"{name} started")][-1]
        return int(line.split("process ")[1].split(")")[0].split(",")[0])


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[Observed]:
    observed = Observed(tmp_path)
    yield observed
    observed.supervisor.stop_all()


def test_parts_stop_in_the_opposite_order(observed: Observed) -> None:
    for name in ("first", "second"):
        observed.supervisor.start(observed.part(name, SLEEPS))
        observed.up(name)
    observed.supervisor.stop_all()
    assert [line.split()[0] for line in observed.lines if "stopped" in line] == ["second", "first"]


def test_a_dead_part_starts_again_after_a_pause_that_doubles(observed: Observed) -> None:
    observed.supervisor.start(observed.part("part", SLEEPS))
    for times in (1, 2):
        observed.up("part", times)
        os.kill(observed.process("part"), signal.SIGKILL)
    observed.up("part", 3)
    ended = [line for line in observed.lines if "ended" in line]
    assert ended == [
        "part ended (signal 9); it starts again in 0.5 s: up",
        "part ended (signal 9); it starts again in 1 s: up",
    ]


def test_what_never_gets_up_is_told_with_its_last_words(observed: Observed) -> None:
    observed.supervisor.start(observed.part("part", "raise SystemExit('no disk left')"))
    with pytest.raises(PartFailedError, match="part can't be started: no disk left"):
        observed.supervisor.wait(lambda: False, seconds=30, what="never")


def test_waiting_ends(observed: Observed) -> None:
    with pytest.raises(TimeoutError, match="the moon is not ready"):
        observed.supervisor.wait(lambda: False, seconds=0.2, what="the moon")


def test_a_part_that_does_not_listen_is_killed(observed: Observed) -> None:
    observed.supervisor.start(observed.part("part", DEAF, stop_seconds=0.5))
    observed.up("part")
    observed.supervisor.stop_all()
    assert observed.lines[-1] == "part did not stop within 0.5 s and was killed"


def test_parts_of_a_group_stop_together(observed: Observed) -> None:
    """Each part ends only once all three were told to: one after the other, none would end before it is killed."""
    meeting = observed.folder / "meeting"
    meeting.mkdir()
    waits_for_the_others = (
        "import os, pathlib, signal, sys, time\n"
        f"meeting = pathlib.Path({str(meeting)!r})\n"
        "def end(*_):\n"
        "    (meeting / str(os.getpid())).touch()\n"
        "    while len(list(meeting.iterdir())) < 3: time.sleep(0.02)\n"
        "    sys.exit()\n"
        "signal.signal(15, end); print('up', flush=True)\n"
        "while True: time.sleep(1)"
    )
    names = ("one", "two", "three")
    observed.supervisor.start(*(observed.part(name, waits_for_the_others, stop_seconds=15) for name in names))
    for name in names:
        observed.up(name)
    observed.supervisor.stop_all()
    assert sum("stopped" in line for line in observed.lines) == 3
    assert not any("was killed" in line for line in observed.lines)


def test_hurrying_reaches_the_parts_that_can(observed: Observed) -> None:
    observed.supervisor.start(observed.part("patient", DEAF, hurry_signal=signal.SIGQUIT))
    observed.supervisor.start(observed.part("other", SLEEPS))
    observed.up("patient")
    observed.up("other")
    patient, other = observed.process("patient"), observed.process("other")
    observed.supervisor.hurry()
    wait_until(lambda: Path(f"/proc/{patient}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
