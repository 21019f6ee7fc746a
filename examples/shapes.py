"""Renders the example's data set: photographs of nothing, with four kinds of shapes to detect, from a seed.

    python -m examples.shapes DIR

Everything comes from one NumPy generator per image, seeded with (seed, split, index), so the same seed gives the same
bytes on one machine, and a split does not change when the other grows.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[Any]
"""(height, width): one floating-point number a pixel."""
Picture = NDArray[Any]
"""(height, width, 3): RGB in [0, 1]."""

SPLITS = ("train", "val")
ASPECTS = (1.0, 1.0, 4 / 3, 3 / 4, 1.5)
"""Width to height; the longer side is always `size`."""
OBJECTS = (3, 8)
"""Fewest objects of an image, and one more than the most; images have 5 on average."""
RADIUS = (0.06, 0.17)
"""Half the extent of a shape, as a share of the image's longer side."""
SMALLEST_VISIBLE = 0.45
"""Share of a shape that must stay visible; what is more hidden than that is not drawn at all."""
EDGE_ERROR = 0.04
"""Standard deviation of where a label has an edge, as a share of the box's side: people draw boxes no better. It also
keeps the example honest: mAP50-95 has a ceiling that more training does not lift."""
JPEG_QUALITY = 88


def _disc(x: Plane, y: Plane) -> Plane:
    return np.hypot(x, y) - 1.0


def _square(x: Plane, y: Plane) -> Plane:
    return np.maximum(np.abs(x), np.abs(y)) - 0.86


def _triangle(x: Plane, y: Plane) -> Plane:
    """An equilateral triangle whose corners lie on the unit circle."""
    edges = [x * np.cos(angle) + y * np.sin(angle) for angle in (np.pi / 2, np.pi * 7 / 6, np.pi * 11 / 6)]
    distance: Plane = np.maximum.reduce(edges) - 0.5
    return distance


def _cross(x: Plane, y: Plane) -> Plane:
    arm, reach = 0.3, 1.0
    across = np.maximum(np.abs(x) - reach, np.abs(y) - arm)
    along = np.maximum(np.abs(x) - arm, np.abs(y) - reach)
    return np.minimum(across, along)


SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
}
"""Class name -> distance to the outline of the shape of radius 1 (negative inside), in the order of the class ids."""


@dataclass(frozen=True)
class Placement:
    """One shape on its way into an image; centre and radius in pixels, angle in radians."""

    class_id: int
    centre: tuple[float, float]
    radius: float
    angle: float


def render(root: Path, *, seed: int = 0, train: int = 240, val: int = 120, size: int = 160) -> Path:
    """Render the data set below `root` and return the path of its data.yaml.

    `train` and `val` count images; `size` is the longer side of an image in pixels. Makes `images/{train,val}`,
    `labels/{train,val}` (YOLO lines `class x y width height`, relative to the image) and `data.yaml`.
    """
    for split, images in zip(SPLITS, (train, val), strict=True):
        image_dir, label_dir = root / "images" / split, root / "labels" / split
        image_dir.mkdir(parents=True, exist_ok=True)
        label_dir.mkdir(parents=True, exist_ok=True)
        classes = _class_deck(np.random.default_rng((seed, SPLITS.index(split), 2**31)), images)
        for index in range(images):
            rng = np.random.default_rng((seed, SPLITS.index(split), index))
            content, lines = _image(rng, classes[index], size)
            (image_dir / f"{split}_{index:04d}.jpg").write_bytes(content)
            (label_dir / f"{split}_{index:04d}.txt").write_text("".join(f"{line}\n" for line in lines))
    names = "".join(f"  {class_id}: {name}\n" for class_id, name in enumerate(SHAPES))
    data = root / "data.yaml"
    data.write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
    return data


def _class_deck(rng: np.random.Generator, images: int) -> list[NDArray[np.int64]]:
    """Class ids of each image's objects, dealt from a shuffled deck so that all classes are equally frequent."""
    counts = rng.integers(*OBJECTS, size=images)
    deck = rng.permutation(np.arange(counts.sum()) % len(SHAPES))
    return np.split(deck, np.cumsum(counts)[:-1])


