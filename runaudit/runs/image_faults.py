"""Whether an image file is whole, by the structure that its format gives it and without decoding a pixel.

Every byte of a JPEG or PNG is looked at. This finds what the framework's own scan finds (ultralytics 8.4.190,
data/utils.py, check_image: Pillow's `verify`, which sums up a PNG's chunks, and the end mark of a JPEG), and JPEGs
whose data break off or are no data in the middle. A JPEG has no checksums: what was damaged without leaving the code
of its pixels is found by decoding it only.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from io import FileIO
from typing import Final, Literal, NamedTuple

Flaw = Literal["image_undecodable", "image_damaged", "image_size_differs", "image_unverified"]


class Flawed(NamedTuple):
    """What is wrong with one image, for a person."""

    flaw: Flaw
    detail: str


PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8\xff"
MAGIC_BYTES: Final = 12
_CHUNK: Final = struct.Struct(">I4s")
_SUM: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""what ends a scan's data: not a stuffed byte, a restart mark, or padding (ITU T.81, B.1.1.2 and B.1.1.5)"""
_SCAN, _END = 0xDA, 0xD9
_SEGMENTS: Final = frozenset((*range(0xC0, 0xD0), _SCAN, *range(0xDB, 0xF0), 0xFE))
_BETWEEN_SCANS: Final = frozenset((0xC4, 0xCC, _SCAN, *range(0xDB, 0xDE), *range(0xE0, 0xF0), 0xFE))
"""segments that may stand behind a scan (ITU T.81, figure B.2)"""

_CUT_OFF: Final = Flawed("image_undecodable", "It was cut off: its end is missing.")


def fault_of(file: FileIO, size: int) -> Flawed | None:
    """What is wrong with the file of `size` bytes; None if nothing is, or if its format has nothing to tell it by.

    Formats other than JPEG, PNG and WebP say too little of their own length. The file is only read.
    """
    if size == 0:
        return _CUT_OFF
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
        if content.find(PNG, 0, len(PNG)) == 0:
            return _png_fault(view)
        if content.find(JPEG, 0, len(JPEG)) == 0:
            return _jpeg_fault(content)
        if content.find(b"RIFF", 0, 4) == 0 and size >= 8 and struct.unpack_from("<I", view, 4)[0] + 8 > size:
            return _CUT_OFF
    return None


def _png_fault(view: memoryview) -> Flawed | None:
    """By its chunks' lengths and checksums (PNG specification, 5.3)."""
    position, pixels = len(PNG), False
    while position + _CHUNK.size + _SUM.size <= len(view):
        length, kind = _CHUNK.unpack_from(view, position)
        end = position + _CHUNK.size + length
        if end + _SUM.size > len(view):
            break
        with view[position + 4 : end] as summed:
            if zlib.crc32(summed) != _SUM.unpack_from(view, end)[0]:
                return Flawed("image_undecodable", f"Its part {kind!a} at byte {position} has another checksum.")
        pixels = pixels or kind == b"IDAT"
        if kind == b"IEND":
            return None if pixels else Flawed("image_undecodable", "It holds no pixels.")
        position = end + _SUM.size
    return _CUT_OFF


def _jpeg_fault(content: mmap.mmap) -> Flawed | None:
    """By its segments, and by the marks in the data between them."""
    position, allowed, size = 2, _SEGMENTS, len(content)
    while position + 4 <= size:
        if content[position] != 0xFF:
            return Flawed("image_damaged", f"At byte {position} is no segment where one has to begin.")
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker not in allowed:
            return Flawed("image_damaged", f"At byte {position} is a mark (ff {marker:02x}) that has no place there.")
        position += 2 + max(2, _LENGTH.unpack_from(content, position + 2)[0])
        if marker == _SCAN:
            found = _MARKER.search(content, position)
            if found is None:
                return _CUT_OFF
            position, allowed = found.start(), _BETWEEN_SCANS
            if content[position + 1] == _END:
                return None
    return _CUT_OFF
