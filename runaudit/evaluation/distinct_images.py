"""How many images of a pass differ: copies of one image are one image, however often it stands there.

Frames of one scene differ, but count as one where independence is asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import Matches

_CONFIDENT: Final = 0.25
"""detections of at least the default threshold of predicting are counted"""
_DIGITS: Final = 1e4
"""The highest confidence is compared to four digits: the same image in another batch differs in the sixth."""
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""multipliers of splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014)"""


def signatures(matches: Matches) -> NDArray[np.uint64]:
    """One number an image, (k,): equal for copies. It is made of the labels, the highest confidence of a detection and
    how many are confident; images without labels and detections are all alike.
    """
    images = len(matches.image)
    highest = np.zeros(images, np.float32)
    np.maximum.at(highest, matches.det_image, matches.det_conf)
    confident = np.bincount(matches.det_image[matches.det_conf >= _CONFIDENT], minlength=images)
    own = _mixed(np.rint(highest * _DIGITS).astype(np.uint64)) + confident.astype(np.uint64)
    rows = np.column_stack([matches.gt_cls.astype(np.uint32), matches.gt_box.astype(np.float32).view(np.uint32)])
    label = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        label = _mixed(label + column)
    total = _mixed(own)
    np.add.at(total, matches.gt_image, label)  # of any order: copies may have their label rows shuffled
    return total


def distinct_images(matches: Matches, class_id: int | None = None) -> int:
    """How many images with a label (of a class) differ. At least 1 where there is a label."""
    labelled = matches.gt_image if class_id is None else matches.gt_image[matches.gt_cls == class_id]
    return len(np.unique(signatures(matches)[labelled]))


def distinct_by_class(matches: Matches, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """`distinct_images` of each of `classes` (k,)."""
    pairs = np.unique(np.stack([matches.gt_cls.astype(np.uint64), signatures(matches)[matches.gt_image]]), axis=1)
    return np.asarray([(pairs[0] == class_id).sum() for class_id in classes], np.int64)


def independent_images(matches: Matches) -> int:
    """How many images with a label say something of their own: those that differ, of each group one at most."""
    return min(distinct_images(matches), len(np.unique(matches.unit[matches.gt_image])))


def independent_by_class(matches: Matches, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """`independent_images` of each of `classes` (k,)."""
    pairs = np.unique(np.stack([matches.gt_cls.astype(np.int64), matches.unit[matches.gt_image]]), axis=1)
    groups = np.asarray([(pairs[0] == class_id).sum() for class_id in classes], np.int64)
    return np.minimum(distinct_by_class(matches, classes), groups)


def distinct_files(paths: Iterable[Path]) -> int:
    """How many of these files differ in their bytes; only files of one size are read."""
    sized = [(path, path.stat().st_size) for path in paths]
    alike = Counter(size for _, size in sized)
    read = {hashlib.sha256(path.read_bytes()).digest() for path, size in sized if alike[size] > 1}
    return sum(count == 1 for count in alike.values()) + len(read)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread over 64 bits, so that sums of different rows differ."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in zip((30, 27), _MIX, strict=True):
        values = (values ^ (values >> np.uint64(shift))) * factor
    return values ^ (values >> np.uint64(31))
