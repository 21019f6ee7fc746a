"""Which validation images stand in training too: same bytes, copies, or frames of one scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import LeakageFacts, LeakedPair
from runaudit.evaluation.fingerprinting import digests, file_sizes, fingerprints
from runaudit.evaluation.image_groups import LEAST_SCENE, RANDOM_PAIRS, SCENE_QUANTILE, Split, alike, kinds, nearest
from runaudit.evaluation.image_properties import Fingerprints
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.near_duplicates import Pairs, copies, mean_thumbnail, remainders
from runaudit.evaluation.selection import labelled_part, sampled
from runaudit.evaluation.sequences import frames, neighbours, taken
from runaudit.proportions import wilson_interval

COMPARED: Final = {"standard": 2000, "deep": 1_000_000}
"""The most training images that are compared by what they show. 2000 images of 2 megapixels take 10 s on two cores."""
_EXAMPLES: Final = 20
_NAMED: Final = 100
_KINDS: Final = ("exact", "near", "scene")


@dataclass(frozen=True)
class Leakage:
    """The facts, and per validation image its gravest kind, `kind` (n,): 0 exact, 1 near, 2 scene, 3 none."""

    facts: LeakageFacts
    kind: NDArray[np.int64]

    @property
    def leaked(self) -> NDArray[np.bool_]:
        """(n,) whether the image itself, or a copy of it, stands in training."""
        return self.kind < 2


def find_leakage(
    validation: Split, training: Labelled, known: Split, root: Path, *, repeated: int, most: int, seed: int
) -> Leakage:
    """Look for validation images among the training images.

    Args:
        validation: the images that were validated.
        training: all training images.
        known: those of them whose fingerprints the training pass has taken.
        root: the folder that files are named relative to.
        repeated: how many validation images copy an earlier one (`image_groups`).
        most: training images to compare by what they show; those beyond `known` are drawn at random and decoded.
        seed: of that draw.

    Exact duplicates are looked for among all training images: only files of equal size are read.
    """
    compared = _compared(training, known, root, most=most, seed=seed)
    mean = mean_thumbnail(validation.prints, compared.prints)
    own, other = remainders(validation.prints, mean), remainders(compared.prints, mean)
    similar = nearest(copies(validation.prints, compared.prints, mean))
    named = frames([entry.file for entry in (*validation.entries, *compared.entries)])
    count = len(validation.entries)
    of_validation, of_training = taken(named, np.arange(count)), taken(named, np.arange(count, len(named.series)))
    limit = _scene_limit(other, seed)
    neighbouring = alike(*neighbours(of_validation, of_training), own, other, limit)
    same_bytes, found = _same_bytes(validation, training, compared, root)
    kind = np.full(count, 3)
    examples: dict[int, LeakedPair] = {}
    for pairs, files, ranked in (
        (same_bytes, found, np.zeros(len(found), dtype=np.int64)),
        (similar, _files(compared, similar), kinds(similar, validation, compared)),
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
        repeated=repeated,
        pairs=tuple(examples[image] for image in gravest[:_EXAMPLES]),
        leaked=tuple(validation.entries[image].file for image in gravest[:_NAMED] if kind[image] < 2),
        scene_similarity=round(limit, 4),
    )
    return Leakage(facts=facts, kind=kind)


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


def _scene_limit(training: NDArray[np.float32], seed: int) -> float:
    """The correlation that SCENE_QUANTILE of pairs of training images stay below, from LEAST_SCENE to 0.99."""
    first, second = np.random.default_rng(seed).integers(0, len(training), (2, RANDOM_PAIRS))
    first, second = first[first != second], second[first != second]
    if not len(first):
        return LEAST_SCENE
    correlation = np.einsum("pd,pd->p", training[first], training[second])
    return float(np.clip(np.quantile(correlation, SCENE_QUANTILE), LEAST_SCENE, 0.99))
