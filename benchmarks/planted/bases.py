"""The rendered data sets that faults are planted in, each from a seed: signs in a street, cells in a dish, traffic from
above, parcels on a belt; the example's shapes are the fifth.

Nothing of them is stored. One NumPy generator an image, seeded with (base, seed, split, index): a split does not change
when the other grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from examples import shapes

SIZE: Final = 160
"""the longer side of an image, in pixels"""
SPLITS: Final = ("train", "val")
QUALITY: Final = 90
OVERSAMPLING: Final = 4
"""objects are drawn this much larger and averaged down, for smooth edges"""
MOST_COVERED: Final = 0.3
"""share of a box that those placed before it may cover"""

Picture = NDArray[np.uint8]
"""(height, width, 3): blue, green, red"""
Box = tuple[int, float, float, float, float]
"""class id, x1, y1, x2, y2 in pixels"""
Painter = Callable[[np.random.Generator, Picture, int, float, float, float], Box]
"""draws an object of a class with its centre and radius, in pixels of the oversampled picture"""


@dataclass(frozen=True)
class Base:
    """A kind of data set.

    `share` is how often each class comes; `objects` the fewest of an image, and one more than the most; `radius` half
    the extent of an object, in pixels of SIZE, from the smallest to the largest; `hidden` the share of a box that one
    placed later may cover. The older bases bound only what an object finds covered, so that a large one may hide a
    small one whole; their runs are trained on that.
    """

    name: str
    names: tuple[str, ...]
    share: tuple[float, ...]
    objects: tuple[int, int]
    radius: tuple[float, float]
    ground: Callable[[np.random.Generator, int, int], Picture] | None
    paint: Painter | None
    hidden: float = 1.0


def render(base: str, root: Path, *, seed: int, train: int, val: int) -> Path:
    """Render the data set below `root`; gives the path of its data.yaml. `train` and `val` count images."""
    if base == "shapes":
        return shapes.render(root, seed=seed, train=train, val=val, size=SIZE)
    kind = BASES[base]
    for number, (split, images) in enumerate(zip(SPLITS, (train, val), strict=True)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for index in range(images):
            rng = np.random.default_rng((list(BASES).index(base), seed, number, index))
            picture, boxes = _image(rng, kind)
            name = f"{split}_{index:04d}"
            encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
            (root / "images" / split / f"{name}.jpg").write_bytes(encoded.tobytes())
            height, width = picture.shape[:2]
            lines = [_line(box, width, height) for box in boxes]
            (root / "labels" / split / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    names = "".join(f"  {class_id}: {name}\n" for class_id, name in enumerate(kind.names))
    data = root / "data.yaml"
    data.write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
    return data


def class_names(base: str) -> tuple[str, ...]:
    """The names of the base's classes, by id."""
    return tuple(shapes.SHAPES) if base == "shapes" else BASES[base].names


def _image(rng: np.random.Generator, base: Base) -> tuple[Picture, list[Box]]:
    """One picture and its objects, none of them hidden by another for the most part."""
    assert base.ground is not None
    assert base.paint is not None
    width, height = (SIZE, int(rng.choice([120, 136, 160]))) if rng.uniform() < 0.7 else (128, SIZE)
    canvas = base.ground(rng, width * OVERSAMPLING, height * OVERSAMPLING)
    boxes: list[Box] = []
    for _ in range(int(rng.integers(*base.objects))):
        class_id = int(rng.choice(len(base.names), p=base.share))
        for _ in range(30):
            radius = float(np.exp(rng.uniform(*np.log(base.radius))))
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            square = x - radius, y - radius, x + radius, y + radius
            if _covered(square, boxes) <= MOST_COVERED and _hides(square, boxes) <= base.hidden:
                found = base.paint(rng, canvas, class_id, *(value * OVERSAMPLING for value in (x, y, radius)))
                left, top, right, bottom = (value / OVERSAMPLING for value in found[1:])
                boxes.append((class_id, max(left, 0), max(top, 0), min(right, width), min(bottom, height)))
                break
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _camera(rng, small), boxes


