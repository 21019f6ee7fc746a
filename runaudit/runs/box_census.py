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
CHUNK = 1 << 20
"""Boxes that are counted at a time: some 100 MB of arrays on the way."""
SAMPLE = 5000
"""The standard error of a share of 0.98 is 0.002 then, a tenth of what its check asks for."""


def box_census(labels: LabelArrays, images: Sequence[ImageEntry], *, seed: int = 0) -> BoxCensus:
    """The census of a split. `labels.image` counts from the first of `images`; their sizes are above 0."""
    wide = np.fromiter((image.width for image in images), np.float64, len(images))
    high = np.fromiter((image.height for image in images), np.float64, len(images))
    shape = np.stack([wide, high], axis=1)
    longer = np.maximum(wide, high)
    sizes, aspects = np.zeros(SIZE_BINS, np.int64), np.zeros(ASPECT_BINS, np.int64)
    whole = np.zeros(len(labels.box), np.bool_)
    for start in range(0, len(labels.box), CHUNK):
        rows = slice(start, start + CHUNK)
        sides = _sides(labels, rows, shape, longer)
        whole[rows] = (sides > 0).all(axis=1)
        width, height = np.log2(sides[whole[rows]]).T
        sizes += _binned(((width + height) / 2 - SMALLEST_OCTAVE) * SIZE_BINS_PER_OCTAVE, SIZE_BINS)
        aspects += _binned((width - height + MOST_ELONGATED) * ASPECT_BINS_PER_OCTAVE, ASPECT_BINS)
    sizes[0] += int((~whole).sum())
    per_image = np.bincount(labels.image, minlength=len(images))
    crowded = np.sort(per_image[per_image > 0])[::-1][:FULLEST]
    sampled = _sides(labels, _sample(np.flatnonzero(whole), seed), shape, longer)
    return BoxCensus(
        boxes=len(labels.box),
        sizes=tuple(sizes.tolist()),
        aspects=tuple(aspects.tolist()),
        fullest=tuple(crowded.tolist()),
        longer_sides=_quantiles(longer),
        # Six digits after the point are a hundredth of a pixel of the largest images.
        sample=tuple((width, height) for width, height in np.round(sampled, 6).tolist()),
    )


def _sides(
    labels: LabelArrays, rows: slice | NDArray[np.int64], shape: NDArray[np.float64], longer: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Width and height (n, 2) over the longer side of the image, of the boxes in `rows`, each in [0, 1]."""
    image = labels.image[rows]
    # A box may reach 1 % beyond its image (yolo.md A5); no side is longer than the image's for all that.
    sides = np.clip(labels.box[rows, 2:], 0.0, 1.0)
    return np.asarray(sides * shape[image] / longer[image, None], dtype=np.float64)


def _binned(positions: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Counts of the whole parts of `positions`, what lies beyond the ends in the first and last bin."""
    return np.bincount(np.clip(np.floor(positions), 0, bins - 1).astype(np.int64), minlength=bins)


def _quantiles(longer: NDArray[np.float64]) -> tuple[float, float, float] | None:
    if not longer.size:
        return None
    low, middle, high = np.quantile(longer, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high


def _sample(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most SAMPLE of the rows, in their order."""
    if len(rows) <= SAMPLE:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
