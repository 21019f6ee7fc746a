"""What an image looks like, in numbers: light, colour, sharpness, noise, and fingerprints by which copies are found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

PROPERTIES: Final = (
    "brightness",
    "contrast",
    "saturation",
    "green_red",
    "blue_yellow",
    "sharpness",
    "noise",
    "blockiness",
    "pixels",
    "aspect",
)
"""What `ImageProperties.values` has a column of.

brightness, contrast: mean and standard deviation of luma, in [0, 1].
saturation: mean of chroma over lightness of the thumbnail (CIELAB).
green_red, blue_yellow: mean a* and b* of the thumbnail, the colour cast and with it the mean hue, in CIELAB units.
sharpness: log10 of the variance of the Laplacian over that of luma, where the longer side has 256 pixels; so it follows
blur, not contrast (Pertuz et al., Analysis of focus measure operators, Pattern Recognition 46, 2013, operator LAPV).
noise: standard deviation of noise in grey levels, in the middle of the image as decoded (Immerkaer, Fast noise variance
estimation, Computer Vision and Image Understanding 64, 1996).
blockiness: log2 of the mean step between columns at the borders of JPEG's blocks over that between other columns, in
the middle of the image as decoded (after Wang, Bovik and Evans, Blind measurement of blocking artifacts, ICIP 2000).
pixels: log2 of the number of pixels. aspect: log2 of width over height.
"""

LONGER_SIDE: Final = 256
"""pixels; properties that depend on scale are taken where the longer side has at most this"""
MIDDLE: Final = 256
"""pixels a side of what noise and blocks are measured on; a multiple of JPEG's 8"""
THUMBNAIL: Final = 16
"""cells a side"""
TONES: Final = 64
_NOISE: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
_BITS: Final = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
_MIRRORED_SIGNS: Final = np.tile((np.arange(1, 9) % 2).astype(bool), 8)
"""Coefficients of a cosine transform with an odd horizontal frequency change their sign in the mirror."""


@dataclass(frozen=True)
class Fingerprint:
    """By what an image is known again.

    `digest` is BLAKE2b of the file's bytes, 16 of them. `gradient_hash` and `cosine_hash` are 64 bits each, read both
    as they are and (`mirrored_`) of the image in a mirror. `thumbnail` (16, 16, 3) uint8 is CIELAB as cv2 has it.
    """

    digest: bytes
    gradient_hash: NDArray[np.uint64]
    cosine_hash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True)
class ImageLook:
    """One image: its fingerprint, PROPERTIES (p,), mean and standard deviation of its channels (2, 3), R, G, B, and
    the shares of luma in TONES equal bins.
    """

    fingerprint: Fingerprint
    values: NDArray[np.float32]
    channels: NDArray[np.float32]
    tones: NDArray[np.float32]


@dataclass(frozen=True)
class Fingerprints:
    """Many images: `digest` (n,) of 16 bytes; hashes (n, 2) uint64, as is and mirrored; `thumbnail` (n, 16, 16, 3)."""

    digest: NDArray[Any]
    gradient_hash: NDArray[np.uint64]
    cosine_hash: NDArray[np.uint64]
    thumbnail: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.digest)


@dataclass(frozen=True)
class ImageProperties:
    """Many images, float32: `values` (n, p) of PROPERTIES, `channels` (n, 2, 3) and `tones` (n, TONES)."""

    fingerprints: Fingerprints
    values: NDArray[np.float32]
    channels: NDArray[np.float32]
    tones: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.values)


