"""Totals of counts over resampled images, or groups of them, drawn by how many of them are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def drawn_totals(counts: NDArray[Any], *, replicates: int, generator: np.random.Generator) -> NDArray[Any]:
    """The column sums of as many units as there are, drawn with replacement: (replicates, columns).

    `counts` (units, columns) has a row for each image or group. Units with the same counts are alike, so that drawing
    how often each pattern occurs draws units.
    """
    patterns, occurring = np.unique(counts, axis=0, return_counts=True)
    drawn = generator.multinomial(len(counts), occurring / len(counts), size=replicates)
    return np.asarray(drawn @ patterns)
