"""The sizes of a split's boxes, counted: what strides, anchors, imgsz and max_det are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runaudit.runs.facts import BoxCensus, ImageEntry
from runaudit.runs.label_arrays import LabelArrays

SIZE_BINS = 96
SIZE_BINS_PER_OCTAVE = 8
SMALLEST_OCTAVE = -12
"""A 4096th of the longer side: one pixel of the largest images that are labelled."""
ASPECT_BINS = 40
ASPECT_BINS_PER_OCTAVE = 4
MOST_ELONGATED = 5
"""log2(w / h): 32 to 1, beyond which hotcoco's health check takes a box for damaged (20 to 1; diagnostics.md 0.1)."""
FULLEST = 1000
SAMPLE = 5000
"""The standard error of a share of 0.98 is 0.002 then, a tenth of what its check asks for."""


def box_census(labels: LabelArrays, images: Sequence[ImageEntry], *, seed: int = 0) -> BoxCensus:
    """The census of a split. `labels.image` counts from the first of `images`; their sizes are above 0."""
    wide = np.fromiter((image.width for image in images), np.float64, len(images))
    high = np.fromiter((image.height for image in images), np.float64, len(images))
    longer = np.maximum(wide, high)
    # A box may reach 1 % beyond its image (yolo.md A5); no side is longer than the image's for all that.
    sides = np.clip(labels.box[:, 2:], 0.0, 1.0)
    if len(labels.image):
        sides = sides * np.stack([wide, high], axis=1)[labels.image] / longer[labels.image, None]
    whole = (sides > 0).all(axis=1)
    width, height = np.log2(sides[whole]).T
    sizes = ((width + height) / 2 - SMALLEST_OCTAVE) * SIZE_BINS_PER_OCTAVE
    aspects = (width - height + MOST_ELONGATED) * ASPECT_BINS_PER_OCTAVE
    counted = _binned(sizes, SIZE_BINS)
    counted[0] += int((~whole).sum())
    per_image = np.bincount(labels.image, minlength=len(images))
    crowded = np.sort(per_image[per_image > 0])[::-1][:FULLEST]
    return BoxCensus(
        boxes=len(sides),
        sizes=tuple(counted.tolist()),
        aspects=tuple(_binned(aspects, ASPECT_BINS).tolist()),
        fullest=tuple(crowded.tolist()),
        longer_sides=_quantiles(longer),
        sample=_sample(sides[whole], seed),
    )


def _binned(positions: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Counts of the whole parts of `positions`, what lies beyond the ends in the first and last bin."""
    return np.bincount(np.clip(np.floor(positions), 0, bins - 1).astype(np.int64), minlength=bins)


def _quantiles(longer: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not longer.size:
        return None
    low, middle, high = np.quantile(longer, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high


def _sample(sides: NDArray[np.float64], seed: int) -> tuple[tuple[float, float], ...]:
    if len(sides) > SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(sides), SAMPLE, replace=False)
        sides = sides[np.sort(chosen)]
    # Six digits after the point are a hundredth of a pixel of the largest images.
    return tuple((width, height) for width, height in np.round(sides, 6).tolist())
