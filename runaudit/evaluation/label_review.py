"""Reviews the labels of a validated split: suspects, rates, habits, permuted ids, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.box_offsets import Habit, Residuals, habit, residuals
from runaudit.evaluation.class_permutation import Permutation, best_permutation, class_confusion, complete
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_facts import (
    READ_AS,
    Box,
    BoxHabitFacts,
    ClassConfusion,
    ClassPermutationFacts,
    LabelErrorRate,
    LabelQualityFacts,
    SuspectFacts,
)
from runaudit.evaluation.label_interventions import (
    PROBABLE,
    Baseline,
    class_blind,
    class_mapped,
    habit_corrected,
    suspects_changed,
)
from runaudit.evaluation.label_quality import KINDS, LabelQuality, Suspects, label_quality
from runaudit.evaluation.label_readings import other_reading
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import Protocol
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.second_opinions import second_opinions
from runaudit.evaluation.suspect_stakes import stakes
from runaudit.evaluation.thresholds import DEFAULT
from runaudit.runs.facts import ImageIndex

MOST_SUSPECTS: Final = 200
"""in the report; 100 bytes each"""
MOST_CONFUSIONS: Final = 500
LEAST_SCORE: Final = 0.1
"""below it a suspect is rather the model's mistake and not worth a look"""


@dataclass(frozen=True)
class LabelReview:
    """The facts, and mAP measured again with labels changed."""

    facts: LabelQualityFacts
    interventions: tuple[InterventionFacts, ...]


def review_labels(
    matches: Matches,
    protocol: Protocol,
    index: ImageIndex,
    *,
    classes: int,
    single_cls: bool = False,
    seed: int = 0,
    attempts: Attempts | None = None,
) -> LabelReview:
    """Review the labels that `matches` were made with.

    Args:
        matches: of a validation pass by `protocol`, of the images of `index`.
        classes: that the network knows.
        single_cls: all classes were counted as one.
        seed: of intervals and shams.
        attempts: told of interventions that failed, as `intervention NAME`; the others go on.

    Raises TooCrowdedError, see `touching_boxes`.
    """
    attempts = attempts or Attempts()
    entries = [index.images[position] for position in matches.image]
    sizes = np.array([(entry.width, entry.height) for entry in entries], dtype=np.int64).reshape(-1, 2)
    base = Baseline.of(matches, protocol, seed)
    interventions: list[InterventionFacts] = []
    reading = attempts.at(f"intervention {READ_AS}other_rule", lambda: other_reading(base, entries))
    if reading is not None:
        # Read by the wrong rule every label looks misplaced.
        base = Baseline(reading[0], protocol, seed)
        interventions.append(reading[1])
    several = classes > 1 and not single_cls
    confusion = class_confusion(base.matches, classes)
    permutation = None
    if several:
        permutation = attempts.at("intervention class_agnostic", lambda: _permuted(base, confusion, interventions))
    if permutation is not None and permutation.gain > 0:
        # Seen through permuted ids every label looks swapped.
        mapped = complete(permutation.mapping, classes)[base.matches.det_cls]
        base = Baseline(relabelled(base.matches, protocol, det_cls=mapped), protocol, seed)
    quality = label_quality(base.matches, sizes, seed=seed)
    interventions.extend(suspects_changed(base, quality, attempts))
    habits: tuple[BoxHabitFacts, ...] = ()
    if quality.why_not is None:
        found = residuals(base.matches, quality.seen, sizes)
        habits = _habits(base.matches, found)
        changed = attempts.at("intervention box_habit_corrected", lambda: habit_corrected(base, found, sizes))
        interventions.extend([changed] if changed is not None else [])
    facts = LabelQualityFacts(
        rates=tuple(_rate(base.matches, quality, number) for number in range(len(KINDS))),
        suspects=_suspects(base.matches, quality.suspects, [entry.file for entry in entries]),
        total_suspects=int((quality.suspects.score >= PROBABLE).sum()),
        habits=habits,
        permutation=permutation,
        confusions=_confusions(confusion),
        second_opinions=_confusions(second_opinions(base.matches, classes, confidence=DEFAULT)),
        too_little=quality.why_not,
        found={int(cls): int(count) for cls, count in enumerate(confusion.sum(axis=1)) if count},
    )
    return LabelReview(facts, tuple(interventions))


