"""Opening a file that somebody else named: one that is a pipe or a device is refused instead of waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Final

# O_NONBLOCK: a pipe would else wait for a writer for ever. Windows has neither such pipes nor the flag.
_READ: Final = (
    os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK if os.name == "posix" else os.O_RDONLY | getattr(os, "O_BINARY", 0)
)


def open_regular(path: Path) -> IO[bytes]:
    """`path` opened for reading. Raises OSError, also for what is no regular file; none of it waits."""
    descriptor = os.open(path, _READ)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file")
