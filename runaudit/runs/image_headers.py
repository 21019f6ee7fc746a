"""The size of an image as the framework decodes it, from the file's header alone.

JPEG and PNG, nearly all of any data set, are read by a few lines of our own, since Pillow costs several times as much
and decodes a whole PNG to learn its orientation. Other formats, and whatever our own reader can't follow, are Pillow's.
"""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from typing import BinaryIO

MIN_SIDE = 10
"""ultralytics 8.4.190, data/utils.py check_image: smaller images are dropped."""
MAX_PIXELS = 178_956_970
"""Pillow refuses more than twice its MAX_IMAGE_PIXELS as a decompression bomb (security.md, I93)."""
_HEAD = 1 << 12
"""Bytes read at once: 4 KiB hold the headers of nearly all files, and EXIF's first directory."""
_ROTATED = frozenset((5, 6, 7, 8))
"""EXIF orientations that swap width and height."""
_START_OF_FRAME = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_FORMATS = frozenset(("AVIF", "BMP", "DNG", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP"))
_ROTATES = frozenset(("JPEG", "MPO", "PNG", "AVIF"))
"""Formats of which ultralytics' exif_size knows that they are turned when decoded; it asks the decoder for others."""


class ImageHeaderError(Exception):
    """An image that the framework would drop; `code` is the note's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def image_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels, EXIF orientation applied.

    Raises
    ------
    ImageHeaderError : `image_unreadable`, `image_too_small` or `image_too_large`.
    """
    head = file.read(_HEAD)
    try:
        size = _png_size(head, file) or _jpeg_size(head, file)
    except (struct.error, IndexError, OverflowError):
        size = None
    width, height = size or _pillow_size(head, file)
    if min(width, height) < MIN_SIDE:
        raise ImageHeaderError("image_too_small", f"It has {width}x{height} pixels; {MIN_SIDE} a side are needed.")
    if width * height > MAX_PIXELS:
        raise ImageHeaderError("image_too_large", f"It claims {width}x{height} pixels.")
    return width, height


def _png_size(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """From IHDR, and eXIf where it stands before the pixels; None if it is no PNG."""
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    position = 33
    for _ in range(64):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            raise ImageHeaderError("image_unreadable", "It ends before its pixels.")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IDAT":
            break
        if kind == b"eXIf":
            return _turned(width, height, _orientation(file.read(min(length, _HEAD))))
        position += 12 + length
    return width, height


def _jpeg_size(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """From the frame header, and APP1 before it; None if it is no JPEG, or one that needs a real parser."""
    if head[:2] != b"\xff\xd8":
        return None
    orientation = 1
    data, start, position = head, 0, 2
    for _ in range(512):
        if position + 10 - start > len(data):
            file.seek(position)
            data, start = file.read(_HEAD), position
        at = position - start
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return _turned(width, height, orientation) if height else None
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            if at + 2 + length > len(data):
                file.seek(position)
                data, start, at = file.read(_HEAD + 4), position, 0
            orientation = _orientation(data[at + 10 : at + 2 + length])
        position += 2 + length
    return None


def _orientation(tiff: bytes) -> int:
    """Tag 274 of the first directory of a TIFF block; 1 if there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        offset = struct.unpack_from(f"{order}I", tiff, 4)[0]
        for index in range(min(struct.unpack_from(f"{order}H", tiff, offset)[0], 256)):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, offset + 2 + 12 * index)
            if tag == 274 and kind == 3:
                return int(struct.unpack_from(f"{order}H", tiff, offset + 10 + 12 * index)[0])
    except struct.error:
        pass
    return 1


def _turned(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if orientation in _ROTATED else (width, height)


def _pillow_size(head: bytes, file: BinaryIO) -> tuple[int, int]:
    from PIL import Image  # noqa: PLC0415  (only for rare formats; the import costs 40 ms)

    file.seek(0)
    source: BinaryIO = file if len(head) == _HEAD else BytesIO(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                kind, (width, height) = image.format, image.size
                turns = kind in _ROTATES and kind != "PNG"
                orientation = image.getexif().get(274, 1) if turns else 1
    except Image.DecompressionBombError:
        raise ImageHeaderError("image_too_large", "It claims more pixels than any camera has.") from None
    except Exception as error:  # Pillow's plugins raise anything on damaged headers
        raise ImageHeaderError("image_unreadable", f"Its header can't be read ({type(error).__name__}).") from None
    if kind not in _FORMATS:
        raise ImageHeaderError("image_unreadable", f"The format {kind} is none the framework reads.")
    return _turned(width, height, orientation)
