"""Parts of a split: the labels of some of its images, and the matches of some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.matching import Matches
from runaudit.runs.label_arrays import stretches


def sampled(images: int, most: int, seed: int) -> NDArray[np.intp]:
    """At most `most` of the positions 0 to `images` - 1, drawn without replacement, in rising order."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(seed).choice(images, size=most, replace=False))


def labelled_part(labelled: Labelled, positions: NDArray[np.intp]) -> Labelled:
    """The images at `positions` (rising, in the order of `labelled.entry`) with their labels."""
    counts = np.diff(labelled.start)[positions]
    rows = stretches(labelled.start[:-1][positions], counts)
    return replace(
        labelled.taking(rows),
        entry=labelled.entry[positions],
        entries=tuple(labelled.entries[position] for position in positions),
        start=np.r_[0, counts.cumsum()].astype(labelled.start.dtype),
    )


def numbered(group: NDArray[Any]) -> NDArray[np.int32]:
    """Groups (k,) counted anew from 0, in their order."""
    return np.asarray(np.unique(group, return_inverse=True)[1], dtype=np.int32)


def grouped_like(matches: Matches, others: Matches) -> Matches:
    """With the groups that `others`, a pass over all of its images, have."""
    if others.group is None:
        return matches
    order = np.argsort(others.image)
    place = order[np.searchsorted(others.image[order], matches.image)]
    return replace(matches, group=numbered(others.group[place]))


def matches_part(matches: Matches, kept: NDArray[np.bool_]) -> Matches:
    """The matches of the images that `kept` (k,) is true for, counted anew in the same order."""
    place = np.cumsum(kept, dtype=np.int32) - 1
    part = matches.taking(detections=kept[matches.det_image], labels=kept[matches.gt_image])
    return replace(
        part,
        image=matches.image[kept],
        det_image=place[part.det_image].astype(np.int32),
        gt_image=place[part.gt_image].astype(np.int32),
        group=None if part.group is None else numbered(part.group[kept]),
    )
