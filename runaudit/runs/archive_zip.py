"""Unpacks a zip archive, member by member."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import BinaryIO

from runaudit.errors import ArchiveError
from runaudit.runs.archive_files import FileWriter
from runaudit.runs.archive_limits import Account, OnProgress
from runaudit.runs.archive_names import is_operating_system_litter, member_path
from runaudit.runs.zip_directory import DEFLATED, STORED, ZipMember, data_span, inconsistent, read_data, read_directory

_BACKSLASH_SYSTEMS = (0, 10, 11)
"""FAT, NTFS, VFAT: the makers whose tools wrote backslashes as separators (old .NET)"""


def unpack_zip(file: BinaryIO, size: int, writer: FileWriter, account: Account, on_progress: OnProgress) -> int:
    """Writes all members of the zip `file` of `size` bytes; returns how many were skipped as litter of macOS.

    All names, kinds and declared sizes are judged before the first byte is written. Raises ArchiveError.
    """
    directory = read_directory(file, size, max_members=account.limits.members)
    plan = [(member, _components(member)) for member in directory.members]
    account.check(sum(member.size for member in directory.members))
    ends = [*(member.offset for member in directory.members), directory.end][1:]
    spans = [data_span(file, member, end) for member, end in zip(directory.members, ends, strict=True)]
    skipped = 0
    for (member, components), start in zip(plan, spans, strict=True):
        account.add_member()
        on_progress(member.offset, size)
        if components and is_operating_system_litter(components):
            skipped += 1
        elif member.name.endswith(("/", "\\")):
            if components:
                writer.folder(components)
        else:
            writer.file(components, _counted(read_data(file, member, start), account))
    return skipped


def _components(member: ZipMember) -> tuple[str, ...]:
    """The member's path. Raises ArchiveError for links, devices, bad names and methods that can't be unpacked."""
    name = member.name
    if member.system in _BACKSLASH_SYSTEMS and "\\" in name and "/" not in name:
        # Such a name has no other separator, so it can be read in one way only, and is judged like any other then.
        name = name.replace("\\", "/")
    components = member_path(name)
    kind = stat.S_IFMT(member.mode)
    shown = ascii(name[:120])
    if kind == stat.S_IFLNK:
        raise ArchiveError(f"Member {shown} is a link; links are not unpacked.", code="archive_link")
    is_folder = name.endswith("/")
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        raise ArchiveError(f"Member {shown} is neither a file nor a folder.", code="archive_special_file")
    if not components and not is_folder:
        raise ArchiveError(f"The member name {shown} names no file.", code="archive_path")
    if is_folder and member.size:
        raise inconsistent(f"the folder {shown} holds {member.size} bytes")
    if member.method not in (STORED, DEFLATED):
        raise ArchiveError(
            f"Member {shown} is packed with method {member.method}; pack the archive with deflate, or store its files.",
            code="archive_method",
        )
    if member.method == STORED and member.packed != member.size:
        raise inconsistent(f"the stored member {shown} has two sizes")
    return components


def _counted(chunks: Iterator[bytes], account: Account) -> Iterator[bytes]:
    for chunk in chunks:
        account.add_bytes(len(chunk))
        yield chunk