def _image(rng: np.random.Generator, classes: NDArray[np.int64], size: int) -> tuple[bytes, list[str]]:
    """One JPEG and its label lines."""
    aspect = float(rng.choice(ASPECTS))
    width, height = (size, round(size / aspect)) if aspect >= 1 else (round(size * aspect), size)
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = _background(rng, grid_x, grid_y, size)
    alphas = _arrange(rng, classes, grid_x, grid_y, size)
    for _, alpha in alphas:
        picture = _paint(rng, picture, alpha, grid_x, grid_y)
    picture = _camera(rng, picture)
    lines = [_label_line(rng, class_id, alpha) for class_id, alpha in alphas]
    buffer = io.BytesIO()
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue(), lines


def _arrange(
    rng: np.random.Generator, classes: NDArray[np.int64], grid_x: Plane, grid_y: Plane, size: int
) -> list[tuple[int, Plane]]:
    """Place the shapes, later ones over earlier ones, so that enough of each stays visible.

    Gives (class id, coverage in [0, 1]) in the order of painting. A shape finds a place in one of 40 tries or is
    left out.
    """
    height, width = grid_x.shape
    placed: list[tuple[int, Plane]] = []
    for class_id in classes:
        for _ in range(40):
            radius = size * float(np.exp(rng.uniform(*np.log(RADIUS))))
            placement = Placement(
                class_id=int(class_id),
                centre=(
                    float(rng.uniform(radius * 0.5, width - radius * 0.5)),
                    float(rng.uniform(radius * 0.5, height - radius * 0.5)),
                ),
                radius=radius,
                angle=float(rng.uniform(0, 2 * np.pi)),
            )
            alpha = _coverage(placement, grid_x, grid_y)
            if alpha.sum() > 0 and _all_visible([*(plane for _, plane in placed), alpha]):
                placed.append((int(class_id), alpha))
                break
    return placed


def _all_visible(alphas: list[Plane]) -> bool:
    """Whether each plane keeps SMALLEST_VISIBLE of itself under those after it."""
    free = np.ones_like(alphas[0])
    for alpha in reversed(alphas):
        if (alpha * free).sum() < SMALLEST_VISIBLE * alpha.sum():
            return False
        free = free * (1 - alpha)
    return True


def _coverage(placement: Placement, grid_x: Plane, grid_y: Plane) -> Plane:
    """Share of each pixel that the shape covers, with an edge one pixel wide."""
    x, y = grid_x - placement.centre[0], grid_y - placement.centre[1]
    cosine, sine = np.cos(placement.angle), np.sin(placement.angle)
    turned_x = (x * cosine + y * sine) / placement.radius
    turned_y = (y * cosine - x * sine) / placement.radius
    distance = SHAPES[list(SHAPES)[placement.class_id]](turned_x, turned_y) * placement.radius
    covered: Plane = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return covered


def _label_line(rng: np.random.Generator, class_id: int, alpha: Plane) -> str:
    """The label of a shape: the box around all of it that lies in the image, what others hide included."""
    height, width = alpha.shape
    rows, columns = np.flatnonzero((alpha > 0.5).any(axis=1)), np.flatnonzero((alpha > 0.5).any(axis=0))
    left, right = _annotated(rng, columns[0], columns[-1] + 1, width)
    top, bottom = _annotated(rng, rows[0], rows[-1] + 1, height)
    box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return " ".join([str(class_id), *(f"{value:.6f}" for value in box)])


def _annotated(rng: np.random.Generator, first: float, last: float, limit: int) -> tuple[float, float]:
    """Where an annotator sees the two edges of a side, in pixels from 0 to `limit`."""
    off = rng.normal(0, EDGE_ERROR * (last - first), size=2)
    return max(0.0, first + off[0]), min(float(limit), last + off[1])


