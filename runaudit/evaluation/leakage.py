"""Which validation images stand in training too: same bytes, copies, or frames of one scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from runaudit.evaluation.box_pairs import overlapping
from runaudit.evaluation.facts import LeakageFacts, LeakedPair
from runaudit.evaluation.fingerprinting import digests, file_sizes, fingerprints
from runaudit.evaluation.image_properties import Fingerprints
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.near_duplicates import Pairs, copies, copies_within, mean_thumbnail, remainders
from runaudit.evaluation.selection import labelled_part, sampled
from runaudit.evaluation.sequences import frames, neighbours, taken
from runaudit.evaluation.touching_boxes import TooCrowdedError
from runaudit.evaluation.validation_pass import Passed
from runaudit.proportions import wilson_interval
from runaudit.runs.facts import ImageEntry

COMPARED: Final = {"standard": 2000, "deep": 1_000_000}
"""The most training images that are compared by what they show. 2000 images of 2 megapixels take 10 s on two cores."""
MOST_WITHIN: Final = 20_000
"""The most validation images that are compared with each other, which took 5 s on one busy core."""
LEAST_SCENE: Final = 0.6
"""The least correlation of neighbouring frames of one scene; unrelated pairs of the corpus' films and games reach 0.66
at their upper thousandth, those of rendered sets 0.43 to 0.62."""
SCENE_QUANTILE: Final = 0.999
_RANDOM_PAIRS: Final = 10_000
SAME_BOXES: Final = 0.5
"""Copies carry the same labels: at least this share of boxes overlaps one of the other's by an IoU of 0.5."""
SAME_IOU: Final = 0.5
_NEAREST: Final = 5
_EXAMPLES: Final = 20
_NAMED: Final = 100
_KINDS: Final = ("exact", "near", "scene")


@dataclass(frozen=True)
class Leakage:
    """The facts, and per validation image its gravest kind, `kind` (n,): 0 exact, 1 near, 2 scene, 3 none.

    `group` (n,) numbers the validation images so that those of one scene, or copies of each other, share a number.
    """

    facts: LeakageFacts
    kind: NDArray[np.int64]
    group: NDArray[np.int64]

    @property
    def leaked(self) -> NDArray[np.bool_]:
        """(n,) whether the image itself, or a copy of it, stands in training."""
        return self.kind < 2


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


def find_leakage(validation: Split, training: Labelled, known: Split, root: Path, *, most: int, seed: int) -> Leakage:
    """Look for validation images among the training images.

    Args:
        validation: the images that were validated.
        training: all training images.
        known: those of them whose fingerprints the training pass has taken.
        root: the folder that files are named relative to.
        most: training images to compare by what they show; those beyond `known` are drawn at random and decoded.
        seed: of that draw.

    Exact duplicates are looked for among all training images: only files of equal size are read.
    """
    compared = _compared(training, known, root, most=most, seed=seed)
    mean = mean_thumbnail(validation.prints, compared.prints)
    own, other = remainders(validation.prints, mean), remainders(compared.prints, mean)
    similar = _nearest(copies(validation.prints, compared.prints, mean))
    named = frames([entry.file for entry in (*validation.entries, *compared.entries)])
    count = len(validation.entries)
    of_validation, of_training = taken(named, np.arange(count)), taken(named, np.arange(count, len(named.series)))
    limit = _scene_limit(other, seed)
    neighbouring = _alike(*neighbours(of_validation, of_training), own, other, limit)
    same_bytes, found = _same_bytes(validation, training, compared, root)
    kind = np.full(count, 3)
    examples: dict[int, LeakedPair] = {}
    for pairs, files, ranked in (
        (same_bytes, found, np.zeros(len(found), dtype=np.int64)),
        (similar, _files(compared, similar), _kinds(similar, validation, compared)),
        (neighbouring, _files(compared, neighbouring), np.full(len(neighbouring.first), 2)),
    ):
        for pair in np.lexsort((-pairs.correlation, ranked)):
            image = int(pairs.first[pair])
            if ranked[pair] < kind[image]:
                kind[image] = ranked[pair]
                examples[image] = LeakedPair(
                    image=validation.entries[image].file,
                    training_image=files[pair],
                    kind=_KINDS[ranked[pair]],
                    similarity=round(float(pairs.correlation[pair]), 4),
                    mirrored=bool(pairs.mirrored[pair]),
                )
    repeats = _nearest(copies_within(validation.prints, mean, most=MOST_WITHIN))
    repeats = _taken(repeats, _kinds(repeats, validation, validation) < 2)
    # Less their own mean: beside training images that are all brighter, the dark ones of another split look alike.
    among = remainders(validation.prints, mean_thumbnail(validation.prints))
    series = _alike(*_once(*neighbours(of_validation, of_validation)), among, among, limit)
    exact, near, scene = (int((kind == which).sum()) for which in range(3))
    gravest = sorted(examples, key=lambda image: (int(kind[image]), image))
    facts = LeakageFacts(
        images=count,
        training_images=len(training.entries),
        compared=len(compared.entries),
        exact=exact,
        near=near,
        scene=scene,
        share=(exact + near) / count,
        ci95=wilson_interval(exact + near, count),
        repeated=len(np.unique(repeats.second)),
        pairs=tuple(examples[image] for image in gravest[:_EXAMPLES]),
        leaked=tuple(validation.entries[image].file for image in gravest[:_NAMED] if kind[image] < 2),
        scene_similarity=round(limit, 4),
    )
    return Leakage(facts=facts, kind=kind, group=_groups(count, repeats, series))


