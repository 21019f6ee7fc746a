"""How much of mAP hangs on each suspect label: by what the review queue is ordered.

Each suspect is put right by itself, as the model has it: average precision of its class is computed again with a label
less or more, and with its detection found right. It is the area under the envelope of precision without the hundredths
of recall that the framework rounds to, in which one label of many would vanish. The first 40 of a queue in this order
gained 1.23 and 1.26 times what the 40 likeliest did (swapped and overlooked, three classes of four imbalanced,
tests/evaluation/test_suspect_stakes.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.accumulate import maximum_from_here
from runaudit.evaluation.label_quality import Suspects
from runaudit.evaluation.matching import IOU_THRESHOLDS, Matches, box_iou


def stakes(matches: Matches, suspects: Suspects) -> NDArray[np.float64]:
    """By how much putting each suspect right moves mAP50-95, (s,) in [0, 1], times the suspect's score."""
    classes = max(1, len(np.unique(matches.gt_cls)))
    curves: dict[int, _Curve] = {}

    def curve(cls: int) -> _Curve:
        if cls not in curves:
            curves[cls] = _Curve.of(matches, cls)
        return curves[cls]

    swapped = suspects.of("swapped")
    adds = suspects.of("overlooked") | swapped
    removes = suspects.of("spurious") | suspects.of("duplicated") | swapped
    moved = np.zeros(len(suspects.score))
    for row, (label, detection) in enumerate(zip(suspects.label.tolist(), suspects.detection.tolist(), strict=True)):
        if removes[row]:
            moved[row] += curve(int(matches.gt_cls[label])).without_a_label
        if adds[row] or (detection >= 0 and not removes[row]):
            reached = np.ones(len(IOU_THRESHOLDS), dtype=bool)
            if swapped[row]:
                reached = box_iou(matches.gt_box[[label]], matches.det_box[[detection]])[0] >= IOU_THRESHOLDS
            moved[row] += curve(int(matches.det_cls[detection])).with_found(detection, reached, more=int(adds[row]))
    return np.asarray(np.minimum(moved / classes, 1.0) * suspects.score)


@dataclass(frozen=True)
class _Curve:
    """The detections of one class: `rows` (n,) by falling confidence, `hit` (n, 10) whether each is right at each of
    IOU_THRESHOLDS, and how many `labels` there are."""

    rows: NDArray[np.intp]
    hit: NDArray[np.bool_]
    labels: int

    @classmethod
    def of(cls, matches: Matches, number: int) -> _Curve:
        rows = np.flatnonzero(matches.det_cls == number)
        rows = rows[np.argsort(-matches.det_conf[rows], kind="stable")]
        return cls(rows, matches.tp[rows], int((matches.gt_cls == number).sum()))

    @cached_property
    def hits(self) -> NDArray[np.intp]:
        """The places (h,) of detections that are right at any threshold."""
        return np.flatnonzero(self.hit.any(axis=1))

    @cached_property
    def value(self) -> float:
        return _area(self.hits, self.hit[self.hits], self.labels)

    @property
    def without_a_label(self) -> float:
        """What a label less, which none of the detections found, moves."""
        return self.value / (self.labels - 1) if self.labels > 1 else self.value

    def with_found(self, detection: int, reached: NDArray[np.bool_], *, more: int) -> float:
        """What `detection` being right at the thresholds that are `reached` (10,) moves, with `more` labels."""
        place = int(np.flatnonzero(self.rows == detection)[0])
        places = np.union1d(self.hits, [place])
        hit = self.hit[places]
        hit[np.searchsorted(places, place)] |= reached
        return abs(_area(places, hit, self.labels + more) - self.value)


def _area(places: NDArray[Any], hit: NDArray[np.bool_], labels: int) -> float:
    """Average precision of detections right at `places` (h,), `hit` (h, 10) says where; the mean over thresholds."""
    if not labels or not len(places):
        return 0.0
    envelope = maximum_from_here(hit.cumsum(axis=0) / (places[:, None] + 1))
    return float((envelope * hit).sum() / (labels * hit.shape[1]))
