"""Which images share a batch, the shape of each batch, and where each image lies in it: geometry without pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BATCH: Final = 16
PAD: Final = 0.5
"""strides added to each side of a batch's shape (data/build.py of ultralytics: 0.5 for validation)"""
SIZE_STEP: Final = 32
"""imgsz is rounded up to a multiple of this, whatever the network's stride (engine/validator.py)"""


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
    `x * gain_x + left`, `y * gain_y + top`.
    """

    width: int
    height: int
    resized: tuple[int, int]
    inner: tuple[int, int]
    left: int
    top: int
    gain_x: float
    gain_y: float


def rounded_size(imgsz: int) -> int:
    """`imgsz` as the framework validates with it: the next multiple of 32, at least 32."""
    return max(math.ceil(imgsz / SIZE_STEP) * SIZE_STEP, SIZE_STEP)


def rectangular_batches(
    sizes: NDArray[np.int64], imgsz: int, stride: int, *, batch: int = BATCH, pad: float = PAD
) -> list[Batch]:
    """Batches as `yolo val` makes them with rect=True (data/base.py, set_rectangle, of ultralytics 8.4.190).

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


def place(width: int, height: int, imgsz: int, shape: tuple[int, int]) -> Placement:
    """Where an image of `width` x `height` lies in a batch of `shape` (height, width).

    The image is resized so that its longer side is `imgsz`, up or down, the other side rounded up; it is then only
    made smaller, never larger, to fit the shape, and centred (data/base.py load_image and data/augment.py LetterBox).
    """
    scale = imgsz / max(width, height)
    resized = (
        (width, height) if scale == 1 else (min(math.ceil(width * scale), imgsz), min(math.ceil(height * scale), imgsz))
    )
    shrink = min(shape[0] / resized[1], shape[1] / resized[0], 1.0)
    inner = (max(round(resized[0] * shrink), 1), max(round(resized[1] * shrink), 1))
    return Placement(
        width=width,
        height=height,
        resized=resized,
        inner=inner,
        left=round((shape[1] - inner[0]) / 2 - 0.1),
        top=round((shape[0] - inner[1]) / 2 - 0.1),
        gain_x=resized[0] * shrink / width,
        gain_y=resized[1] * shrink / height,
    )


def frames(placements: tuple[Placement, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gain and offset of each placement, (n, 4) float64 each: box in the batch = box in the image * gain + offset."""
    gains = np.array([(p.gain_x, p.gain_y) * 2 for p in placements], dtype=np.float64).reshape(-1, 4)
    offsets = np.array([(p.left, p.top) * 2 for p in placements], dtype=np.float64).reshape(-1, 4)
    return gains, offsets
