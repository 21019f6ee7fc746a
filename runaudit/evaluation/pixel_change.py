"""A change of pixels that makes images look like others: tones, saturation, cast, blur, noise, and compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.image_properties import LONGER_SIDE, PROPERTIES, ImageProperties, look_at

BLURS: Final = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
"""Standard deviations that are tried, in pixels where the longer side has LONGER_SIDE."""
LEAST_NOISE: Final = 1.0
"""Standard deviation in grey levels below which added noise would be rounded away."""
MOST_SATURATION: Final = 4.0
USUAL_QUALITY: Final = 92
QUALITIES: Final = (75, 60, 45, 30, 20, 12, 8, 5)
TAILS: Final = (0.001, 0.999)
"""shares of pixels beyond which there are too few to match tones by"""
_LUMA: Final = np.array([0.114, 0.587, 0.299])
"""weights of blue, green and red (ITU-R BT.601), as cv2 has them"""
_SATURATION: Final = PROPERTIES.index("saturation")
_SHARPNESS: Final = PROPERTIES.index("sharpness")
_NOISE: Final = PROPERTIES.index("noise")
_BLOCKINESS: Final = PROPERTIES.index("blockiness")

Images = Sequence[NDArray[np.uint8]]
"""a few images as decoded, on which a change is tried"""


@dataclass(frozen=True)
class PixelChange:
    """Tones by a table, then saturation, then a colour cast, then a Gaussian blur, then Gaussian noise, then JPEG.

    `tones` has 256 grey levels, one for each, the same for all channels; None keeps them. `saturation` multiplies the
    distance of a pixel's channels from its grey. `cast` multiplies red, green and blue. `blur` is a standard deviation
    in pixels where the longer side has LONGER_SIDE, `noise` one in grey levels; 0 leaves it out.
    `quality` is JPEG's, 1 to 100; None leaves it out.
    """

    tones: tuple[int, ...] | None = None
    saturation: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    quality: int | None = None

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The changed image, of (height, width, channels) as decoded: blue, green, red, or grey."""
        shape, changed = pixels.shape, pixels
        if self.tones is not None:
            changed = cv2.LUT(changed, np.array(self.tones, dtype=np.uint8)).reshape(shape)
        if shape[2] == 3 and (self.saturation != 1 or self.cast != (1.0, 1.0, 1.0)):
            mixed = self.saturation * np.eye(3) + (1 - self.saturation) * _LUMA
            # cv2.transform rounds, and cuts to what a byte holds.
            changed = cv2.transform(changed, np.array(self.cast[::-1])[:, None] * mixed)
        if self.blur > 0:
            sigma = self.blur * max(shape[:2]) / LONGER_SIDE
            changed = cv2.GaussianBlur(changed, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).reshape(shape)
        if self.noise > 0:
            # Seeded by the image, so that a pass over the same images gives the same figures in any order of threads.
            generator = np.random.default_rng(int(changed[::7, ::7].sum()))
            noisy = changed + self.noise * generator.standard_normal(shape, dtype=np.float32)
            changed = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if self.noise > 0 or self.quality is not None:
            changed = _through_jpeg(changed, self.quality or USUAL_QUALITY).reshape(shape)
        return np.asarray(changed, dtype=np.uint8)


def colour_change(images: ImageProperties, target: ImageProperties, some: Images) -> PixelChange:
    """The change that gives all `images` together the tones, the mean saturation and the mean colours of `target`.

    Tones are matched by their distributions over all pixels' luma (histogram matching: Gonzalez and Woods, Digital
    Image Processing, chapter 3.3), which finds gain, offset and gamma alike. Saturation and cast follow from what the
    tones alone do to `some` of the images. One change for all: it moves the set, and leaves how its images differ.
    """
    tones = PixelChange(tones=_matched(images.tones.mean(axis=0), target.tones.mean(axis=0)))
    if not len(some):
        return tones
    before = _looks(some, PixelChange())[0][:, _SATURATION].mean()
    after = _looks(some, tones)[0][:, _SATURATION].mean()
    expected = float(images.values[:, _SATURATION].mean() * after / before) if before > 0 else 0.0
    wanted = float(target.values[:, _SATURATION].mean())
    saturated = replace(tones, saturation=min(MOST_SATURATION, wanted / expected) if expected > 1e-3 else 1.0)
    moved = (_looks(some, saturated)[1] - _looks(some, PixelChange())[1]).mean(axis=0)
    reached = np.maximum(images.channels[:, 0].mean(axis=0) + moved, 1.0)
    cast = target.channels[:, 0].mean(axis=0) / reached
    return replace(saturated, cast=(float(cast[0]), float(cast[1]), float(cast[2])))


