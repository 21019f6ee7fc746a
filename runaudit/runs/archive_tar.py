"""Unpacks a tar archive from a stream, member by member.

Formats: POSIX.1-2017 pax interchange and ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"), and of GNU tar the
long names and base-256 numbers. Python's tarfile is not used: its headers with a negative size loop for ever
(CVE-2025-8194), and its extraction filters were bypassed through link chains (CVE-2025-4330, -4517).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from runaudit.errors import ArchiveError
from runaudit.runs.archive_files import FileWriter
from runaudit.runs.archive_limits import Account
from runaudit.runs.archive_names import is_operating_system_litter, member_path

BLOCK = 512
_CHUNK = 1 << 18
_EXTENSION_BYTES = 1 << 20
"""largest pax header or long name; honest ones have under 10 KiB"""


class ByteStream(Protocol):
    """A stream that is read once; `read` gives fewer bytes than asked for at its end only."""

    def read(self, count: int, /) -> bytes: ...


@dataclass
class _Extension:
    """What pax headers and GNU long names say of the next member; `pax` holds raw values by keyword."""

    pax: dict[str, bytes] = field(default_factory=dict)
    long_name: bytes | None = None


@dataclass(frozen=True)
class _Header:
    """One member: its name, type flag, size in bytes, and what extended it."""

    name: str
    kind: bytes
    size: int
    extension: _Extension


def is_tar_header(block: bytes) -> bool:
    """Whether `block` (512 bytes) is a member header: its checksum is right."""
    if len(block) < BLOCK or not any(block):
        return False
    try:
        stored = _number(block[148:156])
    except ArchiveError:
        return False
    blank = sum(block[:148]) + 8 * 0x20 + sum(block[156:BLOCK])
    return stored == blank


def unpack_tar(stream: ByteStream, writer: FileWriter, account: Account) -> int:
    """Writes all members of the tar in `stream`; returns how many were skipped as litter of macOS.

    Raises ArchiveError: archive_truncated, archive_trailing_data, archive_unreadable, archive_link,
    archive_special_file, archive_path, and what `writer` and `account` raise.
    """
    skipped = 0
    extension = _Extension()
    while True:
        block = _exactly(stream, BLOCK)
        if not any(block):
            break
        if not is_tar_header(block):
            raise ArchiveError("The tar archive is damaged: a header's checksum is wrong.")
        account.add_member()
        kind = block[156:157]
        size = _size(block, extension)
        if kind in (b"x", b"g", b"L", b"K"):
            _extend(extension, kind, _extension_data(stream, size))
            continue
        skipped += _unpack_member(_Header(_member_name(block, extension), kind, size, extension), stream, writer)
        extension = _Extension()
    if extension.pax or extension.long_name:
        raise ArchiveError(
            "The tar archive ends after the extended header of a missing member.", code="archive_truncated"
        )
    _check_end(stream)
    return skipped


def _unpack_member(header: _Header, stream: ByteStream, writer: FileWriter) -> int:
    name, kind, size = header.name, header.kind, header.size
    shown = ascii(name[:120])
    components = member_path(name)
    if kind in (b"1", b"2"):
        raise ArchiveError(f"Member {shown} is a link; links are not unpacked.", code="archive_link")
    if kind not in (b"0", b"\0", b"7", b"5") or any(key.startswith("GNU.sparse.") for key in header.extension.pax):
        raise ArchiveError(f"Member {shown} is neither a plain file nor a folder.", code="archive_special_file")
    is_folder = kind == b"5" or name.endswith("/")
    if is_folder and size:
        raise ArchiveError(f"The tar archive is damaged: the folder {shown} holds {size} bytes.")
    if not components and not is_folder:
        raise ArchiveError(f"The member name {shown} names no file.", code="archive_path")
    content = _content(stream, size)
    litter = bool(components) and is_operating_system_litter(components)
    if litter:
        for _chunk in content:
            pass
    elif not is_folder:
        writer.file(components, content)
    elif components:
        writer.folder(components)
    return int(litter)


def _exactly(stream: ByteStream, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise ArchiveError("The tar archive was cut off.", code="archive_truncated")
    return data


def _content(stream: ByteStream, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = _exactly(stream, min(left, _CHUNK))
        left -= len(chunk)
        yield chunk
    _exactly(stream, -size % BLOCK)


def _number(text: bytes) -> int:
    """A number field: octal digits, or base-256 if the first bit is set (GNU). Negative ones are refused."""
    if text[0] & 0x80:
        if text[0] != 0x80:
            raise ArchiveError("The tar archive is damaged: a number is negative or far too large.")
        return int.from_bytes(text[1:], "big")
    digits = text.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise ArchiveError("The tar archive is damaged: a number is not octal.")
    return int(digits, 8)


def _size(block: bytes, extension: _Extension) -> int:
    size = _number(block[124:136])
    told = extension.pax.get("size")
    if told is None:
        return size
    if not told.isdigit() or len(told) > 20:
        raise ArchiveError("The tar archive is damaged: a pax size is not a number.")
    return int(told)


def _member_name(block: bytes, extension: _Extension) -> str:
    if "path" in extension.pax:
        raw = extension.pax["path"]
    elif extension.long_name is not None:
        raw = extension.long_name
    else:
        raw = block[:100].split(b"\0", 1)[0]
        # GNU tar uses the prefix field for other things and marks that with two spaces behind "ustar".
        prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
        raw = prefix + b"/" + raw if prefix else raw
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"A member's name is no UTF-8: {raw[:80]!r}.", code="archive_path") from None
    if not name:
        raise ArchiveError("A member has no name.", code="archive_path")
    return name


def _extension_data(stream: ByteStream, size: int) -> bytes:
    if size > _EXTENSION_BYTES:
        raise ArchiveError("The tar archive is damaged: an extended header is far too large.")
    return b"".join(_content(stream, size))


def _extend(extension: _Extension, kind: bytes, data: bytes) -> None:
    if kind == b"L":
        extension.long_name = data.split(b"\0", 1)[0]
    elif kind == b"x":
        extension.pax = _pax_records(data)
    elif kind == b"g" and {"path", "size", "linkpath"} & _pax_records(data).keys():
        # A global header (git archive writes one with a comment) must not rename or resize all that follows.
        raise ArchiveError("The tar archive is damaged: one extended header names all members.")


def _pax_records(data: bytes) -> dict[str, bytes]:
    """The records `<length> <keyword>=<value>\\n`, each length counting its whole record."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():
            raise ArchiveError("The tar archive is damaged: an extended header can't be read.")
        end = at + int(digits)
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals:
            raise ArchiveError("The tar archive is damaged: an extended header can't be read.")
        records[keyword.decode("ascii", "replace")] = value
        at = end
    if records.get("hdrcharset", b"ISO-IR 10646 2000 UTF-8") != b"ISO-IR 10646 2000 UTF-8":
        raise ArchiveError("The tar archive's names are not UTF-8.", code="archive_path")
    return records


def _check_end(stream: ByteStream) -> None:
    """The end is two zero blocks, then zeros up to the end of the record, then nothing."""
    if any(_exactly(stream, BLOCK)):
        raise ArchiveError("The tar archive is damaged: it goes on behind its end.", code="archive_trailing_data")
    while chunk := stream.read(_CHUNK):
        if any(chunk):
            raise ArchiveError("Behind the end of the tar archive lie more bytes.", code="archive_trailing_data")
