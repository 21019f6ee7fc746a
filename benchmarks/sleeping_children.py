"""Children that sleep instead of reading a run, for benchmarks/queue.py: the program of a fork server.

Started as `runaudit.isolation.fork_server` is, with two arguments before its own: a folder, and seconds. A child writes
its job folder's name to `begun` in that folder, sleeps, and leaves the file `report` there as its report.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from runaudit.isolation import fork_server
from runaudit.isolation.folder import ChildName, JobFolder

FOLDER = Path(sys.argv[1])
SECONDS = float(sys.argv[2])


def sleep(_stage: ChildName, folder: JobFolder, _progress: int) -> int:
    """The work of such a child."""
    descriptor = os.open(FOLDER / "begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{folder.root.name}\n".encode())
    time.sleep(SECONDS)
    folder.report.write_bytes((FOLDER / "report").read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(fork_server.run(sys.argv[3:], sleep))
