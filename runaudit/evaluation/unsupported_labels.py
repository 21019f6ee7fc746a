"""Labels that the model sees nothing of, not even at the lowest confidence, and how many of them are spurious.

A box drawn where there is no object has hardly ever a detection on it: of boxes put at random on background, 82 to
99.9 % had none with an IoU of 0.5 and a confidence of 0.001, over nine sets. But neither have objects that the model
can't see. So a label is only judged where the model has no excuse: it surely sees smaller labels, most labels of that
class, and most other labels of that image. What is left of its own misses is told by what it hardly sees: objects near
the limit of what it sees get a detection of low confidence far more often than none. Spurious boxes that touch an
object are no suspects; their share is measured by putting boxes at random places, and the rate corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest, overlapping
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.sightings import CROWDED, ON, SURE, TOUCHING, Sightings
from runaudit.evaluation.unit_totals import drawn_totals

STRATA: Final = 4
"""quarters of the judged labels by size"""
FEWEST: Final = 60
"""labels that have to be judged. Of 332 draws of 60 to 150 labels from 40 clean sets none reached the limit, of 250 2
of 136, as with 200; where a third or a half as many boxes were invented 16 of 17 did"""
SMALLER: Final = 0.1
"""share of the clearly seen labels that must be smaller than a label: its size is then no excuse"""
MOST_SEEN: Final = 0.5
"""share of the labels of a class, and of the others of an image, that must be clearly seen"""
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
    """`rows` (u,) of the labels and their `posterior` (u,) of being spurious, in [0, 1]; 0 for those not judged.

    `rate` is the share of the judged labels that are spurious. None with too few labels or no room for spurious ones.
    `ci95` resamples images; `judged` counts the labels that were judged.
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
    rows = np.flatnonzero(~supported)
    extent = matches.gt_box[:, 2:] - matches.gt_box[:, :2]
    side = np.sqrt(extent.prod(axis=1)) / sizes[matches.gt_image].max(axis=1)
    best = _best_confidence(matches, seen)
    judged = np.flatnonzero(~seen.crowded & _without_excuse(matches, best >= WEAK, side))
    nothing = Unsupported(rows, np.zeros(len(rows)), None, None, len(judged))
    if len(judged) < FEWEST:
        return nothing
    stratum = np.full(len(side), -1)
    edges = np.quantile(side[judged], np.linspace(0, 1, STRATA + 1)[1:-1])
    stratum[judged] = np.searchsorted(edges, side[judged])
    visible = _visible(matches, seen, sizes, judged, stratum, seed=seed)
    used = judged[visible[stratum[judged]] >= LEAST_VISIBLE]
    if len(used) < FEWEST:
        return nothing
    lost = used[~supported[used]]
    weak = used[(best[used] > 0) & (best[used] < WEAK)]
    # For each spurious label without support there are (1 - v) / v that chance gave some; and the model's own misses.
    value = np.zeros(len(side))
    value[lost] = 1 / visible[stratum[lost]]
    value[weak] -= UNSEEN / visible[stratum[weak]]
    rate = float(np.clip(value[used].sum() / len(used), 0, 1))
    posterior = np.zeros(len(rows))
    mine = stratum[rows]
    for part in range(STRATA):
        here = np.isin(rows, lost) & (mine == part)
        if here.any():
            own = UNSEEN * int((stratum[weak] == part).sum())
            posterior[here] = np.clip(1 - own / here.sum(), 0, 1)
    return Unsupported(rows, posterior, rate, _interval(matches, used, value, seed), len(used))


def _best_confidence(matches: Matches, seen: Sightings) -> NDArray[np.float32]:
    """The highest confidence of a detection of any class on each label, (m,); 0 without one."""
    on = seen.pairs.kept(seen.pairs.iou >= ON)
    best, _ = largest(on.second, matches.det_conf[on.first], len(matches.gt_cls))
    return np.asarray(best)


def _without_excuse(matches: Matches, clear: NDArray[np.bool_], side: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Labels (m,) that the model should see: for their size, for their class, and for what it sees of their image.

    `clear` (m,) are the labels that it does see. A label that is alone in its image has no other to go by.
    """
    if not clear.any():
        return np.zeros(len(side), dtype=bool)
    large = side >= np.quantile(side[clear], SMALLER)
    image, cls = matches.gt_image, matches.gt_cls
    of_class = np.bincount(cls, weights=clear, minlength=1) / np.maximum(np.bincount(cls, minlength=1), 1)
    others = np.bincount(image)[image] - 1
    seen_others = np.bincount(image, weights=clear)[image] - clear
    return np.asarray(large & (of_class[cls] >= MOST_SEEN) & ((others == 0) | (seen_others >= MOST_SEEN * others)))


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


def _interval(matches: Matches, judged: NDArray[np.intp], value: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Of the mean `value` (m,) of the judged labels, resampling images or their groups; at least the rule of three."""
    images = int(matches.unit.max()) + 1
    image = matches.unit[matches.gt_image[judged]]
    count = np.bincount(image, minlength=images)
    total = np.bincount(image, weights=value[judged], minlength=images)
    table = np.stack([count, total.round(9)], axis=1)
    drawn = drawn_totals(table, replicates=REPLICATES, generator=np.random.default_rng(seed))
    share = np.clip(drawn[:, 1] / np.maximum(drawn[:, 0], 1), 0, 1)
    low, high = np.quantile(share, [0.025, 0.975])
    return float(low), float(max(high, 3 / (3 + len(judged))))
