"""Labels that the model sees nothing of, not even at the lowest confidence, and how many of them are spurious.

A box drawn where there is no object has hardly ever a detection on it: of boxes put at random on background, 82 to
99.9 % had none with an IoU of 0.5 and a confidence of 0.001, over nine sets. But neither have objects that the model
can't see, mostly small ones. So labels are compared with those of similar size: the rate is that of the size
at which the model misses least, and what is missing more than that elsewhere is laid to the model. Spurious boxes that
touch an object are no suspects; their share is measured by putting boxes at random places, and the rate corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest, overlapping
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.sightings import CROWDED, ON, SURE, TOUCHING, Sightings

STRATA: Final = 4
"""quarters of the labels by size"""
FEWEST: Final = 50
"""labels that a quarter needs"""
PLACED: Final = 3000
"""boxes put at random places"""
LEAST_VISIBLE: Final = 0.2
"""share of boxes at random places that must be without support, for spurious labels to be told at all"""
WEAK: Final = 0.05
"""confidence below which the best detection of a label, of any class, shows an object that the model hardly sees"""
UNSEEN: Final = 0.2
"""objects that the model doesn't see at all for each that it hardly sees; 0.1 at most on ten clean sets, dark ones
included, with models that are asked at all"""
REPLICATES: Final = 400


@dataclass(frozen=True)
class Unsupported:
    """`rows` (u,) of the labels and their `posterior` (u,) of being spurious, in [0, 1].

    `rate` is the share of labels that are spurious, at least: that of the quarter of sizes in which the fewest labels
    are without support. None with too few labels or no room for spurious ones. `ci95` resamples images; `judged` counts
    the quarter's labels.
    """

    rows: NDArray[np.intp]
    posterior: NDArray[np.float64]
    rate: float | None
    ci95: tuple[float, float] | None
    judged: int


def unsupported(matches: Matches, seen: Sightings, sizes: NDArray[Any], *, seed: int = 0) -> Unsupported:
    """Find the labels without support.

    Args:
        matches, seen: what is examined.
        sizes: (k, 2) width and height of each image in pixels.
        seed: of the bootstrap and of the random places.
    """
    supported = seen.crowded.copy()
    pairs = seen.pairs
    supported[pairs.second[(pairs.iou >= ON) | (seen.rank[pairs.first] >= SURE)]] = True
    judged, rows = np.flatnonzero(~seen.crowded), np.flatnonzero(~supported)
    nothing = Unsupported(rows, np.zeros(len(rows)), None, None, len(judged))
    if len(judged) < STRATA * FEWEST:
        return nothing
    extent = matches.gt_box[:, 2:] - matches.gt_box[:, :2]
    side = np.sqrt(extent.prod(axis=1)) / sizes[matches.gt_image].max(axis=1)
    edges = np.quantile(side[judged], np.linspace(0, 1, STRATA + 1)[1:-1])
    stratum = np.searchsorted(edges, side)
    total = np.bincount(stratum[judged], minlength=STRATA)
    missed = np.bincount(stratum[rows], minlength=STRATA)
    share = np.where(total >= FEWEST, missed / np.maximum(total, 1), np.inf)
    best = int(share.argmin())
    if not np.isfinite(share[best]):
        return nothing
    mine, lost = judged[stratum[judged] == best], rows[stratum[rows] == best]
    visible = _visible(matches, seen, sizes, judged, stratum, seed=seed)
    if visible[best] < LEAST_VISIBLE:
        return nothing
    weak = _hardly_seen(matches, seen, mine)
    rate = _corrected((len(lost) - UNSEEN * len(weak)) / len(mine), visible[best])
    low, high = _interval(matches, mine, lost, weak, seed)
    posterior = np.clip(rate * visible[stratum[rows]] / np.maximum(share[stratum[rows]], 1e-9), 0, 1)
    ends = (_corrected(low, visible[best]), _corrected(high, visible[best]))
    return Unsupported(rows, posterior, rate, ends, len(mine))


def _hardly_seen(matches: Matches, seen: Sightings, labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of `labels` whose best detection has a confidence below WEAK."""
    on = seen.pairs.kept(seen.pairs.iou >= ON)
    best, row = largest(on.second, matches.det_conf[on.first], len(matches.gt_cls))
    return labels[(row[labels] >= 0) & (best[labels] < WEAK)]


def _corrected(share: float, visible: float) -> float:
    """The share of labels that are spurious if `share` of the labels outside crowds is without support."""
    return float(min(1.0, max(0.0, share) / visible))


def _visible(
    matches: Matches,
    seen: Sightings,
    sizes: NDArray[Any],
    judged: NDArray[np.intp],
    stratum: NDArray[np.intp],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """The share of boxes at random places, of the sizes of `judged`, that would be without support: (STRATA,).

    Those that would overlap a label as in a crowd are left apart, as such labels are.
    """
    generator = np.random.default_rng(seed)
    chosen = generator.choice(judged, size=PLACED)
    image = generator.integers(0, len(matches.image), size=PLACED)
    extent = np.minimum(matches.gt_box[chosen, 2:] - matches.gt_box[chosen, :2], sizes[image])
    corner = generator.uniform(size=extent.shape) * (sizes[image] - extent)
    box = np.hstack([corner, corner + extent]).astype(np.float32)
    near = overlapping(image, box, matches.det_image, matches.det_box, TOUCHING)
    supported = np.zeros(PLACED, dtype=bool)
    supported[near.first[(near.iou >= ON) | (seen.rank[near.second] >= SURE)]] = True
    crowded = np.zeros(PLACED, dtype=bool)
    crowded[overlapping(image, box, matches.gt_image, matches.gt_box, CROWDED).first] = True
    free = np.bincount(stratum[chosen[~supported & ~crowded]], minlength=STRATA)
    return np.asarray(free / np.maximum(1, np.bincount(stratum[chosen[~crowded]], minlength=STRATA)))


def _interval(
    matches: Matches, judged: NDArray[np.intp], lost: NDArray[np.intp], weak: NDArray[np.intp], seed: int
) -> tuple[float, float]:
    """Of the share of lost labels less the unseen objects, resampling images; at least up to the rule of three."""
    images = len(matches.image)
    table = np.stack([np.bincount(matches.gt_image[rows], minlength=images) for rows in (judged, lost, weak)], axis=1)
    patterns, occurring = np.unique(table, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(images, occurring / images, size=REPLICATES) @ patterns
    net = np.maximum(0, drawn[:, 1] - UNSEEN * drawn[:, 2])
    low, high = np.quantile(net / np.maximum(drawn[:, 0], 1), [0.025, 0.975])
    return float(low), float(max(high, 3 / (3 + len(judged))))
