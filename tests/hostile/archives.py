"""Archives that try to leave their folder, to hide members, or to fill the disk (rows A of the attack list)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass

from runaudit.runs.archive_limits import ArchiveLimits


@dataclass(frozen=True)
class HostileArchive:
    """One archive and the code of the error that it has to raise under `limits`."""

    name: str
    content: bytes
    code: str
    limits: ArchiveLimits | None = None


def zipped(
    members: list[tuple[str, bytes]],
    *,
    method: int = zipfile.ZIP_DEFLATED,
    mode: int | None = None,
    comment: bytes = b"",
    system: int = 3,
) -> bytes:
    """A zip of `members`, as Python's zipfile writes it; `mode` is their Unix mode."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of duplicate names, written on purpose
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo cuts names at NUL
            info.compress_type = method
            info.create_system = system
            info.external_attr = (mode if mode is not None else stat.S_IFREG | 0o644) << 16
            if name.endswith("/") and mode is None:
                info.external_attr = (stat.S_IFDIR | 0o755) << 16
            archive.writestr(info, content)
        archive.comment = comment
    return buffer.getvalue()


def tarred(
    members: list[tuple[str, bytes]],
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    format_: int = tarfile.PAX_FORMAT,
) -> bytes:
    """A tar of `members`, all of `kind`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type = kind
            info.linkname = link
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_header(name: bytes, size: bytes, kind: bytes = b"0", *, magic: bytes = b"ustar\x0000") -> bytes:
    """One header block with `size` as it is written."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with `records` as they are."""
    return tar_header(b"pax", f"{len(records):011o}".encode(), kind) + records + bytes(-len(records) % 512)


def pax_record(keyword: str, value: bytes) -> bytes:
    """One record with its length in front."""
    body = b" " + keyword.encode() + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return str(length).encode() + body


END = bytes(1024)
FILE = tar_header(b"a.txt", b"00000000001") + b"x" + bytes(511)
BAD_NAMES = (
    *("../a", "a/../../b", "/etc/passwd", "C:/a", "C:a", "//host/share/a", "a//b", "a/./b", "..", "a/.."),
    *(
        "a\x01b",
        "a\nb",
        "a\x7fb",
        "a\u202eb",
        "a\u2066b",
        "a\x85b",
        "x" * 300,
        "a/" * 70 + "b",
    ),
)


def hostile_archives() -> list[HostileArchive]:
    """All of them."""
    return [*_names(), *_zips(), *_tars(), *_packed(), *_bombs()]


def _names() -> list[HostileArchive]:
    cases = []
    for name in BAD_NAMES:
        cases.append(HostileArchive(f"zip name {name[:20]!a}", zipped([(name, b"x")]), "archive_path"))
        cases.append(HostileArchive(f"tar name {name[:20]!a}", tarred([(name, b"x")]), "archive_path"))
    long_path = "/".join(["d" * 200] * 6)
    cases.append(HostileArchive("long path", zipped([(long_path, b"x")]), "archive_path"))
    for backslashes in ("..\\..\\a", "C:\\a", "\\\\host\\share\\a", "a/..\\b"):
        cases.append(HostileArchive(f"FAT name {backslashes}", zipped([(backslashes, b"x")], system=0), "archive_path"))
    cases.append(HostileArchive("Unix name with backslash", zipped([("a\\b", b"x")]), "archive_path"))
    cases.append(HostileArchive("tar name with backslash", tarred([("a\\b", b"x")]), "archive_path"))
    pairs = [
        ("same name", "a.txt", "a.txt", "archive_duplicate"),
        ("other case", "A.txt", "a.txt", "archive_duplicate"),
        ("folder in other case", "Run/a.txt", "run/b.txt", "archive_duplicate"),
        ("composed and decomposed", "\u00e9.txt", "e\u0301.txt", "archive_duplicate"),
        ("trailing dot", "a", "a.", "archive_duplicate"),
        ("sharp s", "stra\u00dfe", "STRASSE", "archive_duplicate"),
        ("file, then folder", "a", "a/b", "archive_conflict"),
        ("folder, then file", "a/b", "a", "archive_conflict"),
        ("folder twice", "a/", "a/", "archive_duplicate"),
    ]
    for what, first, second, code in pairs:
        content = [(first, b"" if first.endswith("/") else b"x"), (second, b"" if second.endswith("/") else b"y")]
        cases.append(HostileArchive(f"zip {what}", zipped(content), code))
        if not first.endswith("/"):
            cases.append(HostileArchive(f"tar {what}", tarred(content), code))
    return cases


