"""One part of the embedded service: a process with a log, tied to the life of the one that started it."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launch.py")
ACCOUNTS = ("postgres", "nobody")
"""Accounts that a server which refuses root may use, best first; each has an entry in passwd, which initdb wants."""


@dataclass(frozen=True)
class Account:
    """A user that a part runs as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account that PostgreSQL runs as when this process is root, else none.

    Raises:
        LookupError: this process is root and the system knows none of `ACCOUNTS`.
    """
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise LookupError(
        "PostgreSQL can't run as root, and there is no account " + " or ".join(ACCOUNTS) + " to run it as"
    )


@dataclass(frozen=True)
class Part:
    """What to start, and how to stop it.

    `stop_signal` asks it to stop, `hurry_signal` asks it not to take its time, and after `stop_seconds` it is killed;
    `death_signal` is what the kernel sends it when its parent dies.
    """

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals | None = None
    stop_seconds: float = 10
    death_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None
    reach: tuple[Path, ...] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the process, in a session of its own so that Ctrl-C reaches the supervisor only.

        Call it from a thread that lives as long as the part shall: the kernel ties a child to the starting thread.
        """
        with self.log.open("ab") as log:
            return subprocess.Popen(
                launch_command(self.command, death_signal=self.death_signal, account=self.account, reach=self.reach),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,
                cwd="/",
            )


def launch_command(
    command: list[str], *, death_signal: signal.Signals, account: Account | None = None, reach: tuple[Path, ...] = ()
) -> list[str]:
    """`command` started by way of launch.py."""
    options = ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    if account is not None:
        options += ["--uid", str(account.uid), "--gid", str(account.gid)]
        options += [argument for path in reach for argument in ("--reach", str(path))]
    return [sys.executable, "-I", "-S", str(_LAUNCHER), *options, "--", *command]


def ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits for a process that was told to stop, and kills it after `seconds`. True if it went by itself."""
    try:
        process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def stop(process: subprocess.Popen[bytes], part: Part) -> bool:
    """Ends a part: its stop signal, then SIGKILL after `stop_seconds`. True if it went by itself."""
    process.send_signal(part.stop_signal)
    return ended(process, part.stop_seconds)
