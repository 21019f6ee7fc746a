"""Writes a zip whose bytes depend on its members' names and content alone."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from runaudit.errors import InputError
from runaudit.runs.regular_file import open_regular

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""the earliest time that a zip can hold"""
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, order=True)
class Member:
    """One file of an archive: its name there, with forward slashes, and where it is read from."""

    name: str
    path: Path


def write_archive(members: Iterable[Member], stream: IO[bytes]) -> None:
    """Write `members`, each name once, sorted by name, into `stream`; memory does not grow with the files' sizes.

    Nothing is compressed: weights and images would not get smaller, and compressed bytes differ between builds of
    zlib, which would make the same run a different artifact.

    Raises InputError for a file that can't be read or a name that is not valid text.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted({member.name: member for member in members}.values()):
            _write_member(archive, member)


def _write_member(archive: zipfile.ZipFile, member: Member) -> None:
    info = zipfile.ZipInfo(member.name, EPOCH)
    info.create_system = 3  # Unix, on every system: else the byte would tell where it was packed
    info.external_attr = 0o100644 << 16
    try:
        with open_regular(member.path) as source:
            info.file_size = os.fstat(source.fileno()).st_size
            with archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
    except UnicodeEncodeError as error:
        raise InputError(f"the file name {member.name!r} is not valid text", code="file_name_invalid") from error
    except OSError as error:
        raise InputError(f"{member.path} can't be read: {error.strerror or error}", place=member.name) from error
