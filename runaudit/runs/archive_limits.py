"""How much an archive may hold, and the account of what it has held so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runaudit.errors import ArchiveError

OnProgress = Callable[[int, int], None]
"""called with the archive's bytes read so far and its size in bytes"""


@dataclass(frozen=True)
class ArchiveLimits:
    """Largest archive that is unpacked; the defaults are those of `runaudit.isolation.job.Limits`.

    `ratio` is judged once `ratio_grace_bytes` have been unpacked, since a short log of one repeated line packs better
    than any data set does. Deflate itself ends at 1032 to 1; honest label folders were seen at 30 to 1.
    """

    unpacked_bytes: int = 50 * 2**30
    members: int = 1_000_000
    ratio: int = 200
    ratio_grace_bytes: int = 64 * 2**20


class Account:
    """Counts members and unpacked bytes of one archive of `packed` bytes, and stops it where it goes too far."""

    def __init__(self, limits: ArchiveLimits, packed: int) -> None:
        self.limits = limits
        self.packed = packed
        self.members = 0
        self.unpacked = 0

    def add_member(self) -> None:
        """Raises ArchiveError archive_too_many_members."""
        self.members += 1
        if self.members > self.limits.members:
            raise ArchiveError(
                f"The archive has more than {self.limits.members} members.", code="archive_too_many_members"
            )

    def add_bytes(self, count: int) -> None:
        """Raises ArchiveError archive_too_large or archive_ratio."""
        self.unpacked += count
        self.check(self.unpacked)

    def check(self, unpacked: int) -> None:
        """Whether `unpacked` bytes in all are allowed. Raises ArchiveError archive_too_large or archive_ratio."""
        if unpacked > self.limits.unpacked_bytes:
            raise ArchiveError(
                f"Unpacked, the archive holds more than {self.limits.unpacked_bytes} bytes.", code="archive_too_large"
            )
        if unpacked > self.limits.ratio_grace_bytes and unpacked > self.limits.ratio * self.packed:
            raise ArchiveError(
                f"The archive unpacks to more than {self.limits.ratio} times its own size.", code="archive_ratio"
            )
