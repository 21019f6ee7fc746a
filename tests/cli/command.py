"""Runs `runaudit` as a process of its own, as people do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NO_SERVICE = {"RUNAUDIT_URL": "", "RUNAUDIT_API_KEY": "", "RUNAUDIT_DATA_DIR": ""}
COMMAND = (sys.executable, "-m", "runaudit.cli")


def runaudit(
    *arguments: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """The ended command, with what it wrote."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | NO_SERVICE | (environment or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
