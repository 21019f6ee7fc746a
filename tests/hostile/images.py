"""Images that claim, hide or repeat too much, or are none (rows I of the attack list), made in code."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIDE = 48
PLAIN = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class HostileImage:
    """One file. `code` is why its image is dropped, None if it is used; `flaw` what decoding a used one finds."""

    file: str
    content: bytes
    code: str | None = None
    flaw: str | None = None


def encoded(kind: str, image: Image.Image = PLAIN, **options: Any) -> bytes:
    """The image as a file of that kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, before: bytes = b"", after: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header claims that size, with the pixels of a small image, and parts before and behind them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rows = b"".join(b"\0" + bytes(3 * SIDE) for _ in range(SIDE))
    return PNG + header + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(*segments: bytes) -> bytes:
    """A sound JPEG with these segments at its beginning."""
    return b"\xff\xd8" + b"".join(segments) + encoded("JPEG")[2:]


def resized_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims that size."""
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def exif(entries: int, orientation: int = 1, *, directory: int = 8) -> bytes:
    """An EXIF block that claims so many entries; the first is the orientation."""
    first = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", directory, entries) + first


def tiff(entries: list[tuple[int, int, int, int]], *, following: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: tag, type, count and value of each entry; `following` is the next one."""
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", following) + tail


def grey_tiff(width: int, height: int, *, following: int = 0, strips: int = 1) -> bytes:
    """A grey TIFF of 8 bits that claims that size and so many strips, with the pixels of a small image."""
    count = 9
    pixels = 8 + 2 + 12 * count + 4
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, strips, pixels), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, SIDE * SIDE)]
    return tiff(entries, following=following, tail=bytes(range(48)) * SIDE)


def animated_webp(frames: int) -> bytes:
    """A WebP of so many frames."""
    images = [Image.new("RGB", (SIDE, SIDE), (number % 256, 0, 0)) for number in range(frames)]
    return encoded("WEBP", images[0], save_all=True, append_images=images[1:], duration=10)


def bmp(width: int, height: int) -> bytes:
    """A BMP whose header claims that size."""
    content = encoded("BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def zipped_behind(content: bytes) -> bytes:
    """The image with a zip archive behind it: both at once."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.py", "raise SystemExit")
    return content + file.getvalue()


def hostile_images() -> list[HostileImage]:
    """All of them."""
    return [*_sizes(), *_structures(), *_metadata(), *_disguises(), *_kinds()]


def _sizes() -> list[HostileImage]:
    """I93 and I100: sizes that no image has, and sizes that their files don't have."""
    return [
        HostileImage("huge.png", png(60_000, 60_000), "image_too_large"),
        HostileImage("largest.png", png(2**31 - 1, 2**31 - 1), "image_too_large"),
        HostileImage("beyond.png", png(2**32 - 1, 2**32 - 1), "image_too_large"),
        HostileImage("huge.jpg", resized_jpeg(65_535, 65_535), "image_too_large"),
        HostileImage("huge.bmp", bmp(100_000, 100_000), "image_too_large"),
        HostileImage("huge.tif", grey_tiff(2**31, 2**31), "image_too_large"),
        HostileImage("just_too_large.png", png(13_378, 13_378), "image_too_large"),
        HostileImage("large_without_pixels.jpg", resized_jpeg(13_000, 13_000), None, "image_damaged"),
        HostileImage("large_without_pixels.tif", grey_tiff(12_000, 12_000), None, "image_undecodable"),
        HostileImage("one_pixel.png", encoded("PNG", PLAIN.resize((1, 1))), "image_too_small"),
        HostileImage("thread.png", encoded("PNG", Image.new("L", (1, 65_535))), "image_too_small"),
        HostileImage("nine.jpg", encoded("JPEG", PLAIN.resize((9, 300))), "image_too_small"),
        HostileImage("no_width.png", png(0, 100), "image_too_small"),
        HostileImage("no_height.jpg", resized_jpeg(SIDE, 0), "image_unreadable"),
        HostileImage("negative.bmp", bmp(-SIDE, SIDE), "image_too_large"),
    ]


def _structures() -> list[HostileImage]:
    """I94, I95, I102: too many frames and pages, and ends that come too early or too late."""
    jpeg, frames = encoded("JPEG"), chunk(b"acTL", struct.pack(">II", 100_000, 0))
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 10, 0, 0))
    pages = [PLAIN.convert("L") for _ in range(300)]
    return [
        HostileImage("frames.png", png(SIDE, SIDE, before=frames + control)),
        HostileImage("parts.png", png(SIDE, SIDE, before=chunk(b"tEXt", b"a\0b") * 20_000)),
        HostileImage("frames.webp", animated_webp(200)),
        HostileImage("pages.tif", encoded("TIFF", pages[0], save_all=True, append_images=pages[1:])),
        HostileImage("circle.tif", grey_tiff(SIDE, SIDE, following=8)),
        HostileImage("strips.tif", grey_tiff(SIDE, SIDE, strips=2**32 - 1), "image_unreadable"),
        HostileImage("directory_outside.tif", b"II*\0" + struct.pack("<I", 2**32 - 2), "image_unreadable"),
        HostileImage("cut.jpg", jpeg[:-100], None, "image_undecodable"),
        HostileImage("trailing.jpg", jpeg + bytes(10_000)),
        HostileImage("cut.png", encoded("PNG")[:-500], None, "image_undecodable"),
        HostileImage("cut_header.png", encoded("PNG")[:30], "image_unreadable"),
        HostileImage("part_longer_than_file.png", png(SIDE, SIDE)[:33] + struct.pack(">I4s", 2**31, b"IDAT"), None,
                     "image_undecodable"),
        HostileImage("only_begins.jpg", b"\xff\xd8\xff\xe0", "image_unreadable"),
        HostileImage("padding.jpg", b"\xff\xd8" + b"\xff" * 1_000_000, "image_unreadable"),
        HostileImage("segments.jpg", jpeg_with(*[segment(0xFE, b"")] * 100_000), "image_unreadable"),
        HostileImage("comments.jpg", jpeg_with(*[segment(0xFE, b"a")] * 1_000)),
        HostileImage("padded_marks.jpg", b"\xff\xd8" + b"\xff" * 1_000 + encoded("JPEG")[2:]),
        HostileImage("empty.jpg", b"", "image_unreadable"),
    ]  # fmt: skip


