"""Reads the directory of a zip file, and refuses every zip that two readers could understand differently.

Python's zipfile is made to open as much as it can: it takes duplicate names, bytes before and between the members,
a directory that contradicts the members, and whatever lies behind the end. Each of these has hidden a payload from a
scanner (CVE-2025-1944, CVE-2025-1945, CVE-2025-54368), so this reader demands that members, directory and end records
fill the file without gap or overlap, and that both descriptions of a member agree.
Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from runaudit.errors import ArchiveError

STORED = 0
DEFLATED = 8

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_ENCRYPTED_FLAGS = 0x2041
"""bit 0: encrypted; bit 6: strong encryption; bit 13: the directory is encrypted"""
_DESCRIPTOR_FLAG = 0x0008
_UTF8_FLAG = 0x0800
_NAME_BYTES = 4096
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member. `offset` is that of its local header; `system` is the maker's system (0 FAT, 3 Unix, 10 NTFS)."""

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    system: int
    raw_name: bytes


@dataclass(frozen=True, slots=True)
class ZipDirectory:
    """All members in file order, and the offset at which the directory starts and the last member has to end."""

    members: tuple[ZipMember, ...]
    end: int
    comment: bytes


def read_directory(file: BinaryIO, size: int, *, max_members: int) -> ZipDirectory:
    """The directory of the zip `file` of `size` bytes.

    Raises ArchiveError: archive_truncated (no end record), archive_trailing_data (bytes behind it),
    archive_too_many_members, archive_encrypted, archive_path (a name that is no UTF-8), archive_inconsistent.
    """
    end_offset, fields, comment = _end_record(file, size)
    count, directory_size, directory_offset, directory_end = _with_zip64(file, end_offset, fields)
    if count > max_members:
        raise ArchiveError(
            f"The archive has {count} members, {max_members} are allowed.", code="archive_too_many_members"
        )
    if directory_offset + directory_size != directory_end:
        raise inconsistent("its directory does not end where its end record starts")
    members = sorted(_members(file, directory_offset, directory_end, count), key=lambda member: member.offset)
    if (members[0].offset if members else directory_offset) != 0:
        raise inconsistent("there are bytes before its first member")
    return ZipDirectory(tuple(members), directory_offset, comment)


def inconsistent(what: str) -> ArchiveError:
    """The error of a zip whose parts contradict each other."""
    return ArchiveError(f"The zip file contradicts itself: {what}.", code="archive_inconsistent")


