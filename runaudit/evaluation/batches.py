"""Which images share a batch, the shape of each batch, and where each image lies in it: geometry without pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.protocol import ULTRALYTICS, Protocol

SIZE_STEP: Final = 32
"""imgsz is rounded up to a multiple of this, whatever the network's stride (engine/validator.py)"""

MOST_BATCH_PIXELS: Final = 2**26
"""16 images of 2048 x 2048; what goes through the network at once. Its memory grows with this: a run that claims imgsz
8192 would else take 8.7 GB for each copy of its batch's pixels alone (measured), and the machine with it."""


@dataclass(frozen=True)
class Batch:
    """Images that go through the network together: positions in the list of sizes, and (height, width) in pixels."""

    images: tuple[int, ...]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """How an image of `width` x `height` pixels lies in its batch.

    `resized` is (width, height) after the first resize, `inner` after the second (the same unless the batch is smaller
    than the image), `left` and `top` the margin before it. A point of the image, in pixels, is at
    `x * gain_x + offset_x`, `y * gain_y + offset_y`: there the framework puts its boxes, half a pixel beside the image
    at most. `shrink` is the scale of the second resize before its sides are rounded.
    """

    width: int
    height: int
    resized: tuple[int, int]
    inner: tuple[int, int]
    left: int
    top: int
    gain_x: float
    gain_y: float
    offset_x: float
    offset_y: float
    shrink: float = 1.0


def rounded_size(imgsz: int, step: int = SIZE_STEP) -> int:
    """`imgsz` as the framework validates with it: the next multiple of 32 (or `step`), at least that."""
    return max(math.ceil(imgsz / step) * step, step)


def rectangular_batches(
    sizes: NDArray[np.int64],
    imgsz: int,
    stride: int,
    *,
    batch: int = ULTRALYTICS.batch,
    pad: float = ULTRALYTICS.pad,
) -> list[Batch]:
    """Batches as the frameworks make them with rect=True (data/base.py, set_rectangle, of ultralytics 8.4.190).

    Args:
        sizes: (n, 2) height and width of each image in pixels, the images in the order of their paths.
        imgsz: the longer side of an image in the network, a multiple of 32.
        stride: what the sides of a batch are multiples of.
        batch: images per batch; the last one may have fewer.
        pad: strides added to each side.

    Images are sorted by height / width, so that a batch is no larger than its images need. Equal ratios are ordered
    by NumPy's default sort, as in the framework: which of them share a batch can change a batch's shape.
    """
    ratios = sizes[:, 0] / sizes[:, 1]
    order = ratios.argsort()
    batches = []
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        narrowest, tallest = ratios[members].min(), ratios[members].max()
        relative = (tallest, 1.0) if tallest < 1 else (1.0, 1 / narrowest) if narrowest > 1 else (1.0, 1.0)
        height, width = (np.ceil(np.array(relative) * imgsz / stride + pad).astype(int) * stride).tolist()
        batches.append(Batch(images=tuple(members.tolist()), shape=(height, width)))
    return batches


def square_batches(images: int, imgsz: int, *, batch: int = ULTRALYTICS.batch) -> list[Batch]:
    """Batches as the frameworks make them with rect=False: images in their order, all `imgsz` pixels a side."""
    return [
        Batch(images=tuple(range(start, min(start + batch, images))), shape=(imgsz, imgsz))
        for start in range(0, images, batch)
    ]


def within_memory(batches: Iterable[Batch], most_pixels: int = MOST_BATCH_PIXELS) -> list[Batch]:
    """The batches, those of more than `most_pixels` in parts of the same shape: what an image looks like stays."""
    parts = []
    for whole in batches:
        size = max(1, most_pixels // (whole.shape[0] * whole.shape[1]))
        parts += [replace(whole, images=whole.images[at : at + size]) for at in range(0, len(whole.images), size)]
    return parts


def place(width: int, height: int, imgsz: int, shape: tuple[int, int], protocol: Protocol = ULTRALYTICS) -> Placement:
    """Where an image of `width` x `height` lies in a batch of `shape` (height, width).

    The image is resized so that its longer side is `imgsz`, up or down, the other side rounded up; it is then only
    made smaller, never larger, to fit the shape, and centred (data/base.py load_image and data/augment.py LetterBox).
    """
    scale = imgsz / max(width, height)
    resized = (width, height) if scale == 1 else (math.ceil(width * scale), math.ceil(height * scale))
    if protocol.capped_sides:
        resized = (min(resized[0], imgsz), min(resized[1], imgsz))
    shrink = min(shape[0] / resized[1], shape[1] / resized[0], 1.0)
    inner = (max(round(resized[0] * shrink), 1), max(round(resized[1] * shrink), 1))
    margin_x, margin_y = (shape[1] - inner[0]) / 2, (shape[0] - inner[1]) / 2
    left, top = round(margin_x - 0.1), round(margin_y - 0.1)
    return Placement(
        width=width,
        height=height,
        resized=resized,
        inner=inner,
        left=left,
        top=top,
        gain_x=resized[0] * shrink / width,
        gain_y=resized[1] * shrink / height,
        offset_x=left if protocol.whole_margins else margin_x,
        offset_y=top if protocol.whole_margins else margin_y,
        shrink=shrink,
    )


def frames(placements: tuple[Placement, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gain and offset of each placement, (n, 4) float64 each: box in the batch = box in the image * gain + offset."""
    gains = np.array([(p.gain_x, p.gain_y) * 2 for p in placements], dtype=np.float64).reshape(-1, 4)
    offsets = np.array([(p.offset_x, p.offset_y) * 2 for p in placements], dtype=np.float64).reshape(-1, 4)
    return gains, offsets