def _zips() -> list[HostileArchive]:
    good = zipped([("run/a.txt", b"a" * 100), ("run/b.txt", b"b" * 100)], method=zipfile.ZIP_STORED)
    central = good.index(b"PK\x01\x02")
    second = good.index(b"PK\x01\x02", central + 1)
    end = good.rindex(b"PK\x05\x06")

    def patched(at: int, layout: str, value: int) -> bytes:
        content = bytearray(good)
        struct.pack_into(layout, content, at, value)
        return bytes(content)

    invalid = good.replace(b"run/a.txt", b"run/\xff.txt")
    flagged = bytearray(invalid)
    for at in (6, invalid.index(b"PK\x01\x02") + 8):
        struct.pack_into("<H", flagged, at, 0x800)
    links = zipped([("a", b"/etc")], mode=stat.S_IFLNK | 0o777)
    prefixed = b"#!/bin/sh\n" + good
    cases = [
        ("link", links, "archive_link"),
        ("link, then through it", zipped([("a", b"/tmp"), ("a/b", b"x")], mode=stat.S_IFLNK | 0o777), "archive_link"),
        ("pipe", zipped([("a", b"")], mode=stat.S_IFIFO | 0o644), "archive_special_file"),
        ("character device", zipped([("a", b"")], mode=stat.S_IFCHR | 0o644), "archive_special_file"),
        ("block device", zipped([("a", b"")], mode=stat.S_IFBLK | 0o644), "archive_special_file"),
        ("socket", zipped([("a", b"")], mode=stat.S_IFSOCK | 0o644), "archive_special_file"),
        ("NUL in a name", good.replace(b"run/a.txt", b"run/a\x00txt"), "archive_path"),
        ("invalid UTF-8", bytes(flagged), "archive_path"),
        ("encrypted", patched(central + 8, "<H", 1), "archive_encrypted"),
        ("strong encryption", patched(central + 8, "<H", 0x41), "archive_encrypted"),
        ("AES", patched(central + 10, "<H", 99), "archive_encrypted"),
        ("bzip2 member", zipped([("a", b"x")], method=zipfile.ZIP_BZIP2), "archive_method"),
        ("lzma member", zipped([("a", b"x")], method=zipfile.ZIP_LZMA), "archive_method"),
        ("prefix", prefixed, "archive_format_unknown"),
        ("prefix that is a zip", good + good, "archive_inconsistent"),
        ("trailing bytes", good + b"x", "archive_trailing_data"),
        ("comment with an end record", zipped([("a", b"x")], comment=good[end:]), "archive_inconsistent"),
        ("truncated", good[:-5], "archive_truncated"),
        ("cut in the middle", good[: len(good) // 2], "archive_truncated"),
        ("wrong checksum", good.replace(b"a" * 100, b"a" * 99 + b"b"), "archive_checksum"),
        ("other local name", good.replace(b"run/a.txt", b"run/c.txt", 1), "archive_inconsistent"),
        ("other local size", patched(22, "<I", 99), "archive_inconsistent"),
        ("other local method", patched(8, "<H", 8), "archive_inconsistent"),
        ("overlapping members", patched(second + 42, "<I", 0), "archive_overlap"),
        ("member count too low", patched(end + 10, "<H", 1), "archive_inconsistent"),
        ("member count too high", patched(end + 10, "<H", 3), "archive_inconsistent"),
        ("directory offset", patched(end + 16, "<I", 1), "archive_inconsistent"),
        ("directory size", patched(end + 12, "<I", 1), "archive_inconsistent"),
        ("other disk", patched(end + 4, "<H", 1), "archive_inconsistent"),
        ("member on another disk", patched(central + 34, "<H", 3), "archive_inconsistent"),
        ("zip64 size without its field", patched(central + 24, "<I", 0xFFFFFFFF), "archive_inconsistent"),
        ("packed size too large", patched(central + 20, "<I", 2**31), "archive_inconsistent"),
        ("folder with content", zipped([("a/", b"x")]), "archive_inconsistent"),
        ("gap", _with_gap(), "archive_inconsistent"),
        ("declared smaller than it is", _understated(), "archive_inconsistent"),
    ]
    return [HostileArchive(f"zip {name}", content, code) for name, content, code in cases]


def _with_gap() -> bytes:
    """A zip with eight bytes between two members that belong to none."""
    first = zipped([("a", b"x")], method=zipfile.ZIP_STORED)
    central = first.index(b"PK\x01\x02")
    end = bytearray(first[first.rindex(b"PK\x05\x06") :])
    struct.pack_into("<I", end, 16, central + 8)
    return first[:central] + b"hidden!!" + first[central : first.rindex(b"PK\x05\x06")] + bytes(end)


def _understated() -> bytes:
    """A deflated member that unpacks to far more than both of its headers say."""
    content = bytes(1_000_000)
    good = bytearray(zipped([("a", content)]))
    central = good.index(b"PK\x01\x02")
    for at in (22, central + 24):
        struct.pack_into("<I", good, at, 10)
    return bytes(good)


def fifield(copies: int, size: int) -> bytes:
    """A zip whose members all share one packed stream (Fifield 2019), `copies` times `size` bytes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(size)) + deflate.flush()
    crc = zlib.crc32(bytes(size))
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(packed), size, 1, 0) + b"a" + packed
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(packed), size, 1, 0, 0, 0, 0, 0, 0)
        + bytes([97 + number])
        for number in range(copies)
    )
    return (
        local + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, copies, copies, len(directory), len(local), 0)
    )


def _tars() -> list[HostileArchive]:
    cases = [
        ("symbolic link", tarred([("a", b"")], kind=tarfile.SYMTYPE, link="/etc"), "archive_link"),
        ("hard link outside", tarred([("a", b"")], kind=tarfile.LNKTYPE, link="../../x"), "archive_link"),
        ("hard link to a later member", tarred([("a", b"")], kind=tarfile.LNKTYPE, link="b"), "archive_link"),
        ("long link", tarred([("a", b"")], kind=tarfile.SYMTYPE, link="d/" * 3000), "archive_link"),
        ("pipe", tarred([("a", b"")], kind=tarfile.FIFOTYPE), "archive_special_file"),
        ("character device", tarred([("a", b"")], kind=tarfile.CHRTYPE), "archive_special_file"),
        ("block device", tarred([("a", b"")], kind=tarfile.BLKTYPE), "archive_special_file"),
        ("old sparse file", tar_header(b"a", b"00000000000", b"S") + END, "archive_special_file"),
        ("pax sparse file", pax(pax_record("GNU.sparse.size", b"1099511627776")) + FILE + END, "archive_special_file"),
        ("unknown kind", tar_header(b"a", b"00000000000", b"V") + END, "archive_special_file"),
        ("negative size", tar_header(b"a", b"\xff" * 12) + END, "archive_unreadable"),
        ("size that is no number", tar_header(b"a", b"9x") + END, "archive_unreadable"),
        ("petabyte", tar_header(b"a", b"\x80" + (2**50).to_bytes(11, "big")) + END, "archive_truncated"),
        ("pax size lie", pax(pax_record("size", b"513")) + FILE + FILE + END, "archive_unreadable"),
        ("pax size negative", pax(pax_record("size", b"-1")) + FILE + END, "archive_unreadable"),
        ("pax size huge", pax(pax_record("size", b"9" * 19)) + FILE + END, "archive_truncated"),
        ("pax path that climbs", pax(pax_record("path", b"../x")) + FILE + END, "archive_path"),
        ("pax path with NUL", pax(pax_record("path", b"a\0b")) + FILE + END, "archive_path"),
        ("pax path no UTF-8", pax(pax_record("path", b"\xff")) + FILE + END, "archive_path"),
        ("pax path empty", pax(pax_record("path", b"")) + FILE + END, "archive_path"),
        ("pax in binary names", pax(pax_record("hdrcharset", b"BINARY")) + FILE + END, "archive_path"),
        ("pax record of length 0", pax(b"0 a=b\n") + FILE + END, "archive_unreadable"),
        ("pax record too long", pax(b"99 a=b\n") + FILE + END, "archive_unreadable"),
        ("pax global path", pax(pax_record("path", b"b"), b"g") + FILE + END, "archive_unreadable"),
        ("pax header without a member", pax(pax_record("path", b"b")) + END, "archive_truncated"),
        ("pax header of a megabyte", tar_header(b"p", b"00010000000", b"x") + bytes(2**21) + END, "archive_unreadable"),
        (
            "GNU name that climbs",
            tar_header(b"L", b"00000000005", b"L") + b"../x\0" + bytes(507) + FILE + END,
            "archive_path",
        ),
        ("name no UTF-8", tar_header(b"\xff", b"00000000000") + END, "archive_path"),
        ("no name", tar_header(b"", b"00000000000") + END, "archive_path"),
        ("file that is the root", tar_header(b".", b"00000000001") + b"x" + bytes(511) + END, "archive_path"),
        (
            "folder with content",
            tar_header(b"a/", b"00000000001", b"5") + b"x" + bytes(511) + END,
            "archive_unreadable",
        ),
        ("damaged header", FILE + b"x" * 512 + END, "archive_unreadable"),
        ("truncated", FILE[:600], "archive_truncated"),
        ("no end", FILE, "archive_truncated"),
        ("half an end", FILE + bytes(512), "archive_truncated"),
        ("member behind the end", FILE + END + FILE + END, "archive_trailing_data"),
        ("bytes behind the end", FILE + END + b"x", "archive_trailing_data"),
        ("member behind one zero block", FILE + bytes(512) + FILE + END, "archive_trailing_data"),
    ]
    return [HostileArchive(f"tar {name}", content, code) for name, content, code in cases]


def _packed() -> list[HostileArchive]:
    tar = FILE + END
    damaged = bytearray(gzip.compress(tar))
    damaged[-6] ^= 1
    dictionary = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    wide = bytearray(lzma.compress(tar, filters=dictionary, check=lzma.CHECK_NONE))
    cases = [
        ("gzip of a text", gzip.compress(b"x" * 5000), "archive_format_unknown"),
        ("gzip of nothing", gzip.compress(b""), "archive_truncated"),
        ("gzip of gzip", gzip.compress(gzip.compress(tar)), "archive_format_unknown"),
        ("gzip cut off", gzip.compress(tar)[:-9], "archive_truncated"),
        ("gzip damaged", bytes(damaged), "archive_checksum"),
        ("gzip with bytes behind", gzip.compress(tar) + b"x", "archive_trailing_data"),
        ("bzip2 cut off", bz2.compress(tar)[:-9], "archive_truncated"),
        ("bzip2 with bytes behind", bz2.compress(tar) + b"x", "archive_trailing_data"),
        ("xz cut off", lzma.compress(tar)[:-9], "archive_truncated"),
        ("xz with a window of 4 GiB", bytes(_wide_window(wide)), "archive_checksum"),
        ("zstandard", b"\x28\xb5\x2f\xfd" + bytes(100), "archive_format_unknown"),
        ("7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "archive_format_unknown"),
        ("rar", b"Rar!\x1a\x07\x01\x00" + bytes(100), "archive_format_unknown"),
        ("empty file", b"", "archive_format_unknown"),
        ("text", b"epoch,loss\n" * 100, "archive_format_unknown"),
        ("JPEG", b"\xff\xd8\xff\xe0" + bytes(600), "archive_format_unknown"),
    ]
    return [HostileArchive(name, content, code) for name, content, code in cases]


def _wide_window(content: bytearray) -> bytearray:
    """The xz file with the largest dictionary that its header can ask for, and the header's checksum set right."""
    size = (content[12] + 1) * 4
    header = content[12 : 12 + size - 4]
    at = header.index(b"\x21\x01")
    header[at + 2] = 40
    content[12 : 12 + size] = header + struct.pack("<I", zlib.crc32(header))
    return content


def _bombs() -> list[HostileArchive]:
    small = ArchiveLimits(unpacked_bytes=1 << 20, members=100, ratio=200, ratio_grace_bytes=1 << 16)
    zeros = bytes(2 << 20)
    many = [(f"{number}.txt", b"") for number in range(101)]
    half = bytes(900_000)
    return [
        HostileArchive("zip too large", zipped([("a", zeros)], method=zipfile.ZIP_STORED), "archive_too_large", small),
        HostileArchive("zip ratio", zipped([("a", half)]), "archive_ratio", small),
        HostileArchive("zip too many members", zipped(many), "archive_too_many_members", small),
        HostileArchive("tar too large", tarred([("a", zeros)]), "archive_too_large", small),
        HostileArchive("tar too many members", tarred(many), "archive_too_many_members", small),
        HostileArchive("tar.gz ratio", gzip.compress(tarred([("a", half)])), "archive_ratio", small),
        HostileArchive("tar.gz too large", gzip.compress(tarred([("a", zeros)]), 0), "archive_too_large", small),
        HostileArchive("tar.bz2 ratio", bz2.compress(tarred([("a", half)])), "archive_ratio", small),
        HostileArchive("tar.xz ratio", lzma.compress(tarred([("a", half)])), "archive_ratio", small),
        HostileArchive("endless zeros behind the end", gzip.compress(FILE + bytes(900_000)), "archive_ratio", small),
        HostileArchive("Fifield's bomb", fifield(20, 10_000_000), "archive_ratio"),
        HostileArchive("overlapping members below the ratio", fifield(20, 1 << 20), "archive_overlap"),
        HostileArchive("Fifield's bomb over the limit", fifield(20, 1 << 20), "archive_too_large", small),
    ]
