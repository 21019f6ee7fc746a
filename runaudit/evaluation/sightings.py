"""What a model says of each label, and what it sees where there is none: contradictions between labels and detections.

Crowds: NMS keeps one detection of several objects that overlap, so labels that overlap another one are left apart
wherever the absence of a detection counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import BoxPairs, among, largest, overlapping
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.mistake_mixture import EDGES, FITTED, ranks

TOUCHING: Final = 0.1
"""IoU from which two boxes have to do with each other: TIDE's background threshold (diagnostics.md D1)"""
ON: Final = 0.5
"""IoU from which a detection is of a label: TIDE's foreground threshold"""
BESIDE: Final = 0.4
"""largest IoU with a label seen otherwise at which a detection still stands for an object of its own"""
CROWDED: Final = 0.5
"""IoU from which a label's neighbour may have taken its detection; NMS of both frameworks works at 0.6 or 0.7, between
boxes that are both a little off"""
SURE: Final = float(EDGES[FITTED])
"""rank from which a detection says that there is something"""
LISTED: Final = float(EDGES[0])
"""rank from which a contradiction is listed"""


SUREST: Final = 0.7
"""rank from which a detection is one of the surest"""


@dataclass(frozen=True)
class Sightings:
    """All positions are rows of the detections (n) or labels (m) of the matches that this was made of.

    `rank` (n,): see `mistake_mixture.ranks`. For each label (m,): `seen_rank` is the highest rank of a detection of any
    class on it (0: none), `seen_by` that detection or -1, `crowded` whether another label overlaps it by CROWDED.
    `agreeing` are the labels whose best detection has their class. The contradictions: `overlooked` detections of no
    label; `swapped` labels whose best detection has another class while none of their own class is sure (a model in
    doubt says both); `misplaced` labels without a detection on them, and `misplaced_by` the detection of their class
    beside each; all with a rank of at least LISTED. `confidence` is the mean one of the true positives with a rank of
    SUREST or more, 0 without any; `precision` the share of true positives among all detections that are as sure
    as that, 0 without any.
    """

    rank: NDArray[np.float64]
    pairs: BoxPairs
    seen_rank: NDArray[np.float64]
    seen_by: NDArray[np.intp]
    crowded: NDArray[np.bool_]
    agreeing: NDArray[np.intp]
    overlooked: NDArray[np.intp]
    swapped: NDArray[np.intp]
    misplaced: NDArray[np.intp]
    misplaced_by: NDArray[np.intp]
    confidence: float
    precision: float


def sightings(matches: Matches) -> Sightings:
    """Hold labels and detections against each other."""
    labels, detections = len(matches.gt_cls), len(matches.det_cls)
    pairs = overlapping(matches.det_image, matches.det_box, matches.gt_image, matches.gt_box, TOUCHING)
    rank = ranks(matches.det_conf, matches.det_cls, matches.tp[:, 0])
    # In a crowd a detection of a neighbour may lie on the label, too. It is the neighbour's if it has its class.
    found = matches.tp[:, 0]
    same_class = matches.det_cls[pairs.first] == matches.gt_cls[pairs.second]
    chosen = (pairs.iou >= ON) & (same_class | ~found[pairs.first])
    on, same_on = pairs.kept(chosen), same_class[chosen]
    # Among detections of one rank the one of the label's class counts: the model then says both.
    seen_rank, row = largest(on.second, rank[on.first] + 1e-9 * same_on, labels)
    seen_by = np.where(row >= 0, on.first[row] if len(on.first) else -1, -1)
    own = pairs.kept(chosen & same_class)
    own_rank, _ = largest(own.second, rank[own.first], labels)
    neighbours = among(matches.gt_image, matches.gt_box, CROWDED)
    crowded = np.zeros(labels, dtype=bool)
    crowded[neighbours.first] = crowded[neighbours.second] = True
    sure, listed = seen_rank >= SURE, seen_rank >= LISTED
    same = np.zeros(labels, dtype=bool)
    same[seen_by >= 0] = matches.det_cls[seen_by[seen_by >= 0]] == matches.gt_cls[seen_by >= 0]
    misplaced, misplaced_by = _misplaced(matches, pairs, rank, seen_rank)
    best_iou, _ = largest(pairs.first, pairs.iou, detections)
    beside_unseen = np.zeros(detections, dtype=bool)
    beside_unseen[pairs.first[~sure[pairs.second]]] = True
    lonely = (best_iou < TOUCHING) | ((best_iou < BESIDE) & ~beside_unseen)
    right = matches.tp[:, 0] & (rank >= SUREST)
    confidence = float(matches.det_conf[right].mean()) if right.any() else 0.0
    overlooked = without_twins(matches, np.flatnonzero(lonely & (rank >= LISTED)), rank)
    return Sightings(
        rank=rank,
        pairs=pairs,
        seen_rank=seen_rank,
        seen_by=seen_by,
        crowded=crowded,
        agreeing=np.flatnonzero(listed & same),
        overlooked=overlooked,
        swapped=np.flatnonzero(listed & ~same & (own_rank < SURE)),
        misplaced=misplaced,
        misplaced_by=misplaced_by,
        confidence=confidence,
        precision=float(matches.tp[matches.det_conf >= confidence, 0].mean()) if right.any() else 0.0,
    )


def _misplaced(
    matches: Matches, pairs: BoxPairs, rank: NDArray[np.float64], seen_rank: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Labels that nothing sure is on, and the surest detection of their class that touches no label more."""
    _, nearest = largest(pairs.first, pairs.iou, len(rank))
    best = np.zeros(len(pairs.first), dtype=bool)
    best[nearest[nearest >= 0]] = True
    usable = (
        best
        & (pairs.iou < ON)
        & (rank[pairs.first] >= LISTED)
        & (rank[pairs.first] > seen_rank[pairs.second])
        & (seen_rank[pairs.second] < SURE)
        & (matches.det_cls[pairs.first] == matches.gt_cls[pairs.second])
    )
    near = pairs.kept(usable)
    _, row = largest(near.second, rank[near.first], len(matches.gt_cls))
    labels = np.flatnonzero(row >= 0)
    return labels, near.first[row[labels]]


def without_twins(matches: Matches, rows: NDArray[np.intp], rank: NDArray[Any]) -> NDArray[np.intp]:
    """Of the detections `rows` of one object, in several classes, the surest only, by a `rank` of all; rising."""
    rows = rows[np.argsort(-rank[rows], kind="stable")]
    twins = among(matches.det_image[rows], matches.det_box[rows], ON)
    kept = np.ones(len(rows), dtype=bool)
    kept[twins.second] = False
    return np.sort(rows[kept])
