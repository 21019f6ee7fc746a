"""The size of an image as the framework decodes it, and how its pixels are kept, from the file's header alone.

JPEG and PNG, nearly all of any data set, are read by a few lines of our own, since Pillow costs several times as much
and decodes a whole PNG to learn its orientation. Other formats, and whatever our own reader can't follow, are Pillow's.
"""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from typing import BinaryIO, NamedTuple

MIN_SIDE = 10
"""ultralytics 8.4.190, data/utils.py check_image: smaller images are dropped."""
MAX_PIXELS = 178_956_970
"""Pillow refuses more than twice its MAX_IMAGE_PIXELS as a decompression bomb (security.md, I93)."""
_HEAD = 1 << 12
"""Bytes read at once: 4 KiB hold the headers of nearly all files, and EXIF's first directory."""
_MOST_SEGMENTS = 4096
"""Segments before the frame header of a JPEG. Honest ones have a few hundred, and Pillow walks through millions."""
_ROTATED = frozenset((5, 6, 7, 8))
"""EXIF orientations that swap width and height."""
_START_OF_FRAME = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_FORMATS = frozenset(("AVIF", "BMP", "DNG", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP"))
_ROTATES = frozenset(("JPEG", "MPO", "PNG", "AVIF", "WEBP"))
"""Formats that are turned when decoded. ultralytics' exif_size knows this of the first four and asks the decoder for
others; OpenCV 5 turns WebP and leaves TIFF (measured by tests/evaluation/test_hostile_images.py)."""


_JPEG_CHANNELS = {1: "grey", 3: "colour", 4: "cmyk"}
_PNG_CHANNELS = {0: "grey", 2: "colour", 3: "palette", 4: "grey_alpha", 6: "colour_alpha"}
"""by the colour type of IHDR (PNG specification, 11.2.1)"""
_PILLOW_CHANNELS = {
    **dict.fromkeys(("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"), "grey"),
    **dict.fromkeys(("RGB", "YCbCr", "LAB", "HSV", "RGBX"), "colour"),
    **{"LA": "grey_alpha", "La": "grey_alpha", "RGBA": "colour_alpha", "RGBa": "colour_alpha"},
    **{"P": "palette", "PA": "palette", "CMYK": "cmyk"},
}
_PILLOW_BITS = {"1": 1, "I": 32, "F": 32}
_TAIL = 64
"""Bytes in which the end mark of a JPEG or PNG is sought: some cameras pad the file behind it."""


class ImageHeader(NamedTuple):
    """Width and height in pixels as decoded, EXIF orientation applied; the rest as `ImageCensus` counts it."""

    width: int
    height: int
    kind: str
    channels: str
    bits: int
    orientation: int


class ImageHeaderError(Exception):
    """An image that the framework would drop; `code` is the note's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def image_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels, EXIF orientation applied. Raises as `image_header` does."""
    return image_header(file)[:2]


def image_header(file: BinaryIO) -> ImageHeader:
    """What the header says.

    Raises
    ------
    ImageHeaderError : `image_unreadable`, `image_too_small` or `image_too_large`.
    """
    head = file.read(_HEAD)
    try:
        own = _png_header(head, file) or _jpeg_header(head, file)
    except (struct.error, IndexError, OverflowError):
        own = None
    header = own or _pillow_header(head, file)
    width, height = header[:2]
    if min(width, height) < MIN_SIDE:
        raise ImageHeaderError("image_too_small", f"It has {width}x{height} pixels; {MIN_SIDE} a side are needed.")
    if width * height > MAX_PIXELS:
        raise ImageHeaderError("image_too_large", f"It claims {width}x{height} pixels.")
    return header


def ends_well(file: BinaryIO, size: int, kind: str) -> bool:
    """Whether a JPEG or PNG of `size` bytes has its end mark; True for other formats, whose end isn't marked."""
    mark = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(kind)
    if mark is None:
        return True
    file.seek(max(0, size - _TAIL))
    return mark in file.read(_TAIL)


def _png_header(head: bytes, file: BinaryIO) -> ImageHeader | None:
    """From IHDR, and eXIf where it stands before the pixels; None if it is no PNG."""
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    orientation, position = 1, 33
    for _ in range(64):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            raise ImageHeaderError("image_unreadable", "It ends before its pixels.")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IDAT":
            break
        if kind == b"eXIf":
            orientation = _orientation(file.read(min(length, _HEAD)))
            break
        position += 12 + length
    depth = 8 if colour == 3 else bits  # of a palette IHDR gives the width of its indices
    return _turned(ImageHeader(width, height, "PNG", _PNG_CHANNELS.get(colour, "other"), depth, orientation))


def _jpeg_header(head: bytes, file: BinaryIO) -> ImageHeader | None:
    """From the frame header, and APP1 before it; None if it is no JPEG, or one that needs a real parser."""
    if head[:2] != b"\xff\xd8":
        return None
    orientation = 1
    data, start, position, padding = head, 0, 2, 0
    for _ in range(_MOST_SEGMENTS):
        if position + 10 - start > len(data):
            file.seek(position)
            data, start = file.read(_HEAD), position
        at = position - start
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            filled = len(data) - at - len(data[at:].lstrip(b"\xff"))
            position, padding = position + filled - 1, padding + filled
            if padding > _HEAD:
                raise ImageHeaderError("image_unreadable", "It is padding where a picture has to begin.")
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _START_OF_FRAME:
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            channels = _JPEG_CHANNELS.get(components, "other")
            return _turned(ImageHeader(width, height, "JPEG", channels, bits, orientation)) if height else None
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            if at + 2 + length > len(data):
                file.seek(position)
                data, start, at = file.read(_HEAD + 4), position, 0
            orientation = _orientation(data[at + 10 : at + 2 + length])
        position += 2 + length
    raise ImageHeaderError("image_unreadable", f"More than {_MOST_SEGMENTS} segments stand before its picture.")


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


def _turned(header: ImageHeader) -> ImageHeader:
    """The header of the decoded image; an orientation that EXIF doesn't know is none."""
    if header.orientation in _ROTATED:
        return header._replace(width=header.height, height=header.width)
    return header if 1 <= header.orientation <= 8 else header._replace(orientation=1)


def _pillow_header(head: bytes, file: BinaryIO) -> ImageHeader:
    from PIL import Image  # noqa: PLC0415  (only for rare formats; the import costs 40 ms)

    file.seek(0)
    source: BinaryIO = file if len(head) == _HEAD else BytesIO(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                kind, mode, (width, height) = image.format, image.mode, image.size
                turns = kind in _ROTATES and kind != "PNG"
                written = image.getexif().get(274, 1) if turns else 1
                orientation = written if type(written) is int else 1
    except Image.DecompressionBombError:
        raise ImageHeaderError("image_too_large", "It claims more pixels than any camera has.") from None
    except Exception as error:  # Pillow's plugins raise anything on damaged headers
        raise ImageHeaderError("image_unreadable", f"Its header can't be read ({type(error).__name__}).") from None
    if kind is None or kind not in _FORMATS:
        raise ImageHeaderError("image_unreadable", f"The format {kind} is none the framework reads.")
    bits = 16 if mode.startswith("I;16") else _PILLOW_BITS.get(mode, 8)
    return _turned(ImageHeader(width, height, kind, _PILLOW_CHANNELS.get(mode, "other"), bits, orientation))
