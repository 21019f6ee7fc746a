"""Scores every label of a split, and every object that lacks one, from the matches of one validation pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import among
from runaudit.evaluation.label_facts import Interval, SuspectKind
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.mistake_mixture import FEWEST, REPLICATES, bin_of, binned, estimate
from runaudit.evaluation.sightings import Sightings, sightings
from runaudit.evaluation.unit_totals import drawn_totals
from runaudit.evaluation.unsupported_labels import FEWEST as FEWEST_JUDGED
from runaudit.evaluation.unsupported_labels import Unsupported, unsupported

KINDS: Final[tuple[SuspectKind, ...]] = get_args(SuspectKind)
DUPLICATE_IOU: Final = 0.8
"""of two labels of one object. Two annotators who are off by 3 % of the sides reach it in 98 % of cases (n = 1,715),
two objects almost never: 4 pairs among 6,672 labels of crowds, none among 6,068 others, 4 among COCO128's 929"""
LEAST_CONFIDENCE: Final = 0.67
"""mean confidence of a model's surest true positives, below which it is too weak to contradict a label: its true
positives are then no surer than its mistakes. Measured: 0.70 to 0.92 where right labels raised no alarm (ten sets and
models, mAP50 of 0.55 to 0.96), 0.01 to 0.65 where they did (seven, mAP50 of 0.00 to 0.73)"""
LEAST_PRECISION: Final = 0.35
"""share of the detections as sure as the surest true positives that are true positives, below which either most labels
are wrong or confidence means nothing, and one pass can't tell which. Measured: 0.01 to 0.27 of three trainings on
photographs that were cut short, had few epochs or too high a rate, two of which else contradict a seventh to a fifth of
their right labels; 0.44 to 0.71 of good models where 30 to 50 % of the labels were dropped, moved or given another
class"""
BOTH_WAYS: Final = 0.5
"""share of a class' labels that lie on one of another class, from which that is how the classes are meant"""


@dataclass(frozen=True)
class Suspects:
    """Rows one by one: `kind` (s,) positions in KINDS, `label` (s,) row or -1, `detection` (s,) row or -1, and `score`
    (s,) in [0, 1]."""

    kind: NDArray[np.int64]
    label: NDArray[np.intp]
    detection: NDArray[np.intp]
    score: NDArray[np.float64]

    def of(self, kind: SuspectKind) -> NDArray[np.bool_]:
        """Which rows are of `kind`."""
        return np.asarray(self.kind == KINDS.index(kind))

    def best_first(self) -> Suspects:
        """By falling score, of equal ones in the order of KINDS and of the labels."""
        return self.taking(np.lexsort((self.detection, self.label, self.kind, -self.score)))

    def taking(self, rows: NDArray[Any]) -> Suspects:
        """Some of them, or all in another order."""
        return Suspects(self.kind[rows], self.label[rows], self.detection[rows], self.score[rows])


@dataclass(frozen=True)
class Rate:
    """The share of wrong labels of a kind; `rate` and `ci95` None where `why` says so."""

    rate: float | None
    ci95: Interval | None
    n: int
    why: str | None = None


@dataclass(frozen=True)
class LabelQuality:
    """Suspects and rates by kind, and the sightings that they were read from; `why_not` says why the model can't judge
    labels, in which case only duplicates are told."""

    suspects: Suspects
    rates: dict[SuspectKind, Rate]
    seen: Sightings
    why_not: str | None = None


def label_quality(matches: Matches, sizes: NDArray[Any], *, seed: int = 0) -> LabelQuality:
    """Score labels and objects.

    Args:
        matches: of a validation pass.
        sizes: (k, 2) width and height of each image in pixels, in the order of `matches.image`.
        seed: of the intervals.
    """
    seen = sightings(matches)
    copies, score = duplicates(matches, seen)
    duplicated = _suspects("duplicated", copies, None, score)
    why_not = _too_weak(seen)
    if why_not is not None:
        unknown = {kind: Rate(None, None, len(matches.gt_cls), why_not) for kind in KINDS}
        rates = unknown | {"duplicated": _share(matches, copies, seed)}
        return LabelQuality(duplicated.best_first(), rates, seen, why_not)
    swapped = seen.swapped
    unit, images = matches.unit, int(matches.unit.max()) + 1
    true = binned(unit[matches.gt_image[seen.agreeing]], seen.seen_rank[seen.agreeing], images)
    contradictions: tuple[tuple[SuspectKind, Any, Any, Any, Any], ...] = (
        ("overlooked", None, seen.overlooked, seen.rank[seen.overlooked], matches.det_image[seen.overlooked]),
        ("swapped", swapped, seen.seen_by[swapped], seen.seen_rank[swapped], matches.gt_image[swapped]),
        (
            "misplaced",
            seen.misplaced,
            seen.misplaced_by,
            seen.rank[seen.misplaced_by],
            matches.gt_image[seen.misplaced],
        ),
    )
    rates = {}
    parts: list[Suspects] = [duplicated]
    for kind, label, detection, rank, image in contradictions:
        mixture = estimate(true, binned(unit[image], rank, images), seed=seed)
        known = mixture.ci95 is not None
        rates[kind] = Rate(
            mixture.rate if known else None,
            mixture.ci95,
            mixture.trusted,
            None if known else f"Only {mixture.trusted} labels are confirmed by sure detections; {FEWEST} are needed.",
        )
        score = _believed(mixture.posterior[bin_of(rank)], mixture.ci95)
        parts.append(_suspects(kind, label, detection, score))
    lost = unsupported(matches, seen, sizes, seed=seed)
    rates["spurious"] = _spurious_rate(lost)
    parts.append(_suspects("spurious", lost.rows, None, _believed(lost.posterior, lost.ci95)))
    rates["duplicated"] = _share(matches, copies, seed)
    joined = Suspects(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("kind", "label", "detection", "score"))
    )
    return LabelQuality(joined.best_first(), rates, seen)