def _metadata() -> list[HostileImage]:
    """I98 and I101: EXIF, ICC and texts that loop, lie, or unpack to far more than they are."""
    bomb = zlib.compress(bytes(2**28), 9)
    turned = segment(0xE1, b"Exif\0\0" + exif(1, 6))
    return [
        HostileImage("text_bomb.png", png(SIDE, SIDE, before=chunk(b"zTXt", b"a\0\0" + bomb))),
        HostileImage("itxt_bomb.png", png(SIDE, SIDE, before=chunk(b"iTXt", b"a\0\1\0\0\0" + bomb))),
        HostileImage("profile_bomb.png", png(SIDE, SIDE, before=chunk(b"iCCP", b"a\0\0" + bomb))),
        HostileImage("exif_claims.jpg", jpeg_with(segment(0xE1, b"Exif\0\0" + exif(65_535)))),
        HostileImage("exif_outside.jpg", jpeg_with(segment(0xE1, b"Exif\0\0" + exif(1, 6, directory=2**32 - 1)))),
        HostileImage("exif_circle.jpg", jpeg_with(segment(0xE1, b"Exif\0\0" + exif(1, 1) + struct.pack("<I", 8)))),
        HostileImage("exif_long.jpg", jpeg_with(*[segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 50)),
        HostileImage("exif_turns.jpg", jpeg_with(turned)),
        HostileImage("exif_nonsense.jpg", jpeg_with(segment(0xE1, b"Exif\0\0" + exif(1, 4_711)))),
        HostileImage("exif.png", png(SIDE, SIDE, before=chunk(b"eXIf", exif(65_535, 8)))),
        HostileImage("profile.jpg", jpeg_with(*[segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000))] * 255)),
    ]


def _disguises() -> list[HostileImage]:
    """I99: other files under an image's name, and images that are something else as well."""
    return [
        HostileImage("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "image_unreadable"),
        HostileImage("page.jpg", b"<html><script>alert(1)</script></html>", "image_unreadable"),
        HostileImage("script.png", b"<?php system($_GET[0]); ?>", "image_unreadable"),
        HostileImage("gif_script.png", b"GIF89a;<?php system($_GET[0]); ?>", "image_unreadable"),
        HostileImage("gif.png", encoded("GIF"), "image_unreadable"),
        HostileImage("pickle.jpg", b"cposix\nsystem\n(S'touch canary'\ntR.", "image_unreadable"),
        HostileImage("postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "image_unreadable"),
        HostileImage("array.png", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}", "image_unreadable"),
        HostileImage("archive.jpg", zipped_behind(encoded("JPEG"))),
        HostileImage("archive.png", zipped_behind(encoded("PNG"))),
        HostileImage("is_a_jpeg.png", encoded("JPEG")),
        HostileImage("is_a_png.jpg", encoded("PNG")),
        HostileImage("script_inside.png", png(SIDE, SIDE, before=chunk(b"tEXt", b"a\0<?php system($_GET[0]); ?>"))),
        HostileImage("icon.png", encoded("ICO"), "image_unreadable"),
        HostileImage("text.jpg", b"P3 48 48 255 " + b"0 " * 7_000, "image_unreadable"),
    ]


def _kinds() -> list[HostileImage]:
    """I96, I97, I104: honest images of kinds that readers trip over."""
    palette = PLAIN.convert("P")
    palette.info["transparency"] = 3
    deep = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE))
    inverted = Image.merge("CMYK", [PLAIN.getchannel(0)] * 4)
    return [
        HostileImage("cmyk.jpg", encoded("JPEG", inverted)),
        HostileImage("deep.png", encoded("PNG", deep)),
        HostileImage("deep.tif", encoded("TIFF", deep)),
        HostileImage("float.tif", encoded("TIFF", Image.new("F", (SIDE, SIDE), 0.5)), None, "image_undecodable"),
        HostileImage("bits.png", encoded("PNG", PLAIN.convert("1"))),
        HostileImage("bits.tif", encoded("TIFF", PLAIN.convert("1"))),
        HostileImage("palette.png", encoded("PNG", palette)),
        HostileImage("alpha.png", encoded("PNG", PLAIN.convert("RGBA"))),
        HostileImage("grey_alpha.png", encoded("PNG", PLAIN.convert("LA"))),
        HostileImage("two.mpo", encoded("MPO", save_all=True, append_images=[PLAIN])),
        HostileImage("wave.jp2", encoded("JPEG2000")),
        HostileImage("wave_cut.jp2", encoded("JPEG2000")[:200], None, "image_undecodable"),
        HostileImage("coded.avif", encoded("AVIF")),
        HostileImage("coded_cut.avif", encoded("AVIF")[:100], "image_unreadable"),
        HostileImage("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "image_unreadable"),
        HostileImage("raw.dng", encoded("TIFF")),
    ]