def _confusions(confusion: NDArray[np.int64]) -> tuple[ClassConfusion, ...]:
    off = confusion - np.diag(np.diagonal(confusion))
    labelled, detected = np.nonzero(off)
    counts = off[labelled, detected]
    order = np.argsort(-counts, kind="stable")[:MOST_CONFUSIONS]
    return tuple(
        ClassConfusion(labelled=int(labelled[row]), detected=int(detected[row]), labels=int(counts[row]))
        for row in order
    )


def _permuted(
    base: Baseline, confusion: NDArray[np.int64], interventions: list[InterventionFacts]
) -> ClassPermutationFacts:
    """The best permutation of ids and what it gains; adds what was measured to `interventions`."""
    blind = class_blind(base)
    interventions.append(blind)
    best: Permutation = best_permutation(confusion)
    facts = ClassPermutationFacts(
        map50_95=base.value,
        agnostic_map50_95=blind.after,
        mapped_map50_95=base.value,
        mapping=best.mapping,
        kept=best.kept,
        moved=best.moved,
        n=best.labels,
    )
    if not best.mapping:
        return facts
    mapped = class_mapped(base, best.mapping, len(confusion))
    interventions.append(mapped)
    return facts.model_copy(update={"mapped_map50_95": mapped.after, "gain": mapped.difference, "ci95": mapped.ci95})


def _rate(matches: Matches, quality: LabelQuality, number: int) -> LabelErrorRate:
    kind = KINDS[number]
    rate, suspects = quality.rates[kind], quality.suspects
    probable = suspects.of(kind) & (suspects.score >= PROBABLE)
    cls = (
        matches.det_cls[suspects.detection[probable]]
        if kind == "overlooked"
        else matches.gt_cls[suspects.label[probable]]
    )
    ids, counts = np.unique(cls, return_counts=True)
    return LabelErrorRate(
        kind=kind,
        rate=rate.rate,
        ci95=rate.ci95,
        n=rate.n,
        candidates=int(probable.sum()),
        classes=dict(zip(ids.tolist(), counts.tolist(), strict=True)),
        why=rate.why,
    )


def _suspects(matches: Matches, suspects: Suspects, files: list[str]) -> tuple[SuspectFacts, ...]:
    """The likeliest, those first on which most mAP hangs."""
    shown = np.flatnonzero(suspects.score >= LEAST_SCORE)[:MOST_SUSPECTS]
    at_stake = stakes(matches, suspects.taking(shown))
    entries = []
    for place in np.argsort(-at_stake, kind="stable"):
        row = shown[place]
        label, detection = int(suspects.label[row]), int(suspects.detection[row])
        image = matches.gt_image[label] if label >= 0 else matches.det_image[detection]
        entries.append(
            SuspectFacts(
                kind=KINDS[suspects.kind[row]],
                image=files[int(image)],
                class_id=int(matches.gt_cls[label]) if label >= 0 else None,
                box=_box(matches.gt_box[label]) if label >= 0 else None,
                suggested_class=int(matches.det_cls[detection]) if detection >= 0 else None,
                suggested_box=_box(matches.det_box[detection]) if detection >= 0 else None,
                score=round(float(suspects.score[row]), 4),
                at_stake=round(float(at_stake[place]), 6),
            )
        )
    return tuple(entries)


def _box(box: NDArray[np.float32]) -> Box:
    left, top, right, bottom = (round(float(value), 1) for value in box)
    return left, top, right, bottom


def _habits(matches: Matches, found: Residuals) -> tuple[BoxHabitFacts, ...]:
    """Of all classes together, then of each that has enough boxes."""
    image, cls = matches.unit[matches.gt_image[found.label]], matches.gt_cls[found.label]
    groups: list[tuple[int | None, NDArray[Any]]] = [(None, np.ones(len(cls), dtype=bool))]
    groups += [(int(number), cls == number) for number in np.unique(cls)]
    measured = ((number, habit(image[mask], found.value[mask])) for number, mask in groups)
    return tuple(_habit(number, entry) for number, entry in measured if entry is not None)


def _habit(class_id: int | None, measured: Habit) -> BoxHabitFacts:
    mean, ends = measured.mean, measured.ci95
    scale, scale_ends = np.exp(mean[:2]), np.exp(ends[:2])
    width, height, right, down = ((float(low), float(high)) for low, high in np.vstack([scale_ends, ends[2:]]))
    return BoxHabitFacts(
        class_id=class_id,
        boxes=measured.boxes,
        width=float(scale[0]),
        width_ci95=width,
        height=float(scale[1]),
        height_ci95=height,
        right=float(mean[2]),
        right_ci95=right,
        down=float(mean[3]),
        down_ci95=down,
    )
