"""Parts of a split: the labels of some of its images, and the matches of some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.matching import Matches


def sampled(images: int, most: int, seed: int) -> NDArray[np.intp]:
    """At most `most` of the positions 0 to `images` - 1, drawn without replacement, in rising order."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(seed).choice(images, size=most, replace=False))


def labelled_part(labelled: Labelled, positions: NDArray[np.intp]) -> Labelled:
    """The images at `positions` (rising, in the order of `labelled.entry`) with their labels."""
    counts = np.diff(labelled.start)[positions]
    rows = _stretches(labelled.start[:-1][positions], counts)
    return replace(
        labelled,
        entry=labelled.entry[positions],
        entries=tuple(labelled.entries[position] for position in positions),
        start=np.r_[0, counts.cumsum()].astype(labelled.start.dtype),
        cls=labelled.cls[rows],
        box=labelled.box[rows],
    )


def matches_part(matches: Matches, kept: NDArray[np.bool_]) -> Matches:
    """The matches of the images that `kept` (k,) is true for, counted anew in the same order."""
    place = np.cumsum(kept, dtype=np.int32) - 1
    detections, labels = kept[matches.det_image], kept[matches.gt_image]
    return replace(
        matches,
        image=matches.image[kept],
        det_image=place[matches.det_image[detections]].astype(np.int32),
        det_cls=matches.det_cls[detections],
        det_conf=matches.det_conf[detections],
        det_box=matches.det_box[detections],
        tp=matches.tp[detections],
        gt_image=place[matches.gt_image[labels]].astype(np.int32),
        gt_cls=matches.gt_cls[labels],
        gt_box=matches.gt_box[labels],
    )


def _stretches(starts: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.intp]:
    """The rows of several stretches one after the other."""
    rows: NDArray[np.intp] = np.arange(int(counts.sum()), dtype=np.intp)
    rows += np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return rows
