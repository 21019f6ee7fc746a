"""Decodes the images of a batch once, resizes and pads them, ahead of the network and in threads."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from runaudit.evaluation.batches import Batch, Placement, place
from runaudit.evaluation.image_properties import ImageLook, look_at
from runaudit.evaluation.memory import ran_out_of_memory
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.protocol import ULTRALYTICS, Protocol
from runaudit.runs.facts import ImageEntry, Note

Pixels = NDArray[np.uint8]
"""(height, width, channels); three channels are blue, green, red as cv2 has them"""

MOST_PIXELS: Final = 178_956_970
"""Where Pillow takes a header for a decompression bomb, and the framework therefore drops the image as corrupt."""
MOST_BYTES: Final = 2**30
"""largest image file that is read"""
LARGE_PIXELS: Final = 2**25
"""Images above this are decoded one at a time, so that memory does not grow with the number of threads."""
GREY: Final = 114
"""the value that fills the margins (data/augment.py LetterBox)"""
AHEAD: Final = 2
"""batches that are read while the network is busy"""
_TIFF: Final = (".tif", ".tiff")
_BY_PILLOW: Final = (".avif",)


@dataclass(frozen=True)
class LoadedBatch:
    """The readable images of a batch.

    `images` are positions as in Batch; `pixels` is (n, height, width, channels) uint8, RGB or grey; `skipped` says
    why an image is missing. `looks` has one entry an image, or none if they were not asked for.
    """

    images: tuple[int, ...]
    pixels: NDArray[np.uint8]
    placements: tuple[Placement, ...]
    skipped: tuple[Note, ...]
    looks: tuple[ImageLook, ...] = ()


@dataclass(frozen=True)
class _Loaded:
    placement: Placement
    pixels: Pixels
    look: ImageLook | None


def load_batches(
    entries: Sequence[ImageEntry],
    root: Path,
    batches: Sequence[Batch],
    *,
    imgsz: int,
    channels: int,
    threads: int,
    ahead: int = AHEAD,
    protocol: Protocol = ULTRALYTICS,
    looks: bool = False,
    change: PixelChange | None = None,
) -> Iterator[LoadedBatch]:
    """Yield the batches in order, with at most `ahead` + 1 of them in memory.

    `entries` are the images that the batches' positions count; their files lie below `root`. With `looks`, each image
    is looked at as it was decoded (`image_properties`). A `change` of its pixels comes after that. An image that is
    larger than MOST_PIXELS by its header or can't be decoded is left out with a note: it is not an error of the audit.
    """
    reader = _Reader(root, imgsz, channels, protocol, looks, change, threading.Lock())
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="decode") as pool:

        def submit(batch: Batch) -> list[Future[_Loaded | Note]]:
            return [pool.submit(reader.load, entries[image], batch.shape) for image in batch.images]

        waiting: deque[list[Future[_Loaded | Note]]] = deque()
        try:
            for number, batch in enumerate(batches):
                while len(waiting) <= ahead and number + len(waiting) < len(batches):
                    waiting.append(submit(batches[number + len(waiting)]))
                yield _assemble(batch, [future.result() for future in waiting.popleft()], channels)
        finally:
            for future in (future for futures in waiting for future in futures):
                future.cancel()


def _assemble(batch: Batch, results: list[_Loaded | Note], channels: int) -> LoadedBatch:
    """Put the images of a batch into one array of the batch's shape, channels turned to RGB."""
    kept = [(image, loaded) for image, loaded in zip(batch.images, results, strict=True) if isinstance(loaded, _Loaded)]
    pixels = np.full((len(kept), *batch.shape, channels), GREY, dtype=np.uint8)
    for canvas, (_, loaded) in zip(pixels, kept, strict=True):
        width, height = loaded.placement.inner
        top, left = loaded.placement.top, loaded.placement.left
        canvas[top : top + height, left : left + width] = loaded.pixels[..., ::-1]
    return LoadedBatch(
        images=tuple(image for image, _ in kept),
        pixels=pixels,
        placements=tuple(loaded.placement for _, loaded in kept),
        skipped=tuple(result for result in results if isinstance(result, Note)),
        looks=tuple(loaded.look for _, loaded in kept if loaded.look is not None),
    )