def _matched(tones: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[int, ...]:
    """256 grey levels that give the shares `tones` (b,) of b equal bins the distribution of `target`, (b,).

    Channels go beyond what luma reaches; past its TAILS the table goes on in a straight line, by its mean slope.
    """
    edges = np.linspace(0, 256, len(tones) + 1)
    levels = np.arange(256) + 0.5
    share = _cumulated(tones)
    low, high = np.interp(TAILS, share, edges)
    inside = np.clip(levels, low, max(high, low + 1))
    mapped = np.interp(np.interp(inside, edges, share), _cumulated(target), edges)
    slope = (mapped[-1] - mapped[0]) / (inside[-1] - inside[0])
    return tuple(int(level) for level in np.clip(np.floor(mapped + slope * (levels - inside)), 0, 255))


def _cumulated(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """The distribution function at the edges of the bins, rising strictly, so that each share has one grey level."""
    sums = np.r_[0, np.cumsum(shares, dtype=np.float64)] + 1e-6 * np.arange(len(shares) + 1)
    return np.asarray(sums / sums[-1])


def blur_to(some: Images, change: PixelChange, sharpness: float) -> float:
    """The blur of BLURS after which the median sharpness of some images comes nearest to `sharpness`; 0 for none."""
    reached = [
        abs(float(np.median(_looks(some, replace(change, blur=blur))[0][:, _SHARPNESS])) - sharpness)
        for blur in (0.0, *BLURS)
    ]
    return (0.0, *BLURS)[int(np.argmin(reached))]


def noise_to(some: Images, change: PixelChange, noise: float) -> float:
    """The noise to add after `change`, so that the median noise of some images becomes `noise`: variances add up.

    Noise is measured in luma, and added to each channel by itself: luma takes a root of its weights' squares of it.
    """
    has = float(np.median(_looks(some, change)[0][:, _NOISE]))
    missing = noise**2 - has**2
    if missing <= LEAST_NOISE**2:
        return 0.0
    in_luma = 1.0 if some[0].shape[2] == 1 else float(np.sqrt((_LUMA**2).sum()))
    return float(np.sqrt(missing)) / in_luma


def quality_to(some: Images, change: PixelChange, blockiness: float) -> int | None:
    """The quality of QUALITIES after which the median blockiness of some images comes nearest; None for no JPEG."""
    tried: tuple[int | None, ...] = (None, *QUALITIES)
    reached = [
        abs(float(np.median(_looks(some, replace(change, quality=quality))[0][:, _BLOCKINESS])) - blockiness)
        for quality in tried
    ]
    return tried[int(np.argmin(reached))]


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image after JPEG.

    Noise passes through it too: JPEG halves the resolution of colours and so takes most of their noise, as files have
    it.

    Of a drop of mAP50-95 by 0.075 from noise, this shows 0.074; noise in luma alone 0.009, each channel's whole 0.153.
    """
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), dtype=np.uint8)


def _looks(some: Images, change: PixelChange) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """PROPERTIES (n, p) and means of R, G, B (n, 3) of some images after a change."""
    found = [look_at(change.apply(pixels), np.zeros(0, dtype=np.uint8)) for pixels in some]
    return np.array([look.values for look in found]), np.array([look.channels[0] for look in found])