def _compared(training: Labelled, known: Split, root: Path, *, most: int, seed: int) -> Split:
    """The training images with fingerprints: the known ones, and others drawn at random up to `most` in all."""
    others = np.flatnonzero(~np.isin(training.entry, known.labelled.entry))
    others = others[sampled(len(others), max(0, most - len(known.entries)), seed)]
    readable, prints = fingerprints([training.entries[position] for position in others], root)
    by_entry = np.argsort(training.entry)
    places = by_entry[np.searchsorted(training.entry[by_entry], known.labelled.entry)]
    both = np.concatenate([places, others[readable]])
    order = np.argsort(both)
    together = Fingerprints(
        digest=np.concatenate([known.prints.digest, prints.digest])[order],
        gradient_hash=np.concatenate([known.prints.gradient_hash, prints.gradient_hash])[order],
        cosine_hash=np.concatenate([known.prints.cosine_hash, prints.cosine_hash])[order],
        thumbnail=np.concatenate([known.prints.thumbnail, prints.thumbnail])[order],
    )
    return Split(labelled_part(training, both[order]), together)


def _same_bytes(validation: Split, training: Labelled, compared: Split, root: Path) -> tuple[Pairs, list[str]]:
    """Validation images of which a training image has the same bytes, one pair each, and those images' files.

    `second` of the pairs counts nothing.
    """
    known = {
        digest.tobytes(): entry.file for digest, entry in zip(compared.prints.digest, compared.entries, strict=True)
    }
    looked_at = {entry.file for entry in compared.entries}
    sizes = np.unique(file_sizes(validation.entries, root))
    rest = [entry for entry in training.entries if entry.file not in looked_at]
    rest = [entry for entry, size in zip(rest, file_sizes(rest, root), strict=True) if size >= 0 and size in sizes]
    for entry, digest in zip(rest, digests([root / entry.file for entry in rest]), strict=True):
        if digest is not None:
            known.setdefault(digest, entry.file)
    hits = [(image, known.get(digest.tobytes())) for image, digest in enumerate(validation.prints.digest)]
    found = [(image, file) for image, file in hits if file is not None]
    first = np.array([image for image, _ in found], dtype=np.intp)
    pairs = Pairs(first, np.zeros_like(first), np.zeros(len(first), bool), np.ones(len(first), np.float32))
    return pairs, [file for _, file in found]


def _files(split: Split, pairs: Pairs) -> list[str]:
    return [split.entries[position].file for position in pairs.second]


def _nearest(pairs: Pairs) -> Pairs:
    """For each first image the _NEAREST pairs that correlate most: of a camera that stands still there may be many."""
    order = np.lexsort((-pairs.correlation, pairs.first))
    first = pairs.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first, side="left")
    return _taken(pairs, order[rank < _NEAREST])


def _kinds(pairs: Pairs, first: Split, second: Split) -> NDArray[np.int64]:
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


def _scene_limit(training: NDArray[np.float32], seed: int) -> float:
    """The correlation that SCENE_QUANTILE of pairs of training images stay below, from LEAST_SCENE to 0.99."""
    first, second = np.random.default_rng(seed).integers(0, len(training), (2, _RANDOM_PAIRS))
    first, second = first[first != second], second[first != second]
    if not len(first):
        return LEAST_SCENE
    correlation = np.einsum("pd,pd->p", training[first], training[second])
    return float(np.clip(np.quantile(correlation, SCENE_QUANTILE), LEAST_SCENE, 0.99))


def _alike(
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
    for start in range(0, len(first), _RANDOM_PAIRS):
        part = slice(start, start + _RANDOM_PAIRS)
        found[part] = np.einsum("pd,pd->p", own[first[part]], other[second[part]])
    return found


def _once(first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    kept = first < second
    return first[kept], second[kept]


def _taken(pairs: Pairs, kept: NDArray[np.bool_] | NDArray[np.intp]) -> Pairs:
    return replace(
        pairs,
        first=pairs.first[kept],
        second=pairs.second[kept],
        mirrored=pairs.mirrored[kept],
        correlation=pairs.correlation[kept],
    )


def _groups(count: int, *links: Pairs) -> NDArray[np.int64]:
    """Numbers of the parts that the links connect."""
    first, second = (np.concatenate([getattr(pairs, side) for pairs in links]) for side in ("first", "second"))
    _, group = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(count, count)), False)
    return np.asarray(group, dtype=np.int64)
