"""Unpacks an uploaded archive: zip, tar, tar.gz, tar.bz2 or tar.xz, told by content and never by name.

An archive is rejected, never repaired. Files and folders are all that is written; every other kind of member, every
name that could leave the folder or meet another one, and every byte that belongs to no member refuses the archive as a
whole. What is unpacked is inert: nothing here opens it. Two things that honest tools do are tolerated: members that
macOS adds on its own are skipped, and a zip made on FAT or NTFS whose names hold backslashes and no slash is read with
backslashes as separators.

Codes of the ArchiveErrors:
archive_format_unknown    neither zip nor tar, nor a tar packed with gzip, bzip2 or xz (a packed file that holds no tar)
archive_truncated         it was cut off
archive_trailing_data     bytes lie behind its end
archive_inconsistent      a zip whose directory, members and end records contradict each other or leave gaps
archive_overlap           zip members that share bytes
archive_checksum          a member or the packed stream is damaged
archive_unreadable        any other damage
archive_encrypted         a member is encrypted
archive_method            a zip member is packed with something else than deflate
archive_link              a symbolic or hard link
archive_special_file      a device, a pipe, a sparse file, or an unknown kind of member
archive_path              a name that is absolute, climbs, names a drive, is too long, or holds forbidden characters
archive_duplicate         two names that are the same, or the same but for case or composition
archive_conflict          one name for a file and a folder
archive_too_large, archive_too_many_members, archive_ratio      over the limits
"""

from __future__ import annotations

import bz2
import lzma
import os
import shutil
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from runaudit.errors import ArchiveError
from runaudit.runs.archive_files import FileWriter
from runaudit.runs.archive_limits import Account, ArchiveLimits, OnProgress
from runaudit.runs.archive_tar import BLOCK, is_tar_header, unpack_tar
from runaudit.runs.archive_zip import unpack_zip

ArchiveFormat = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]

_CHUNK = 1 << 18
_PROGRESS_BYTES = 1 << 22
_XZ_MEMORY_BYTES = 128 * 2**20
"""xz -9 needs 65 MiB to unpack; a header may ask for 4 GiB"""


@dataclass(frozen=True)
class UnpackedArchive:
    """What an archive held. `bytes` counts the files' contents; `skipped` the members that macOS had added."""

    root: Path
    format: ArchiveFormat
    files: int
    bytes: int
    skipped: int


def unpack(
    archive: Path, target: Path, limits: ArchiveLimits | None = None, on_progress: OnProgress | None = None
) -> UnpackedArchive:
    """Unpacks `archive` into `target`, a folder that is absent or empty.

    Members are streamed: memory does not grow with their size. `on_progress` is called with the bytes of the archive
    that were read and with its size, at most once every 4 MiB. If the archive is refused, `target` is removed.
    Raises ArchiveError (see above), RunauditError `disk_full`, or OSError if `archive` can't be opened.
    """
    with archive.open("rb") as file, FileWriter(target) as writer:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ArchiveError("The archive is not a file.")
        account = Account(limits or ArchiveLimits(), status.st_size)
        progress = _Throttled(on_progress, status.st_size)
        try:
            format_ = _format(file)
            if format_ == "zip":
                skipped = unpack_zip(file, status.st_size, writer, account, progress)
            else:
                skipped = unpack_tar(_Unpacking(file, format_, account, progress), writer, account)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        progress.end()
        return UnpackedArchive(target, format_, writer.files, writer.bytes, skipped)


def _format(file: BinaryIO) -> ArchiveFormat:
    start = file.read(BLOCK)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start.startswith(b"\x1f\x8b"):
        return "tar.gz"
    if start.startswith(b"BZh"):
        return "tar.bz2"
    if start.startswith(b"\xfd7zXZ\0"):
        return "tar.xz"
    if is_tar_header(start):
        return "tar"
    raise ArchiveError(
        "This is no zip and no tar archive. Send a zip, tar or tar.gz of the run folder.", code="archive_format_unknown"
    )


class _Throttled:
    """Passes progress on where enough has happened since the last time."""

    def __init__(self, on_progress: OnProgress | None, size: int) -> None:
        self._on_progress = on_progress
        self._size = size
        self._next = 0

    def __call__(self, done: int, _size: int) -> None:
        if self._on_progress is not None and done >= self._next:
            self._next = done + _PROGRESS_BYTES
            self._on_progress(done, self._size)

    def end(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._size, self._size)


class _Decompressor(Protocol):
    """What bz2 and lzma offer."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """zlib's gzip decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _decompressor(format_: ArchiveFormat) -> _Decompressor:
    if format_ == "tar.gz":
        return _Gunzip()
    if format_ == "tar.bz2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


class _Unpacking:
    """The tar inside a packed file as a stream, counted against the limits as it is produced.

    All that the stream gives is counted, headers and padding too, so that no stream can run for ever. Packed files made
    of several streams one after the other (pigz, bgzip) are one file.
    """

    def __init__(self, file: BinaryIO, format_: ArchiveFormat, account: Account, progress: _Throttled) -> None:
        self._file = file
        self._format = format_
        self._account = account
        self._progress = progress
        self._decompressor = _decompressor(format_) if format_ != "tar" else None
        self._ready = b""
        self._started = False

    def read(self, count: int, /) -> bytes:
        parts: list[bytes] = []
        missing = count
        while missing:
            if not self._ready:
                self._ready = self._next_chunk()
                if not self._ready:
                    break
                self._begin()
            part, self._ready = self._ready[:missing], self._ready[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _begin(self) -> None:
        """Tells a packed file that is no tar from a tar that is damaged."""
        if self._started:
            return
        self._started = True
        while len(self._ready) < BLOCK and (more := self._next_chunk()):
            self._ready += more
        if not is_tar_header(self._ready[:BLOCK]) and any(self._ready[:BLOCK]):
            raise ArchiveError("The packed file holds no tar archive.", code="archive_format_unknown")

    def _next_chunk(self) -> bytes:
        try:
            chunk = self._file.read(_CHUNK) if self._decompressor is None else self._unpacked(self._decompressor)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
            raise ArchiveError("The archive is damaged: it does not unpack.", code="archive_checksum") from None
        self._account.add_bytes(len(chunk))
        self._progress(self._file.tell(), 0)
        return chunk

    def _unpacked(self, decompressor: _Decompressor) -> bytes:
        packed = b""
        while True:
            if decompressor.eof:
                packed = decompressor.unused_data or self._file.read(_CHUNK)
                if not packed:
                    return b""
                self._check_another_stream(packed)
                decompressor = self._decompressor = _decompressor(self._format)
            chunk = decompressor.decompress(packed, _CHUNK)
            if chunk or decompressor.eof:
                if chunk:
                    return chunk
                continue
            packed = self._file.read(_CHUNK)
            if not packed:
                raise ArchiveError("The archive was cut off.", code="archive_truncated")

    def _check_another_stream(self, packed: bytes) -> None:
        magic = {"tar.gz": b"\x1f\x8b", "tar.bz2": b"BZh", "tar.xz": b"\xfd7zXZ\0"}[self._format]
        if not packed.startswith(magic[: len(packed)]):
            raise ArchiveError("Behind the end of the packed file lie more bytes.", code="archive_trailing_data")
