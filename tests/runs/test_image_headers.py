"""Image sizes from headers, as a decoder sees them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from runaudit.runs.image_headers import ImageHeaderError, ends_well, image_header, image_size


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


@pytest.mark.parametrize(
    ("kind", "mode", "channels", "bits"),
    [
        ("JPEG", "L", "grey", 8),
        ("JPEG", "RGB", "colour", 8),
        ("JPEG", "CMYK", "cmyk", 8),
        ("PNG", "L", "grey", 8),
        ("PNG", "I;16", "grey", 16),
        ("PNG", "LA", "grey_alpha", 8),
        ("PNG", "RGB", "colour", 8),
        ("PNG", "RGBA", "colour_alpha", 8),
        ("PNG", "P", "palette", 8),
        ("TIFF", "I;16", "grey", 16),
        ("TIFF", "F", "grey", 32),
        ("WEBP", "RGBA", "colour_alpha", 8),
        ("BMP", "RGB", "colour", 8),
    ],
)
def test_channels_and_depth_are_those_that_were_written(kind: str, mode: str, channels: str, bits: int) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    header = image_header(BytesIO(encoded(kind, mode=mode, **options)))
    assert (header.kind, header.channels, header.bits, header.orientation) == (kind, channels, bits, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_orientation_that_exif_does_not_know_is_none(kind: str) -> None:
    header = image_header(BytesIO(encoded(kind, exif=exif(77))))
    assert (header.orientation, header.width, header.height) == (1, 40, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_end_mark_is_sought_in_the_last_bytes(kind: str) -> None:
    content = encoded(kind, (200, 200))
    assert ends_well(BytesIO(content), len(content), kind)
    assert ends_well(BytesIO(content + bytes(30)), len(content) + 30, kind)
    assert not ends_well(BytesIO(content[:-70]), len(content) - 70, kind)
    assert ends_well(BytesIO(b""), 0, "BMP")
