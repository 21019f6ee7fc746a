"""Opening the images of a data set for their headers, counting these, and saying why one can't be used."""

from __future__ import annotations

import io
import os
import stat
from collections import Counter

from runaudit.runs.facts import ImageCensus
from runaudit.runs.image_headers import ImageHeader, ImageHeaderError, ends_well, image_header

Pixels = tuple[str, str, int, int, bool]
"""Format, channels, bits, orientation, and whether the file has its end: what the census counts images by."""


class DroppedError(Exception):
    """An image that can't be used; `code` is the note's and begins with `image` or `label`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def read_header(path: str) -> tuple[ImageHeader, bool]:
    """The image's header, and whether the file has its end. Raises DroppedError."""
    regular = Regular(path)
    try:
        with regular as file:
            header = image_header(file)
            return header, ends_well(file, regular.size, header.kind)
    except ImageHeaderError as error:
        raise DroppedError(error.code, error.detail) from None
    except OSError as error:
        raise DroppedError("image_unreadable", f"It can't be opened: {error.strerror}.") from None


class Regular:
    """A regular file opened for reading without a buffer; a pipe or device raises OSError instead of blocking."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.size = 0

    def __enter__(self) -> io.FileIO:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no regular file")
        self.size = status.st_size
        self._file = io.FileIO(descriptor)
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def count_headers(headers: Counter[Pixels]) -> ImageCensus:
    """Counts by each property of the headers."""
    formats, channels, bits, orientations = (Counter[str](), Counter[str](), Counter[int](), Counter[int]())
    unfinished = 0
    for (kind, channel, depth, orientation, whole), images in headers.items():
        formats[kind] += images
        channels[channel] += images
        bits[depth] += images
        orientations[orientation] += images
        unfinished += 0 if whole else images
    return ImageCensus(
        images=headers.total(),
        formats=dict(formats),
        channels=dict(channels),
        bits=dict(bits),
        orientations=dict(orientations),
        unfinished=unfinished,
    )