def _covered(box: tuple[float, ...], others: list[Box]) -> float:
    """The largest share of `box` that one of the others covers."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max((_common(box, other) / area for other in others), default=0.0)


def _hides(box: tuple[float, ...], others: list[Box]) -> float:
    """The largest share of one of the others that `box` covers."""
    return max((_common(box, o) / ((o[3] - o[1]) * (o[4] - o[2])) for o in others), default=0.0)


def _common(box: tuple[float, ...], other: Box) -> float:
    """The area that both have, in square pixels."""
    width = min(box[2], other[3]) - max(box[0], other[1])
    height = min(box[3], other[4]) - max(box[1], other[2])
    return max(0.0, width) * max(0.0, height)


def _line(box: Box, width: int, height: int) -> str:
    class_id, left, top, right, bottom = box
    values = (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height
    return " ".join([str(class_id), *(f"{value:.6f}" for value in values)])


def _camera(rng: np.random.Generator, picture: Picture) -> Picture:
    """Exposure, a little blur and sensor noise."""
    values = (picture.astype(np.float32) - 128) * rng.uniform(0.75, 1.15) + 128 + rng.uniform(-22, 22)
    if rng.uniform() < 0.3:
        values = cv2.GaussianBlur(values, (3, 3), 0.8)
    values += rng.normal(0, rng.uniform(2, 10), size=values.shape)
    return _pixels(values)


def _pixels(values: NDArray[Any]) -> Picture:
    clipped: Picture = np.clip(values, 0, 255).astype(np.uint8)
    return clipped


def _noise(rng: np.random.Generator, width: int, height: int, cells: int, strength: float) -> NDArray[Any]:
    """Smooth noise of about `cells` bumps a side: (height, width, 3) float32 around 0."""
    coarse = rng.normal(0, strength, size=(cells, cells, 3)).astype(np.float32)
    smooth: NDArray[Any] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth


def _street(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A wall, a road and posts."""
    horizon = int(height * rng.uniform(0.4, 0.8))
    picture = np.empty((height, width, 3), dtype=np.float32)
    picture[:horizon] = rng.uniform(70, 220, size=3)
    picture[horizon:] = rng.uniform(50, 140)
    picture += _noise(rng, width, height, 6, 14) + _noise(rng, width, height, 40, 9)
    for _ in range(int(rng.integers(1, 5))):
        x, thick = int(rng.uniform(0, width)), int(rng.uniform(4, 22))
        cv2.rectangle(picture, (x, 0), (x + thick, height), tuple(rng.uniform(30, 200, size=3).tolist()), -1)
    return _pixels(picture)


def _sign(rng: np.random.Generator, canvas: Picture, class_id: int, x: float, y: float, radius: float) -> Box:
    """A plate with an arrow to the left, to the right or up, or with a bar."""
    plate = rng.uniform(150, 255, size=3) if rng.uniform() < 0.5 else rng.uniform(10, 90, size=3)
    ink = 255 - plate + rng.uniform(-20, 20, size=3)
    tilt = rng.normal(0, 6)
    rectangle = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * 0.96), tilt))
    cv2.fillConvexPoly(canvas, rectangle.astype(np.int32), tuple(np.clip(plate, 0, 255).tolist()))
    glyph = _BAR if class_id == 3 else _ARROW
    angle = np.deg2rad(tilt + {0: 180, 1: 0, 2: -90, 3: 0}[class_id])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (glyph @ turn.T * radius + (x, y)).astype(np.int32)
    cv2.fillPoly(canvas, [points], tuple(np.clip(ink, 0, 255).tolist()))
    left, top = rectangle.min(axis=0)
    right, bottom = rectangle.max(axis=0)
    return class_id, float(left), float(top), float(right), float(bottom)


_ARROW: Final = np.array([(-0.7, -0.16), (0.1, -0.16), (0.1, -0.5), (0.75, 0.0), (0.1, 0.5), (0.1, 0.16), (-0.7, 0.16)])
_BAR: Final = np.array([(-0.65, -0.2), (0.65, -0.2), (0.65, 0.2), (-0.65, 0.2)])