def data_span(file: BinaryIO, member: ZipMember, next_offset: int) -> int:
    """The offset of the member's data, once its local header is known to say what the directory says.

    `next_offset` is where the next member (or the directory) starts: header, data and the optional descriptor have to
    fill the span up to it exactly. Raises ArchiveError archive_inconsistent or archive_truncated.
    """
    file.seek(member.offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise ArchiveError("The zip file ends inside a member.", code="archive_truncated")
    signature, _version, flags, method, _time, _date, crc, packed, size, name_size, extra_size = _LOCAL.unpack(header)
    if signature != b"PK\x03\x04":
        raise inconsistent("a member does not start where the directory says")
    rest = file.read(name_size + extra_size)
    if len(rest) < name_size + extra_size:
        raise ArchiveError("The zip file ends inside a member.", code="archive_truncated")
    if rest[:name_size] != member.raw_name or flags != member.flags or method != member.method:
        raise inconsistent(f"member {member.name!r} is described twice, differently")
    packed, size = _local_sizes(rest[name_size:], packed, size)
    deferred = bool(flags & _DESCRIPTOR_FLAG)
    for local, central in ((crc, member.crc), (packed, member.packed), (size, member.size)):
        if local != central and not (deferred and local == 0):
            raise inconsistent(f"member {member.name!r} is described twice, differently")
    start: int = member.offset + _LOCAL.size + name_size + extra_size
    _check_gap(file, member, start + member.packed, next_offset, deferred=deferred)
    return start


def read_data(file: BinaryIO, member: ZipMember, start: int) -> Iterator[bytes]:
    """The member's bytes in chunks, unpacked if it is deflated. Raises ArchiveError once size or checksum differ.

    At most one byte more than the declared size is ever produced, whatever the packed data would unpack to.
    """
    crc = 0
    produced = 0
    file.seek(start)
    chunks = _stored(file, member) if member.method == STORED else _inflated(file, member)
    for chunk in chunks:
        produced += len(chunk)
        if produced > member.size:
            raise inconsistent(f"member {member.name!r} holds more than its declared {member.size} bytes")
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if produced != member.size:
        raise inconsistent(f"member {member.name!r} holds {produced} bytes, not the declared {member.size}")
    if crc != member.crc:
        raise ArchiveError(f"Member {member.name!r} is damaged: its checksum is wrong.", code="archive_checksum")


def _end_record(file: BinaryIO, size: int) -> tuple[int, tuple[int, ...], bytes]:
    """Offset, fields and comment of the one end record that ends where the file ends."""
    tail_size = min(size, _END.size + 0xFFFF)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    seen = 0
    found: list[int] = []
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        seen += 1
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            found.append(at)
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if not seen or (not found and _ends_beyond(tail)):
        raise ArchiveError("The zip file has no end: it was cut off.", code="archive_truncated")
    if not found:
        raise ArchiveError("Behind the end of the zip file lie more bytes.", code="archive_trailing_data")
    if len(found) > 1 or found[0] != tail.rfind(b"PK\x05\x06"):
        raise inconsistent("it has more than one end record")
    _signature, *fields, _comment_size = _END.unpack_from(tail, found[0])
    return size - tail_size + found[0], tuple(fields), tail[found[0] + _END.size :]


def _ends_beyond(tail: bytes) -> bool:
    """Whether the last end record is itself cut off, or its comment is."""
    at = tail.rfind(b"PK\x05\x06")
    return at + _END.size > len(tail) or at + _END.size + int(_END.unpack_from(tail, at)[7]) > len(tail)


def _with_zip64(file: BinaryIO, end_offset: int, fields: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Count, size and offset of the directory, and the offset at which it has to end."""
    disk, directory_disk, count_here, count, directory_size, directory_offset = fields
    locator = b""
    if end_offset >= _LOCATOR64.size:
        file.seek(end_offset - _LOCATOR64.size)
        locator = file.read(_LOCATOR64.size)
    if not locator.startswith(b"PK\x06\x07"):
        if disk or directory_disk or count != count_here:
            raise inconsistent("it is one part of several")
        return count, directory_size, directory_offset, end_offset
    _signature, _disk, record_offset, disks = _LOCATOR64.unpack(locator)
    record_end = end_offset - _LOCATOR64.size
    if record_offset + _END64.size != record_end or disks > 1:
        raise inconsistent("its zip64 end record is not where its locator says")
    file.seek(record_offset)
    record = _END64.unpack(file.read(_END64.size))
    signature, record_size, _made, _needed, disk64, directory_disk64, here64, count64, size64, offset64 = record
    if signature != b"PK\x06\x06" or record_size != _END64.size - 12 or disk64 or directory_disk64 or here64 != count64:
        raise inconsistent("its zip64 end record is damaged")
    pairs = ((count, count64, 0xFFFF), (directory_size, size64, 0xFFFFFFFF), (directory_offset, offset64, 0xFFFFFFFF))
    if any(narrow not in (wide, limit) for narrow, wide, limit in pairs):
        raise inconsistent("its two end records differ")
    return count64, size64, offset64, record_offset


def _members(file: BinaryIO, start: int, end: int, count: int) -> Iterator[ZipMember]:
    file.seek(start)
    at = start
    for _ in range(count):
        if at + _CENTRAL.size > end:
            raise inconsistent("its directory is shorter than its member count")
        fields = _CENTRAL.unpack(file.read(_CENTRAL.size))
        name_size, extra_size, comment_size = fields[10:13]
        at += _CENTRAL.size + name_size + extra_size + comment_size
        if fields[0] != b"PK\x01\x02" or at > end:
            raise inconsistent("its directory is damaged")
        raw_name = file.read(name_size)
        extra = file.read(extra_size)
        file.seek(at)
        yield _member(fields, raw_name, extra)
    if at != end:
        raise inconsistent("its directory is longer than its member count")


def _member(fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> ZipMember:
    _signature, made_by, _needed, flags, method, _time, _date, crc, packed, size = fields[:10]
    disk, _internal, external, offset = fields[13:]
    name = _name(raw_name, flags, extra)
    if flags & _ENCRYPTED_FLAGS or method == 99:
        raise ArchiveError(f"Member {name!r} is encrypted.", code="archive_encrypted")
    size, packed, offset = _wide_fields(extra, size, packed, offset)
    if disk not in (0, 0xFFFF):
        raise inconsistent("it is one part of several")
    return ZipMember(name, method, flags, crc, packed, size, offset, external >> 16, made_by >> 8, raw_name)


def _name(raw: bytes, flags: int, extra: bytes) -> str:
    """The name: UTF-8 if flagged so or if it is UTF-8 (macOS sets no flag), else code page 437 as APPNOTE D.1 says."""
    if not 0 < len(raw) <= _NAME_BYTES:
        raise ArchiveError("A member's name is empty or far too long.", code="archive_path")
    unicode_path = _extra_field(extra, 0x7075)
    if unicode_path and unicode_path[5:] != raw and unicode_path[1:5] == struct.pack("<I", zlib.crc32(raw)):
        raw, flags = unicode_path[5:], flags | _UTF8_FLAG
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _UTF8_FLAG:
            raise ArchiveError(f"A member's name is no UTF-8: {raw[:80]!r}.", code="archive_path") from None
        return raw.decode("cp437")


def _extra_field(extra: bytes, wanted: int) -> bytes | None:
    """The content of the extra field `wanted`; None if there is none. Android's zipalign pads with zeros: tolerated."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return None


def _wide_fields(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Size, packed size and offset, taken from the zip64 field where the narrow ones are saturated."""
    if 0xFFFFFFFF not in (size, packed, offset):
        return size, packed, offset
    wide = _extra_field(extra, 0x0001) or b""
    values = [value for (value,) in struct.iter_unpack("<Q", wide[: len(wide) // 8 * 8])]
    resolved = []
    for narrow in (size, packed, offset):
        if narrow == 0xFFFFFFFF and not values:
            raise inconsistent("a zip64 field is missing")
        resolved.append(values.pop(0) if narrow == 0xFFFFFFFF else narrow)
    return resolved[0], resolved[1], resolved[2]


def _local_sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    size, packed, _offset = _wide_fields(extra, size, packed, 0)
    return packed, size


def _check_gap(file: BinaryIO, member: ZipMember, data_end: int, next_offset: int, *, deferred: bool) -> None:
    gap = next_offset - data_end
    if gap < 0:
        raise ArchiveError(f"Member {member.name!r} overlaps the next one.", code="archive_overlap")
    if not deferred:
        if gap:
            raise inconsistent(f"behind member {member.name!r} lie {gap} bytes of no member")
        return
    if gap not in (12, 16, 20, 24):
        raise inconsistent(f"behind member {member.name!r} lie {gap} bytes of no member")
    file.seek(data_end)
    descriptor = file.read(gap)
    if gap in (16, 24):
        if not descriptor.startswith(b"PK\x07\x08"):
            raise inconsistent(f"the descriptor of member {member.name!r} is damaged")
        descriptor = descriptor[4:]
    layout = "<III" if len(descriptor) == 12 else "<IQQ"
    if struct.unpack(layout, descriptor) != (member.crc, member.packed, member.size):
        raise inconsistent(f"member {member.name!r} is described twice, differently")


def _stored(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    left = member.packed
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise ArchiveError("The zip file ends inside a member.", code="archive_truncated")
        left -= len(chunk)
        yield chunk


def _inflated(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _stored(file, member):
            pending = packed
            while pending and not inflate.eof:
                chunk = inflate.decompress(pending, _CHUNK)
                pending = inflate.unconsumed_tail
                if chunk:
                    yield chunk
            if inflate.eof and (pending or inflate.unused_data):
                raise inconsistent(f"behind the packed data of member {member.name!r} lie more bytes")
        while not inflate.eof:
            chunk = inflate.decompress(b"", _CHUNK)
            if not chunk:
                break
            yield chunk
    except zlib.error:
        raise ArchiveError(f"Member {member.name!r} is damaged: it does not unpack.", code="archive_checksum") from None
    if not inflate.eof:
        raise ArchiveError(f"Member {member.name!r} is damaged: its packed data is cut off.", code="archive_checksum")
