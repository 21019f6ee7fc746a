"""Decodes, resizes and crops images for a classifier as the framework does, ahead of the network and in threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from runaudit.evaluation.images import AHEAD, LARGE_PIXELS, MOST_PIXELS, decode
from runaudit.runs.facts import ImageEntry, Note

BATCH: Final = 16
"""images at a time (cfg/default.yaml of ultralytics 8.4.190)"""


@dataclass(frozen=True)
class ClassifierBatch:
    """The readable images of a batch: their positions, (n, 3, imgsz, imgsz) float32 RGB in [0, 1], and why others are
    missing."""

    images: tuple[int, ...]
    pixels: Tensor
    skipped: tuple[Note, ...]


def classifier_batches(
    entries: Sequence[ImageEntry], root: Path, *, imgsz: int, size: int, threads: int
) -> Iterator[ClassifierBatch]:
    """Yield the images in order, `size` at a time, with at most AHEAD + 1 batches in memory.

    Each is decoded by cv2, resized by Pillow until its shorter side is `imgsz` pixels (bilinear over the area that a
    pixel covers), and cropped to a square at its centre (`square_crop`).
    An image that is larger than MOST_PIXELS before or after resizing, or can't be decoded, is left out with a note.
    """
    reader = _Reader(root, imgsz, square_crop(imgsz), threading.Lock())
    starts = range(0, len(entries), size)
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="decode") as pool:

        def submit(start: int) -> list[Future[Tensor | Note]]:
            return [pool.submit(reader.load, entry) for entry in entries[start : start + size]]

        waiting: deque[list[Future[Tensor | Note]]] = deque()
        try:
            for number, start in enumerate(starts):
                while len(waiting) <= AHEAD and number + len(waiting) < len(starts):
                    waiting.append(submit(starts[number + len(waiting)]))
                yield _assembled(start, [future.result() for future in waiting.popleft()], imgsz)
        finally:
            for future in (future for futures in waiting for future in futures):
                future.cancel()


def square_crop(imgsz: int) -> Callable[[Any], Tensor]:
    """From a Pillow image to (3, imgsz, imgsz) float32 in [0, 1], like classify_transforms of ultralytics 8.4.190.

    That one (data/augment.py) normalises by a mean of 0 and a deviation of 1 at the end, which changes nothing.
    """
    steps: Callable[[Any], Tensor] = transforms.Compose(
        [
            transforms.Resize(imgsz, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(imgsz),
            transforms.ToTensor(),
        ]
    )
    return steps


def _assembled(start: int, results: list[Tensor | Note], imgsz: int) -> ClassifierBatch:
    kept = [(start + offset, result) for offset, result in enumerate(results) if not isinstance(result, Note)]
    return ClassifierBatch(
        images=tuple(image for image, _ in kept),
        pixels=torch.stack([pixels for _, pixels in kept]) if kept else torch.empty(0, 3, imgsz, imgsz),
        skipped=tuple(result for result in results if isinstance(result, Note)),
    )


@dataclass(frozen=True)
class _Reader:
    """Loads single images of one data set; shared by the threads."""

    root: Path
    imgsz: int
    prepared: Callable[[Any], Tensor]
    one_at_a_time: threading.Lock

    def load(self, entry: ImageEntry) -> Tensor | Note:
        """Decode, resize and crop one image, or say why not."""
        header = entry.width * entry.height
        resized = _resized_pixels(entry.width, entry.height, self.imgsz)
        if max(header, resized) > MOST_PIXELS:
            return _skipped(entry, f"its header promises {entry.width} x {entry.height} pixels")
        with self.one_at_a_time if max(header, resized) > LARGE_PIXELS else nullcontext():
            pixels = decode(self.root / entry.file, 3, pages=False)
            if pixels is None:
                return _skipped(entry, "it can't be decoded")
            # What was decoded may be larger than its header says.
            if _resized_pixels(pixels.shape[1], pixels.shape[0], self.imgsz) > MOST_PIXELS:
                return _skipped(entry, f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels")
            return self.prepared(Image.fromarray(pixels[..., ::-1].copy()))


def _resized_pixels(width: int, height: int, imgsz: int) -> int:
    """How many pixels an image has once its shorter side is `imgsz`."""
    return imgsz * imgsz * max(width, height) // max(1, min(width, height))


def _skipped(entry: ImageEntry, why: str) -> Note:
    return Note(code="image_skipped", detail=f"Left out of the validation: {why}.", place=entry.file)
