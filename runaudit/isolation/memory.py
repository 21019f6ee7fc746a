"""Telling that memory ran out of how a child ended: by the kernel's count of the processes that it killed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from runaudit.errors import ChildError, ChildMemoryError

VMSTAT: Final = Path("/proc/vmstat")


def kernel_kills(vmstat: Path = VMSTAT) -> int | None:
    """How many processes the kernel has killed for want of memory since it started; None where it doesn't say.

    Counts those of every container, and of limits of control groups too (`oom_kill` of proc_vmstat(5)).
    """
    try:
        text = vmstat.read_text()
    except OSError:
        return None
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def why_killed(stage: str, kills_before: int | None, kills_after: int | None) -> ChildError:
    """The error for a child that SIGKILL ended, though its parent did not send it.

    The kernel kills for want of memory, and says only that it did so somewhere: children are its first choice
    (`sandbox.volunteer_to_be_killed`), so a kill during the child's life was most probably this one.
    """
    if kills_before is None or kills_after is None:
        return ChildError(
            f"The {stage} process was ended with SIGKILL: by someone, or by the kernel because memory ran out."
        )
    if kills_after == kills_before:
        return ChildError(f"The {stage} process was ended with SIGKILL by another process.")
    return ChildMemoryError(
        f"The kernel ended the {stage} process with SIGKILL, most probably because the machine's memory ran out. "
        "Run fewer audits at a time, or run them where there is more memory."
    )