def _background(rng: np.random.Generator, grid_x: Plane, grid_y: Plane, size: int) -> Picture:
    """A gradient between two colours with waves, blotches and a few stray lines over it."""
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (grid_x * np.cos(angle) + grid_y * np.sin(angle)) / size
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    first, second = rng.uniform(0.1, 0.9, size=(2, 3))
    picture = first + (second - first) * ramp[..., None]
    picture = picture + rng.uniform(0.02, 0.10) * _waves(rng, grid_x, grid_y, size)[..., None]
    coarse = rng.normal(0, rng.uniform(0.02, 0.09), size=(8, 8)).astype(np.float32)
    blotches = Image.fromarray(coarse).resize((grid_x.shape[1], grid_x.shape[0]), Image.Resampling.BICUBIC)
    picture = picture + np.asarray(blotches)[..., None]
    for _ in range(rng.integers(0, 5)):
        picture = _stray_line(rng, picture, grid_x, grid_y)
    textured: Picture = picture.astype(np.float32)
    return textured


def _waves(rng: np.random.Generator, grid_x: Plane, grid_y: Plane, size: int) -> Plane:
    """Parallel waves of a random direction and length, in [-1, 1]."""
    angle, length = rng.uniform(0, np.pi), size * rng.uniform(0.04, 0.3)
    wave: Plane = np.sin(2 * np.pi * (grid_x * np.cos(angle) + grid_y * np.sin(angle)) / length)
    return wave


def _stray_line(rng: np.random.Generator, picture: Picture, grid_x: Plane, grid_y: Plane) -> Picture:
    """A thin line across the image: structure that is no object."""
    height, width = grid_x.shape
    angle, thickness = rng.uniform(0, np.pi), rng.uniform(0.6, 2.0)
    through_x, through_y = rng.uniform(0, width), rng.uniform(0, height)
    distance = np.abs((grid_x - through_x) * np.cos(angle) + (grid_y - through_y) * np.sin(angle))
    alpha = np.clip(thickness - distance, 0, 1)[..., None] * rng.uniform(0.3, 0.9)
    mixed: Picture = picture * (1 - alpha) + rng.uniform(0, 1, size=3) * alpha
    return mixed


def _paint(rng: np.random.Generator, picture: Picture, alpha: Plane, grid_x: Plane, grid_y: Plane) -> Picture:
    """Lay one shape over the picture: a plain or striped colour that differs from what lies below."""
    below = (picture * alpha[..., None]).sum(axis=(0, 1)) / alpha.sum()
    colour = rng.uniform(0.05, 0.95, size=3)
    for _ in range(20):
        if np.abs(colour - below).mean() > 0.13:
            break
        colour = rng.uniform(0.05, 0.95, size=3)
    stripes = rng.uniform(0, 0.15) * _waves(rng, grid_x, grid_y, grid_x.shape[1])
    opacity = alpha[..., None] * rng.uniform(0.75, 1.0)
    mixed: Picture = picture * (1 - opacity) + (colour + stripes[..., None]) * opacity
    return mixed


def _camera(rng: np.random.Generator, picture: Picture) -> Picture:
    """Exposure, contrast, a little blur and sensor noise."""
    picture = (picture - 0.5) * rng.uniform(0.7, 1.15) + 0.5 + rng.uniform(-0.12, 0.12)
    if rng.uniform() < 0.4:
        picture = _blur(picture)
    return (picture + rng.normal(0, rng.uniform(0.01, 0.06), size=picture.shape)).astype(np.float32)


def _blur(picture: Picture) -> Picture:
    """A binomial blur of 3 by 3 pixels."""
    for axis in (0, 1):
        pad = [(1, 1) if axis == other else (0, 0) for other in range(3)]
        padded = np.moveaxis(np.pad(picture, pad, mode="edge"), axis, 0)
        picture = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    return picture


def main() -> None:
    """Render into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=240, help="images in the training split")
    parser.add_argument("--val", type=int, default=120, help="images in the validation split")
    parser.add_argument("--size", type=int, default=160, help="longer side of an image in pixels")
    options = parser.parse_args()
    data = render(options.directory, seed=options.seed, train=options.train, val=options.val, size=options.size)
    print(data)


if __name__ == "__main__":
    main()