def look_at(pixels: NDArray[np.uint8], content: NDArray[np.uint8]) -> ImageLook:
    """Look at an image of (height, width, channels) as decoded, blue, green, red or grey, from a file's `content`."""
    small = shrunk(pixels)
    luma = _luma(small)
    print_ = fingerprint_of(small, luma, content)
    mean, spread = cv2.meanStdDev(small)
    level, contrast = (float(value[0, 0]) for value in cv2.meanStdDev(luma))
    _, edges = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    lab = print_.thumbnail.astype(np.float32)
    light = lab[..., 0] * (100 / 255)
    green_red, blue_yellow = lab[..., 1] - 128, lab[..., 2] - 128
    chroma = np.hypot(green_red, blue_yellow)
    height, width = pixels.shape[:2]
    noise, blockiness = _fine_structure(pixels)
    values = (
        level / 255,
        contrast / 255,
        # Below a twentieth of white, chroma is that of noise.
        float((chroma / np.maximum(light, 5)).mean()),
        float(green_red.mean()),
        float(blue_yellow.mean()),
        np.log10((float(edges[0, 0]) ** 2 + 0.1) / (contrast**2 + 1)),
        noise,
        blockiness,
        np.log2(height * width),
        np.log2(width / height),
    )
    of_channels = np.hstack([mean, spread]).T[:, ::-1] if pixels.shape[2] == 3 else np.hstack([mean, spread]).T
    return ImageLook(
        fingerprint=print_,
        values=np.array(values, dtype=np.float32),
        channels=np.broadcast_to(of_channels, (2, 3)).astype(np.float32),
        tones=(cv2.calcHist([luma], [0], None, [TONES], [0, 256]) / luma.size).ravel(),
    )


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with a longer side of at most LONGER_SIDE pixels: halved as often as it can be, then interpolated.

    Averaging areas at an odd scale would take ten times as long as halving.
    """
    height, width = pixels.shape[:2]
    halves = max(1, 1 << max(0, (max(height, width) // LONGER_SIDE).bit_length() - 1))
    small = pixels
    if halves > 1:
        small = _resized(pixels, (max(1, width // halves), max(1, height // halves)), cv2.INTER_AREA)
    scale = LONGER_SIDE / max(small.shape[:2])
    if scale >= 1:
        return small
    size = (max(1, round(small.shape[1] * scale)), max(1, round(small.shape[0] * scale)))
    return _resized(small, size, cv2.INTER_LINEAR)


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: int) -> NDArray[np.uint8]:
    resized: NDArray[np.uint8] = cv2.resize(pixels, size, interpolation=interpolation).reshape(size[1], size[0], -1)
    return resized


def fingerprint_of(small: NDArray[np.uint8], luma: NDArray[np.uint8], content: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of an image shrunk (`shrunk`), of its luma, and of the bytes of its file.

    The gradient hash is dHash (Krawetz, 2013, hackerfactor.com): whether each of 9 x 8 cells is darker than the next.
    The cosine hash is the sign of 8 x 8 low frequencies of a cosine transform of 32 x 32 cells (pHash: Zauner,
    Implementation and benchmarking of perceptual image hash functions, 2010), taken against 0 instead of their median,
    so that the hash of the mirrored image follows from it.
    """
    grid = cv2.resize(luma, (9, 8), interpolation=cv2.INTER_AREA)
    rises = grid[:, 1:] > grid[:, :-1]
    falls = grid[:, 1:] < grid[:, :-1]
    spectrum = cv2.dct(cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))
    signs = (spectrum[:8, 1:9] > 0).ravel()
    cells = cv2.resize(small, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    colour = cells if cells.ndim == 3 else cv2.cvtColor(cells, cv2.COLOR_GRAY2BGR)
    return Fingerprint(
        digest=hashlib.blake2b(content.tobytes(), digest_size=16).digest(),
        gradient_hash=np.array([_packed(rises.ravel()), _packed(falls[:, ::-1].ravel())], dtype=np.uint64),
        cosine_hash=np.array([_packed(signs), _packed(signs ^ _MIRRORED_SIGNS)], dtype=np.uint64),
        thumbnail=cv2.cvtColor(colour, cv2.COLOR_BGR2LAB),
    )


def fingerprint(pixels: NDArray[np.uint8], content: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of an image as decoded, at full or reduced size."""
    small = shrunk(pixels)
    return fingerprint_of(small, _luma(small), content)


def joined_fingerprints(prints: Sequence[Fingerprint]) -> Fingerprints:
    """Those of many images in one, in their order."""
    return Fingerprints(
        digest=np.array([one.digest for one in prints], dtype="V16"),
        gradient_hash=np.array([one.gradient_hash for one in prints], dtype=np.uint64).reshape(-1, 2),
        cosine_hash=np.array([one.cosine_hash for one in prints], dtype=np.uint64).reshape(-1, 2),
        thumbnail=np.array([one.thumbnail for one in prints], dtype=np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3),
    )


def joined_properties(looks: Sequence[ImageLook]) -> ImageProperties:
    """Those of many images in one, in their order."""
    return ImageProperties(
        fingerprints=joined_fingerprints([look.fingerprint for look in looks]),
        values=np.array([look.values for look in looks], dtype=np.float32).reshape(-1, len(PROPERTIES)),
        channels=np.array([look.channels for look in looks], dtype=np.float32).reshape(-1, 2, 3),
        tones=np.array([look.tones for look in looks], dtype=np.float32).reshape(-1, TONES),
    )


def _luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    luma: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if pixels.shape[2] == 3 else pixels[..., 0]
    return luma


def _packed(bits: NDArray[np.bool_]) -> np.uint64:
    return np.uint64(_BITS[bits].sum())


def _fine_structure(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Noise and blockiness in the middle of the image, which begins at a border of JPEG's blocks."""
    height, width = pixels.shape[:2]
    top, left = (max(0, side - MIDDLE) // 2 // 8 * 8 for side in (height, width))
    middle = _luma(pixels[top : top + MIDDLE, left : left + MIDDLE])
    if min(middle.shape) < 17:
        return 0.0, 0.0
    bare = cv2.filter2D(middle, cv2.CV_16S, _NOISE)[1:-1, 1:-1]
    noise = np.sqrt(np.pi / 2) / 6 * cv2.norm(bare, cv2.NORM_L1) / bare.size
    steps = cv2.reduce(cv2.absdiff(middle[:, 1:], middle[:, :-1]), 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0]
    at_borders = steps[7::8]
    others = (steps.sum() - at_borders.sum()) / (len(steps) - len(at_borders))
    return float(noise), float(np.log2((at_borders.mean() + 0.1) / (others + 0.1)))