def _too_weak(seen: Sightings) -> str | None:
    """Why the model can't contradict a label, a sentence; None if it can."""
    if seen.confidence == 0:
        return "The model is too weak to contradict a label: none of its surest detections is a true positive."
    if seen.confidence < LEAST_CONFIDENCE:
        return (
            "The model is too weak to contradict a label: its surest true positives have a mean confidence of "
            f"{seen.confidence:.2f}, and {LEAST_CONFIDENCE} is needed."
        )
    if seen.precision < LEAST_PRECISION:
        return (
            f"Of the model's surest detections {seen.precision:.0%} agree with a label, and {LEAST_PRECISION:.0%} are "
            "needed: most labels are wrong, or its confidence says little, and these detections can't tell which."
        )
    return None


def _believed(posterior: NDArray[np.float64], ci95: Interval | None) -> NDArray[np.float64]:
    """The posterior, halved where the rate behind it may be 0: a few contradictions then say nothing for sure."""
    return posterior if ci95 is not None and ci95[0] > 0 else posterior / 2


def duplicates(matches: Matches, seen: Sightings) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Labels that are the second one of their object, (d,), and their scores (d,) in [0, 1].

    Of a pair it is the label whose best detection is less sure or has another class; of equal ones the later. The
    score is 0.5 at DUPLICATE_IOU and 1 for equal boxes. Classes that lie on each other by habit (a person
    in a helmet labelled `person` and `helmeted`) are left out.
    """
    pairs = among(matches.gt_image, matches.gt_box, DUPLICATE_IOU)
    first, second = pairs.first, pairs.second
    pairs = pairs.kept(~_by_habit(matches, first, second))
    support = np.zeros(len(matches.gt_cls))
    support[seen.agreeing] = seen.seen_rank[seen.agreeing]
    later = support[pairs.second] <= support[pairs.first]
    copy = np.where(later, pairs.second, pairs.first)
    score = 0.5 + 0.5 * (pairs.iou.astype(np.float64) - DUPLICATE_IOU) / (1 - DUPLICATE_IOU)
    rows, place = np.unique(copy, return_inverse=True)
    best = np.zeros(len(rows))
    np.maximum.at(best, place, np.clip(score, 0, 1))
    return rows, best


def _by_habit(matches: Matches, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Pairs of two classes of which one lies on the other in BOTH_WAYS of its labels."""
    low = np.minimum(matches.gt_cls[first], matches.gt_cls[second]).astype(np.int64)
    high = np.maximum(matches.gt_cls[first], matches.gt_cls[second]).astype(np.int64)
    counts = np.bincount(matches.gt_cls, minlength=1)
    _, place, together = np.unique(low << 32 | high, return_inverse=True, return_counts=True)
    rarer = np.minimum(counts[low], counts[high])
    # One or two pairs of a rare class are no habit.
    return np.asarray((low != high) & (together[place] >= 5) & (together[place] >= BOTH_WAYS * rarer))


def _suspects(
    kind: SuspectKind, label: NDArray[np.intp] | None, detection: NDArray[np.intp] | None, score: NDArray[np.float64]
) -> Suspects:
    none = np.full(len(score), -1, dtype=np.intp)
    return Suspects(
        np.full(len(score), KINDS.index(kind)),
        none if label is None else label,
        none if detection is None else detection,
        score,
    )


def _spurious_rate(lost: Unsupported) -> Rate:
    why = None
    if lost.rate is None:
        why = (
            f"Only {lost.judged} labels are of a size, class and image of which the model sees most, and apart from "
            f"other labels ({FEWEST_JUDGED} are needed), or there is too little room for a box without an object."
        )
    return Rate(lost.rate, lost.ci95, lost.judged, why)


def _share(matches: Matches, rows: NDArray[np.intp], seed: int) -> Rate:
    """The share of labels that `rows` are, with its interval by resampling images or groups of them."""
    image, images = matches.unit[matches.gt_image], int(matches.unit.max()) + 1
    table = np.stack([np.bincount(some, minlength=images) for some in (image, image[rows])], 1)
    drawn = drawn_totals(table, replicates=REPLICATES, generator=np.random.default_rng(seed))
    low, high = np.quantile(drawn[:, 1] / np.maximum(drawn[:, 0], 1), [0.025, 0.975])
    labels = len(matches.gt_cls)
    return Rate(len(rows) / labels, (float(low), float(max(high, 3 / (3 + labels)))), labels)