@dataclass(frozen=True)
class _Reader:
    """Loads single images of one data set; shared by the threads."""

    root: Path
    imgsz: int
    channels: int
    protocol: Protocol
    looks: bool
    change: PixelChange | None
    one_at_a_time: threading.Lock

    def load(self, entry: ImageEntry, shape: tuple[int, int]) -> _Loaded | Note:
        """Decode and resize one image for a batch of `shape`, or say why not."""
        header = entry.width * entry.height
        if header > MOST_PIXELS:
            return _skipped(entry, f"its header promises {entry.width} x {entry.height} pixels")
        with self.one_at_a_time if header > LARGE_PIXELS else nullcontext():
            content = read_bytes(self.root / entry.file)
            pixels = decoded(content, self.root / entry.file, self.channels) if content is not None else None
            if content is None or pixels is None:
                return _skipped(entry, "it can't be decoded")
            look = look_at(pixels, content) if self.looks else None
            if self.change is not None:
                pixels = self.change.apply(pixels)
            placement = place(pixels.shape[1], pixels.shape[0], self.imgsz, shape, self.protocol)
            shrinks = self.imgsz < max(pixels.shape[:2])
            by_area = shrinks and self.protocol.shrinks_by_area
            first = _resized(pixels, placement.resized, cv2.INTER_AREA if by_area else cv2.INTER_LINEAR)
            return _Loaded(placement, _resized(first, placement.inner), look)


def _skipped(entry: ImageEntry, why: str) -> Note:
    return Note(code="image_skipped", detail=f"Left out of the validation: {why}.", place=entry.file)


def _resized(pixels: Pixels, size: tuple[int, int], interpolation: int = cv2.INTER_LINEAR) -> Pixels:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    resized: Pixels = cv2.resize(pixels, size, interpolation=interpolation).reshape(size[1], size[0], -1)
    return resized


def decode(path: Path, channels: int, *, pages: bool = True) -> Pixels | None:
    """The image of a file (`decoded`), or None."""
    content = read_bytes(path)
    return decoded(content, path, channels, pages=pages) if content is not None else None


def read_bytes(path: Path) -> NDArray[np.uint8] | None:
    """The bytes of a file of at most MOST_BYTES; None if it is empty or can't be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        if ran_out_of_memory(error):
            raise MemoryError("There is no memory for an image.") from error
        return None
    return content if content.size else None


def decoded(content: NDArray[np.uint8], path: Path, channels: int, *, pages: bool = True) -> Pixels | None:
    """The image as the framework reads it (utils/patches.py, imread, of ultralytics 8.4.190), or None.

    `channels` is 1 or 3. EXIF orientation is applied, alpha dropped, 16-bit values keep their high byte, of several
    pages the first counts. Unlike the framework, an `a.npy` beside `a.jpg` is not taken in its place: a run must not
    replace its images by arrays that nobody sees. HEIC is not decoded (the framework would install a package).
    Without `pages` a TIFF is decoded like any other image, as the framework does for classifiers (imread_unicode).

    Raises MemoryError: an image that does not fit is no broken one.
    """
    try:
        pixels = _decoded(content, path.suffix.lower(), channels, pages=pages)
    except (OSError, ValueError, cv2.error) as error:
        if ran_out_of_memory(error):
            raise MemoryError("There is no memory for an image.") from error
        return None
    if pixels is None or pixels.size == 0:
        return None
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        return None
    return pixels.reshape(*pixels.shape[:2], -1) if pixels.ndim == 2 else pixels


def _decoded(content: NDArray[np.uint8], suffix: str, channels: int, *, pages: bool) -> Pixels | None:
    flags = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
    if pages and channels == 3 and suffix in _TIFF:
        _, read = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(0, 1))
        if read and read[0].ndim == 3:
            first: Pixels = read[0][..., :3]
            return first
    if suffix in _BY_PILLOW:
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content.tobytes())))
        if channels == 1:
            return np.asarray(upright.convert("L"))
        return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    pixels: Pixels | None = cv2.imdecode(content, flags)
    return pixels
