"""Which images of a pass belong together: copies and frames of one scene, which no interval may take for independent.

Their errors are alike: an interval that draws them one by one is too narrow (benchmarks/grouped_images.py). Images that
are joined without belonging together only leave fewer units to draw. So names are believed where pictures agree: images
that follow each other in a series are joined if they look alike as unrelated ones hardly do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from runaudit.evaluation.blank_images import MOST_SPREAD
from runaudit.evaluation.box_pairs import overlapping
from runaudit.evaluation.image_properties import Fingerprints
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.near_duplicates import Pairs, copies_within, mean_thumbnail, remainders
from runaudit.evaluation.selection import labelled_part, numbered
from runaudit.evaluation.sequences import followers, frames, originals, unrelated
from runaudit.evaluation.touching_boxes import TooCrowdedError
from runaudit.evaluation.validation_pass import Passed
from runaudit.runs.facts import ImageEntry

MOST_WITHIN: Final = 20_000
"""The most images that are compared with each other, which took 5 s on one busy core."""
LEAST_SCENE: Final = 0.6
"""The least correlation of neighbouring frames of one scene; unrelated pairs of the corpus' films and games reach 0.66
at their upper thousandth, those of rendered sets 0.43 to 0.62."""
SCENE_QUANTILE: Final = 0.999
"""Share of unrelated pairs that look less alike than frames of one scene must: with 20 neighbours each, one image of 50
is joined by chance."""
RANDOM_PAIRS: Final = 10_000
SAME_BOXES: Final = 0.5
"""Copies carry the same labels: at least this share of boxes overlaps one of the other's by an IoU of 0.5."""
SAME_IOU: Final = 0.5
_NEAREST: Final = 5


@dataclass(frozen=True)
class ImageGroups:
    """`group` (n,) numbers images from 0; those that belong together share a number. `repeated` images are copies of an
    earlier one, among MOST_WITHIN at most."""

    group: NDArray[np.int32]
    repeated: int


@dataclass(frozen=True)
class Split:
    """Images of a split with their labels and fingerprints, in the order of a pass."""

    labelled: Labelled
    prints: Fingerprints

    @property
    def entries(self) -> tuple[ImageEntry, ...]:
        return self.labelled.entries

    @classmethod
    def of(cls, passed: Passed) -> Split:
        """The images of a pass that took properties, in the order of its matches."""
        if passed.properties is None:
            raise ValueError("the pass took no properties")
        place = np.argsort(passed.labelled.entry)
        positions = place[np.searchsorted(passed.labelled.entry[place], passed.matches.image)]
        return cls(labelled_part(passed.labelled, positions), passed.properties.fingerprints)


def image_groups(split: Split, *, seed: int) -> ImageGroups:
    """Join copies, what was made of one picture before it was uploaded, and frames of one scene.

    Pictures are compared less their own mean: of a split that is darker than another, all would look alike beside it.
    Images that show nothing stand alone: that they look alike says nothing of where they come from.
    """
    prints, count = split.prints, len(split.entries)
    mean = mean_thumbnail(prints)
    repeats = nearest(copies_within(prints, mean, most=MOST_WITHIN))
    shows = (prints.thumbnail.reshape(count, -1, 3).std(axis=1) >= MOST_SPREAD).any(axis=1)
    repeats = pairs_taken(repeats, shows[repeats.first] & shows[repeats.second])
    repeats = pairs_taken(repeats, kinds(repeats, split, split) < 2)
    files = [entry.file for entry in split.entries]
    named, own = frames(files), remainders(prints, mean)
    limit = scene_limit(own, *unrelated(named, RANDOM_PAIRS, seed))
    first, second = followers(named)
    scenes = alike(first, second, own, own, limit)
    scenes = pairs_taken(scenes, shows[scenes.first] & shows[scenes.second])
    same_bytes = np.where(shows, np.unique(prints.digest, return_inverse=True)[1], -1)
    found = ((pairs.first, pairs.second) for pairs in (repeats, scenes))
    links = (*found, _stars(same_bytes), _stars(originals(files)))
    ends = tuple(np.concatenate([link[side] for link in links]) for side in (0, 1))
    _, group = connected_components(coo_array((np.ones(len(ends[0])), ends), shape=(count, count)), directed=False)
    return ImageGroups(numbered(group), len(np.unique(repeats.second)))


def scene_limit(own: NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """The correlation that SCENE_QUANTILE of unrelated pairs stay below, from LEAST_SCENE to 0.99; that without any."""
    if not len(first):
        return 0.99
    return float(np.clip(np.quantile(_products(own, first, own, second), SCENE_QUANTILE), LEAST_SCENE, 0.99))


def _stars(number: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Links of each image (n,) to the first that has its number; none for numbers below 0."""
    known = np.flatnonzero(number >= 0)
    _, first, back = np.unique(number[known], return_index=True, return_inverse=True)
    return known, known[first[back]]


def nearest(pairs: Pairs) -> Pairs:
    """For each first image the _NEAREST pairs that correlate most: of a camera that stands still there may be many."""
    order = np.lexsort((-pairs.correlation, pairs.first))
    first = pairs.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first, side="left")
    return pairs_taken(pairs, order[rank < _NEAREST])


def kinds(pairs: Pairs, first: Split, second: Split) -> NDArray[np.int64]:
    """1 (near) for pairs whose labels agree, else 2 (scene): a camera that stands still sees one scene many times."""
    return np.array(
        [
            1 if _labels_agree(first.labelled, int(one), second.labelled, int(two), mirrored=bool(mirrored)) else 2
            for one, two, mirrored in zip(pairs.first, pairs.second, pairs.mirrored, strict=True)
        ],
        dtype=np.int64,
    )


def _labels_agree(first: Labelled, one: int, second: Labelled, two: int, *, mirrored: bool) -> bool:
    """Whether SAME_BOXES of the boxes of the fuller image overlap one of the other's; two images without any agree."""
    boxes = first.box[first.start[one] : first.start[one + 1]].astype(np.float32)
    others = second.box[second.start[two] : second.start[two + 1]].astype(np.float32)
    if mirrored:
        others = others.copy()
        others[:, [0, 2]] = 1 - others[:, [2, 0]]
    most = max(len(boxes), len(others))
    if not most:
        return True
    if not min(len(boxes), len(others)):
        return False
    try:
        pairs = overlapping(np.zeros(len(boxes)), boxes, np.zeros(len(others)), others, SAME_IOU)
    except TooCrowdedError:
        return False
    same = np.unique(pairs.second if len(others) <= len(boxes) else pairs.first)
    return len(same) >= SAME_BOXES * most


def alike(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    own: NDArray[np.float32],
    other: NDArray[np.float32],
    limit: float,
) -> Pairs:
    """Those pairs whose remainders correlate by `limit`."""
    correlation = _products(own, first, other, second)
    kept = correlation >= limit
    return Pairs(first[kept], second[kept], np.zeros(int(kept.sum()), bool), correlation[kept].astype(np.float32))


def _products(
    own: NDArray[np.float32], first: NDArray[np.intp], other: NDArray[np.float32], second: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Inner products of pairs of rows, some at a time: long films have many neighbours."""
    found = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), RANDOM_PAIRS):
        part = slice(start, start + RANDOM_PAIRS)
        found[part] = np.einsum("pd,pd->p", own[first[part]], other[second[part]])
    return found


def pairs_taken(pairs: Pairs, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Pairs:
    return replace(
        pairs,
        first=pairs.first[kept],
        second=pairs.second[kept],
        mirrored=pairs.mirrored[kept],
        correlation=pairs.correlation[kept],
    )
