"""Whether validation images differ from training images: property by property, and all together by a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import PropertyShift, ShiftFacts
from runaudit.evaluation.image_properties import PROPERTIES, ImageProperties
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.two_samples import (
    CLASSIFIED,
    Samples,
    Values,
    discrimination,
    distance,
    distance_interval,
    holm,
)

MOST_IMAGES: Final = 1000
"""of each side, drawn at random beyond that; 100 are enough to see a distance of 0.2 (diagnostics.md B2)"""
LABEL_PROPERTIES: Final = ("objects", "object_size")
"""How many objects an image has, and the median of their sizes, sqrt(w h), as shares of width and height."""
_CELLS: Final = 4
"""a side; the layout of an image for the classifier is its thumbnail in 4 x 4 cells"""


@dataclass(frozen=True)
class Side:
    """Images of one side: what they look like, their labels in the same order, and (n,) which belong together."""

    properties: ImageProperties
    labelled: Labelled
    group: NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """The facts, and how much like validation, less like training, each validation image looks, (n,), out of fold.

    `scores` is NaN for images that were not drawn.
    """

    facts: ShiftFacts
    scores: Values


def find_shift(training: Side, validation: Side, *, seed: int) -> Shift | None:
    """Compare the images of both sides; None where one of them has fewer than two groups of images.

    p-values come from exchanging groups of images between the sides, those of properties adjusted by Holm's method. The
    classifier sees photometric properties and the layout of colours, not the audited model's features: a model that
    learnt its training images by heart would tell them apart by memory. What it reaches where there is nothing to tell
    is measured by parting the training images alone (`null_area`).
    """
    generator = np.random.default_rng(seed)
    first, second = _drawn(training, generator), _drawn(validation, generator)
    if min(_groups(training, first), _groups(validation, second)) < 2:
        return None
    table = np.vstack([_table(training)[first], _table(validation)[second]])
    is_second = np.r_[np.zeros(len(first), bool), np.ones(len(second), bool)]
    group = np.r_[training.group[first], validation.group[second] + training.group.max() + 1]
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    samples = Samples.of(is_second, group, seed=seed)
    features = np.vstack([_features(training, first), _features(validation, second)])
    told = discrimination(features, samples, seed=seed)
    scores = np.full(len(validation.group), np.nan)
    scores[second] = told.scores[is_second]
    facts = ShiftFacts(
        training_images=len(first),
        validation_images=len(second),
        groups=int(group.max()) + 1,
        properties=_compared(table, samples, seed),
        area=told.area,
        p_value=told.p_value,
        null_area=_null_area(features[~is_second], group[~is_second], len(second) / len(is_second), seed),
    )
    return Shift(facts, scores)


def _drawn(side: Side, generator: np.random.Generator) -> NDArray[np.intp]:
    count = len(side.group)
    return np.sort(generator.choice(count, size=min(count, MOST_IMAGES), replace=False))


def _groups(side: Side, images: NDArray[np.intp]) -> int:
    return len(np.unique(side.group[images]))


def _table(side: Side) -> Values:
    """(n, p) of PROPERTIES and LABEL_PROPERTIES; NaN for the object size of an image without objects."""
    start, box = side.labelled.start, side.labelled.box
    count = np.diff(start)
    size = np.sqrt(np.maximum(box[:, 2] - box[:, 0], 0) * np.maximum(box[:, 3] - box[:, 1], 0))
    medians = [float(np.median(size[a:b])) if b > a else np.nan for a, b in pairwise(start)]
    return np.column_stack([side.properties.values.astype(np.float64), count, np.array(medians)])


def _features(side: Side, images: NDArray[np.intp]) -> Values:
    """(n, d): photometric properties, and the thumbnail in _CELLS x _CELLS cells of CIELAB.

    Size and aspect are left out: they are compared by themselves, and would hide whether the pictures differ.
    """
    values = side.properties.values[images, : PROPERTIES.index("pixels")].astype(np.float64)
    thumbnails = side.properties.fingerprints.thumbnail[images].astype(np.float64)
    cells = thumbnails.reshape(len(images), _CELLS, 16 // _CELLS, _CELLS, 16 // _CELLS, 3).mean(axis=(2, 4))
    return np.hstack([values, cells.reshape(len(images), -1)])


def _compared(table: Values, samples: Samples, seed: int) -> tuple[PropertyShift, ...]:
    found, names = [], (*PROPERTIES, *LABEL_PROPERTIES)
    for column in range(len(names)):
        known = ~np.isnan(table[:, column])
        part = Samples(samples.second[known], samples.group[known], samples.orders[:, known])
        values = table[known, column]
        if part.second.all() or not part.second.any() or np.ptp(values) == 0:
            found.append((0.0, 1.0, (0.0, 0.0), 0.0, 0.0, 0.0))
            continue
        far, p_value = distance(values, part)
        ends = distance_interval(values, part, seed=seed)
        first, second = values[~part.second], values[part.second]
        pooled = np.sqrt((first.var() + second.var()) / 2)
        standardised = (second.mean() - first.mean()) / pooled if pooled > 0 else 0.0
        found.append((far, p_value, ends, float(first.mean()), float(second.mean()), float(standardised)))
    adjusted = holm(np.array([p_value for _, p_value, *_ in found]))
    return tuple(
        PropertyShift(
            name=name,
            training=first,
            validation=second,
            distance=far,
            ci95=ends,
            p_value=float(p_value),
            standardised=standardised,
        )
        for name, (far, _, ends, first, second, standardised), p_value in zip(names, found, adjusted, strict=True)
    )


def _null_area(features: Values, group: NDArray[np.int64], share: float, seed: int) -> float | None:
    """The 95 % quantile of the area where training images are parted at random, a `share` of them as if validation."""
    group = np.unique(group, return_inverse=True)[1].astype(np.int64)
    if int(group.max()) < 3:
        return None
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)[group]
    as_validation = order < max(1, round(share * (int(group.max()) + 1)))
    if as_validation.all():
        return None
    samples = Samples.of(as_validation, group, seed=seed, count=CLASSIFIED)
    return discrimination(features, samples, seed=seed).null
