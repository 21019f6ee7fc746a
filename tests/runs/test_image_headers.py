"""Image sizes from headers, as a decoder sees them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from runaudit.runs.image_headers import ImageHeaderError, image_size


def encoded(kind: str, size: tuple[int, int] = (40, 20), **options: object) -> bytes:
    file = BytesIO()
    mode = options.pop("mode", "RGB")
    Image.new(str(mode), size).save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "JPEG2000"])
def test_every_format_gives_its_size(kind: str) -> None:
    assert image_size(BytesIO(encoded(kind))) == (40, 20)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_progressive_and_four_colour_jpegs_give_their_size(mode: str) -> None:
    assert image_size(BytesIO(encoded("JPEG", mode=mode, progressive=True))) == (40, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_a_decoder_does(kind: str, orientation: int) -> None:
    content = encoded(kind, exif=exif(orientation))
    with Image.open(BytesIO(content)) as image:
        assert image_size(BytesIO(content)) == ImageOps.exif_transpose(image).size


def test_a_long_segment_before_the_frame_is_skipped() -> None:
    assert image_size(BytesIO(encoded("JPEG", icc_profile=b"x" * 200_000, exif=exif(6)))) == (20, 40)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "image_unreadable"),
        (b"<svg/>", "image_unreadable"),
        (b"<?php system('x');", "image_unreadable"),
        (encoded("GIF"), "image_unreadable"),
        (encoded("JPEG")[:20], "image_unreadable"),
        (encoded("PNG")[:20], "image_unreadable"),
        (png(60_000, 60_000), "image_too_large"),
        (png(1, 1), "image_too_small"),
        (png(9, 4000), "image_too_small"),
        (encoded("BMP", (5, 5)), "image_too_small"),
    ],
)
def test_what_the_framework_would_drop_has_a_code(content: bytes, code: str) -> None:
    with pytest.raises(ImageHeaderError) as caught:
        image_size(BytesIO(content))
    assert caught.value.code == code


@given(
    st.sampled_from([encoded("JPEG", exif=exif(6)), encoded("PNG"), encoded("WEBP"), encoded("TIFF")]),
    st.integers(0, 200),
    st.binary(min_size=1, max_size=4),
)
def test_damaged_headers_give_a_size_or_a_code(content: bytes, at: int, damage: bytes) -> None:
    try:
        width, height = image_size(BytesIO(content[:at] + damage + content[at + len(damage) :]))
    except ImageHeaderError as error:
        assert error.code.startswith("image_")
    else:
        assert min(width, height) >= 10
