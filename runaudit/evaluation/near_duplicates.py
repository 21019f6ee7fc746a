"""Finds copies of images: the same bytes, or the same picture encoded again, resized, brightened or mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.image_properties import Fingerprints

MOST_BITS: Final = 10
"""Bits of 64 in which the cosine hashes of copies may differ."""
LEAST_CORRELATION: Final = 0.9
"""Of the thumbnails' remainders (`remainders`). With MOST_BITS it finds the copies, and takes none of the pairs of
different images for copies, that benchmarks/near_duplicates.py counts: none of 172,080 pairs of rendered scenes, dark
ones, scenes before a camera that stands still, before a repetitive or an empty background, and flat images; and all but
one of 1680 copies. Of images darkened to 8 %, where JPEG leaves little, it finds a fifth, of flat ones none."""
_BLOCK_CELLS: Final = 2**24
"""pairs of hashes compared at a time; 128 MiB"""


@dataclass(frozen=True)
class Pairs:
    """Pairs of copies, (p,) each: positions `first` and `second`, whether `mirrored`, and the `correlation`."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    mirrored: NDArray[np.bool_]
    correlation: NDArray[np.float32]


def mean_thumbnail(*sets: Fingerprints) -> NDArray[np.float32]:
    """The mean thumbnail of all images, (16, 16, 3): of a camera that stands still, what stands before it."""
    total = sum(one.thumbnail.sum(axis=0, dtype=np.float64) for one in sets)
    return np.asarray(total / max(1, sum(len(one) for one in sets)), dtype=np.float32)


def remainders(prints: Fingerprints, mean: NDArray[np.float32], *, mirrored: bool = False) -> NDArray[np.float32]:
    """Each thumbnail, or its mirror image, less the mean thumbnail and its own mean colour, (n, 768), of length 1.

    Two images of one camera that stands still have the background in common and would correlate by it alone (0.997 at
    the upper thousandth of pairs; what remains correlates by 0.51). A thumbnail that is as the mean is remains 0.
    """
    rest = (prints.thumbnail[:, :, ::-1] if mirrored else prints.thumbnail).astype(np.float32)
    rest -= mean
    rest -= rest.mean(axis=(1, 2), keepdims=True)
    flat = rest.reshape(len(rest), mean.size)
    length = np.sqrt(np.einsum("nd,nd->n", flat, flat))[:, None]
    flat /= np.where(length > 0, length, 1)
    return np.asarray(flat, dtype=np.float32)


def copies(first: Fingerprints, second: Fingerprints, mean: NDArray[np.float32]) -> Pairs:
    """All pairs of an image of `first` and one of `second` that are copies of each other.

    Copies have cosine hashes within MOST_BITS, upright or one of them mirrored, and remainders that correlate by
    LEAST_CORRELATION. The hash spares most of the comparisons; the thumbnail, in colour, confirms.
    """
    rest_first = remainders(first, mean)
    turned = {mirrored: remainders(second, mean, mirrored=mirrored) for mirrored in (False, True)}
    found: list[tuple[NDArray[Any], ...]] = []
    block = max(1, _BLOCK_CELLS // max(1, len(second)))
    for start in range(0, len(first), block):
        rows = slice(start, start + block)
        for mirrored, rest in turned.items():
            differ = np.bitwise_count(first.cosine_hash[rows, :1] ^ second.cosine_hash[:, int(mirrored)])
            near = differ <= MOST_BITS
            columns = np.flatnonzero(near.any(axis=0))
            if not len(columns):
                continue
            correlation = rest_first[rows] @ rest[columns].T
            row, column = np.nonzero(near[:, columns] & (correlation >= LEAST_CORRELATION))
            found.append((row + start, columns[column], np.full(len(row), mirrored), correlation[row, column]))
    return _joined(found)


def copies_within(prints: Fingerprints, mean: NDArray[np.float32], *, most: int) -> Pairs:
    """All pairs of the first `most` images of a set that are copies, each pair once, `first` before `second`."""
    some = Fingerprints(
        prints.digest[:most], prints.gradient_hash[:most], prints.cosine_hash[:most], prints.thumbnail[:most]
    )
    pairs = copies(some, some, mean)
    once = pairs.first < pairs.second
    return Pairs(pairs.first[once], pairs.second[once], pairs.mirrored[once], pairs.correlation[once])


def _joined(found: list[tuple[NDArray[Any], ...]]) -> Pairs:
    if not found:
        return Pairs(
            np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=bool), np.zeros(0, np.float32)
        )
    first, second, mirrored, correlation = (np.concatenate(column) for column in zip(*found, strict=True))
    return Pairs(first.astype(np.intp), second.astype(np.intp), mirrored.astype(bool), correlation.astype(np.float32))