def _dish(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Bright, uneven light with dust."""
    picture = np.full((height, width, 3), rng.uniform(170, 230), dtype=np.float32)
    picture += rng.uniform(-12, 12, size=3).astype(np.float32)
    picture += _noise(rng, width, height, 4, 10) + _noise(rng, width, height, 60, 4)
    for _ in range(int(rng.integers(4, 16))):
        centre = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        cv2.circle(picture, centre, int(rng.uniform(2, 7)), (float(rng.uniform(90, 160)),) * 3, -1)
    return _pixels(picture)


def _cell(rng: np.random.Generator, canvas: Picture, class_id: int, x: float, y: float, radius: float) -> Box:
    """A filled cell, one with a thick rim, one with a nucleus beside its middle, or a spiky one."""
    stain = np.array([rng.uniform(110, 190), rng.uniform(60, 130), rng.uniform(110, 180)])
    dark = stain * rng.uniform(0.45, 0.65)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    lengths = radius * (1 + 0.06 * np.sin(angles * rng.integers(2, 5) + rng.uniform(0, 6)))
    squeeze = rng.uniform(0.78, 1.0)
    if class_id == 3:
        lengths = radius * np.where(np.arange(40) % 4 < 2, 1.0, 0.62)
    outline = np.stack([x + lengths * np.cos(angles), y + lengths * np.sin(angles) * squeeze], axis=1)
    points = [outline.astype(np.int32)]
    cv2.fillPoly(canvas, points, tuple(stain.tolist()))
    if class_id == 1:
        cv2.polylines(canvas, points, isClosed=True, color=tuple(dark.tolist()), thickness=max(2, int(radius * 0.22)))
    if class_id == 2:
        off = rng.uniform(0, 2 * np.pi)
        centre = int(x + radius * 0.35 * np.cos(off)), int(y + radius * 0.3 * np.sin(off))
        cv2.circle(canvas, centre, max(2, int(radius * 0.38)), tuple(dark.tolist()), -1)
    margin = radius * 0.11 if class_id == 1 else 0
    left, top = outline.min(axis=0) - margin
    right, bottom = outline.max(axis=0) + margin
    return class_id, float(left), float(top), float(right), float(bottom)


def _land(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Fields, and roads across them."""
    picture = np.empty((height, width, 3), dtype=np.float32)
    picture[:] = rng.uniform((40, 80, 50), (110, 150, 130))
    picture += _noise(rng, width, height, 5, 18) + _noise(rng, width, height, 50, 10)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.uniform(-0.2, 1.2, size=(2, 2)) * (width, height)
        start, end = (tuple(int(value) for value in point) for point in ends)
        cv2.line(picture, start, end, (float(rng.uniform(110, 170)),) * 3, int(rng.uniform(30, 70)))
    return _pixels(picture)


def _vehicle(rng: np.random.Generator, canvas: Picture, class_id: int, x: float, y: float, radius: float) -> Box:
    """From above: a car, a lorry with its cab, or a round tank."""
    colour = rng.uniform(20, 250, size=3)
    paint, shade = tuple(colour.tolist()), tuple((colour * 0.4).tolist())
    if class_id == 2:
        cv2.circle(canvas, (int(x), int(y)), int(radius), paint, -1)
        cv2.circle(canvas, (int(x), int(y)), int(radius * 0.55), shade, max(2, int(radius * 0.15)))
        return class_id, x - radius, y - radius, x + radius, y + radius
    breadth = 0.5 if class_id == 0 else 0.34
    angle = rng.uniform(0, 180)
    body = cv2.boxPoints(((x, y), (2 * radius, 2 * radius * breadth), angle))
    cv2.fillConvexPoly(canvas, body.astype(np.int32), paint)
    ahead = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    place, length = (0.1, 0.7) if class_id == 0 else (0.72, 0.5)
    centre = np.array([x, y]) + ahead * radius * place
    top = cv2.boxPoints((tuple(centre), (radius * length, 1.7 * radius * breadth), angle))
    cv2.fillConvexPoly(canvas, top.astype(np.int32), shade)
    left, upper = body.min(axis=0)
    right, lower = body.max(axis=0)
    return class_id, float(left), float(upper), float(right), float(lower)


def _belt(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A conveyor belt between two rails, with its seams and worn tracks along it, lit from one side."""
    lying = rng.uniform() < 0.5
    along, across = (width, height) if lying else (height, width)
    picture = np.empty((across, along, 3), dtype=np.float32)
    picture[:] = rng.uniform(45, 95) + rng.uniform(-10, 10, size=3)
    picture += np.linspace(-1, 1, across, dtype=np.float32)[:, None, None] * rng.uniform(-25, 25)
    picture += _noise(rng, along, across, 30, 6)
    for _ in range(int(rng.integers(2, 6))):
        y, thick = int(rng.uniform(0, across)), int(rng.uniform(4, 16))
        picture[y : y + thick] += rng.uniform(-14, 14)
    start, gap = int(rng.uniform(0, 120)), int(rng.uniform(110, 260))
    for x in range(start, along, gap):
        picture[:, x : x + 5] *= 0.6
    rail, steel = int(rng.uniform(12, 40)), rng.uniform(140, 200)
    picture[:rail] = steel
    picture[across - rail :] = steel * 0.8
    return _pixels(picture if lying else np.ascontiguousarray(picture.transpose(1, 0, 2)))


def _parcel(rng: np.random.Generator, canvas: Picture, class_id: int, x: float, y: float, radius: float) -> Box:
    """A carton with tape, an envelope with its flap, a tube with caps, a crate with slots, or a bag with a label."""
    angle = float(rng.uniform(0, 180))
    breadth = (rng.uniform(0.6, 0.85), rng.uniform(0.55, 0.72), rng.uniform(0.2, 0.28), 0.8, 0.75)[class_id]
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * radius

    def placed(*points: tuple[float, float]) -> NDArray[Any]:
        """Points of the parcel's own square, from -1 to 1 along and across, in pixels."""
        return np.array(points) @ axes + (x, y)

    def slab(left: float, right: float, upper: float, lower: float) -> NDArray[Any]:
        return placed((left, upper), (right, upper), (right, lower), (left, lower))

    def fill(points: NDArray[Any], colour: NDArray[Any]) -> None:
        cv2.fillPoly(canvas, [points.astype(np.int32)], tuple(np.clip(colour, 0, 255).tolist()))

    outline = slab(-1, 1, -breadth, breadth)
    if class_id == 4:
        turns = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        lengths = 1 + 0.08 * np.sin(turns * rng.integers(3, 7) + rng.uniform(0, 6))
        outline = placed(*zip(lengths * np.cos(turns), breadth * lengths * np.sin(turns), strict=True))
    fill(outline + radius * 0.08, np.array([22.0, 22.0, 22.0]))
    carton = np.array([95.0, 140.0, 180.0]) * rng.uniform(0.75, 1.2)
    paper = np.array([215.0, 228.0, 235.0]) * rng.uniform(0.8, 1.05)
    if class_id == 0:
        fill(outline, carton)
        fill(slab(-1, 1, -0.13, 0.13), carton * 1.35)
    elif class_id == 1:
        fill(outline, paper)
        fill(placed((-1, -breadth), (0, 0.25 * breadth), (1, -breadth)), paper * 0.72)
    elif class_id == 2:
        fill(outline, paper * 0.85 if rng.uniform() < 0.5 else carton)
        for end in (-1.0, 0.8):
            fill(slab(end, end + 0.2, -breadth, breadth), np.array([150.0, 70.0, 40.0]))
    elif class_id == 3:
        plastic = np.array((rng.uniform(120, 210), rng.uniform(50, 110), rng.uniform(20, 70)))
        plastic = plastic if rng.uniform() < 0.5 else plastic[::-1]
        fill(outline, plastic)
        for left in (-0.8, -0.2, 0.4):
            fill(slab(left, left + 0.35, -0.55, 0.55), plastic * 0.35)
    else:
        fill(outline, np.full(3, rng.uniform(120, 185)))
        fill(slab(-0.4, 0.35, -0.3, 0.25), np.array([245.0, 245.0, 245.0]))
    left, top = outline.min(axis=0)
    right, bottom = outline.max(axis=0)
    return class_id, float(left), float(top), float(right), float(bottom)


BASES: Final = {
    base.name: base
    for base in (
        Base("shapes", tuple(shapes.SHAPES), (0.25,) * 4, shapes.OBJECTS, (9.6, 27.2), None, None),
        Base(
            "signs",
            ("arrow left", "arrow right", "arrow up", "bar"),
            (0.25, 0.25, 0.25, 0.25),
            (2, 6),
            (10, 26),
            _street,
            _sign,
        ),
        Base(
            "cells", ("plain", "rimmed", "nucleated", "spiky"), (0.45, 0.3, 0.15, 0.1), (4, 11), (8, 18), _dish, _cell
        ),
        Base("traffic", ("car", "lorry", "tank"), (0.4, 0.3, 0.3), (4, 12), (6, 12), _land, _vehicle),
        Base(
            "parcels",
            ("carton", "envelope", "tube", "crate", "bag"),
            (0.28, 0.22, 0.2, 0.16, 0.14),
            (3, 8),
            (9, 30),
            _belt,
            _parcel,
            hidden=MOST_COVERED,
        ),
    )
}
