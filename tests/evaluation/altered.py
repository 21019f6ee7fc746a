"""Pictures of scenes and what is done to copies of them, for tests of likeness and drift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8"""


def scenes(count: int, *, seed: int = 0, background: Picture | None = None, noise: float = 3.0) -> list[Picture]:
    """Different scenes of 160 x 120 pixels: a few discs before a smooth background, or before the one that is given."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        if background is None:
            coarse = rng.integers(30, 220, (4, 5, 3)).astype(np.uint8)
            picture = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
        else:
            picture = background.copy()
        for _ in range(int(rng.integers(3, 7))):
            centre = (int(rng.integers(0, 160)), int(rng.integers(0, 120)))
            colour = [int(value) for value in rng.integers(0, 256, 3)]
            cv2.circle(picture, centre, int(rng.integers(6, 16)), colour, -1)
        noisy = picture + rng.normal(0, noise, picture.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def film(count: int) -> list[Picture]:
    """A disc that crosses one scene slowly, which changes altogether every ten frames."""
    found = []
    for number, background in enumerate(np.repeat(np.arange(count // 10), 10)):
        frame = scenes(1, seed=int(background))[0]
        cv2.circle(frame, (20 + 4 * (number % 10), 60), 9, (0, 0, 255), -1)
        found.append(frame)
    return found


def encoded(picture: Picture, quality: int = 90) -> Picture:
    """The picture after JPEG."""
    decoded: Picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)
    return decoded


def resized(picture: Picture, scale: float) -> Picture:
    made: Picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return encoded(made)


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "encoded at quality 25": lambda picture: encoded(picture, 25),
    "half the size": lambda picture: resized(picture, 0.5),
    "one and a half times the size": lambda picture: resized(picture, 1.5),
    "mirrored": lambda picture: encoded(np.ascontiguousarray(picture[:, ::-1])),
    "brighter": lambda picture: encoded(np.clip(picture * 1.12 + 5, 0, 255).astype(np.uint8)),
    "squeezed": lambda picture: encoded(cv2.resize(picture, (120, 120))),
    "blurred": lambda picture: encoded(cv2.GaussianBlur(picture, (0, 0), 1.2)),
}


def write(folder: Path, pictures: list[Picture], prefix: str = "") -> list[str]:
    """Write them as PNG files; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}{number:03}.png" for number in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        cv2.imwrite(str(folder / name), picture)
    return names
