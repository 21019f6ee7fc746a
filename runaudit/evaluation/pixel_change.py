"""A change of pixels that makes images look like others: gain and offset of each channel, blur, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.image_properties import LONGER_SIDE, PROPERTIES, ImageProperties, look_at

BLURS: Final = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
"""Standard deviations that are tried, in pixels where the longer side has LONGER_SIDE."""
LEAST_NOISE: Final = 1.0
"""Standard deviation in grey levels below which added noise would be rounded away."""
_SHARPNESS: Final = PROPERTIES.index("sharpness")
_NOISE: Final = PROPERTIES.index("noise")
_MOST_GAIN: Final = 8.0


@dataclass(frozen=True)
class PixelChange:
    """Each channel (R, G, B) times `gain` plus `offset`, then a Gaussian blur, then Gaussian noise.

    `blur` is its standard deviation in pixels where the longer side has LONGER_SIDE, `noise` that of the noise in grey
    levels; 0 leaves it out.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    blur: float = 0.0
    noise: float = 0.0

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The changed image, of (height, width, channels) as decoded: blue, green, red, or grey."""
        shape, channels = pixels.shape, pixels.shape[2]
        values = np.arange(256, dtype=np.float64)[:, None]
        gain, offset = np.array(self.gain), np.array(self.offset)
        if channels == 1:
            gain, offset = gain.mean(keepdims=True), offset.mean(keepdims=True)
        table = np.clip(np.rint(values * gain[::-1] + offset[::-1]), 0, 255).astype(np.uint8)
        changed = cv2.LUT(pixels, np.ascontiguousarray(table[None])).reshape(shape)
        if self.blur > 0:
            sigma = self.blur * max(shape[:2]) / LONGER_SIDE
            changed = cv2.GaussianBlur(changed, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).reshape(shape)
        if self.noise > 0:
            # Seeded by the image, so that a pass over the same images gives the same figures in any order of threads.
            generator = np.random.default_rng(int(changed[::7, ::7].sum()))
            noisy = changed + generator.normal(0, self.noise, size=shape).astype(np.float32)
            changed = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return np.asarray(changed, dtype=np.uint8)


def colour_change(images: ImageProperties, target: ImageProperties) -> PixelChange:
    """The gain and offset that give the pixels of all `images` together the mean and the spread of `target`'s pixels.

    Channel by channel, x becomes (x - m) s' / s + m', by the mean m and the standard deviation s of all pixels. One
    change for all images: it moves the set, and leaves how its images differ.
    """
    (mean, spread), (mean_to, spread_to) = _pooled(images), _pooled(target)
    gain = np.clip(np.divide(spread_to, spread, out=np.ones_like(spread), where=spread > 0.5), 0, _MOST_GAIN)
    offset = mean_to - gain * mean
    red, green, blue = (float(value) for value in gain)
    return PixelChange(gain=(red, green, blue), offset=(float(offset[0]), float(offset[1]), float(offset[2])))


def _pooled(images: ImageProperties) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of all images' pixels by channel, each image counting alike."""
    means, spreads = images.channels[:, 0].astype(np.float64), images.channels[:, 1].astype(np.float64)
    return means.mean(axis=0), np.sqrt((spreads**2).mean(axis=0) + means.var(axis=0))


def blur_to(pixels: list[NDArray[np.uint8]], sharpness: float) -> float:
    """The blur of BLURS after which the median sharpness of some images comes nearest to `sharpness`; 0 for none."""
    best, nearest = 0.0, float("inf")
    for blur in (0.0, *BLURS):
        reached = np.median([_values(PixelChange(blur=blur).apply(image))[_SHARPNESS] for image in pixels])
        if abs(reached - sharpness) < nearest:
            best, nearest = blur, abs(float(reached) - sharpness)
    return best


def noise_to(pixels: list[NDArray[np.uint8]], change: PixelChange, noise: float) -> float:
    """The noise to add after `change`, so that the median noise of some images becomes `noise`: variances add up."""
    has = float(np.median([_values(change.apply(image))[_NOISE] for image in pixels]))
    missing = noise**2 - has**2
    return float(np.sqrt(missing)) if missing > LEAST_NOISE**2 else 0.0


def _values(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return look_at(pixels, np.zeros(0, dtype=np.uint8)).values
