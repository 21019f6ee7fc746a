"""Whether a model tells classes apart that an augmentation makes of one another: by its mistakes, its AP, its mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.class_support import ClassSupport, best_map50
from runaudit.diagnostics.evidence import Evidence, Impact, Measurement
from runaudit.diagnostics.opposite_names import Pairs
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import Interval
from runaudit.proportions import wilson_interval


@dataclass(frozen=True)
class Thresholds:
    mistaken: float = threshold(
        0.1,
        "Share of the labels of such classes that are detected as their opposite. Where nothing tells the two apart it "
        "is about a half (yolo.md row 51); a fifth of that is the line, and the interval must lie on one side of it.",
    )
    confused: float = threshold(
        0.65,
        "mAP50 that two classes can have at most if nothing tells them apart: each detection is then right half of the "
        "time. 400 simulations with 30 objects each give 0.57 on average and 0.63 at the 95th percentile, with 300 "
        "each 0.52 and 0.54. Used where mistakes were not counted.",
    )
    doubted: float = threshold(
        0.1,
        "Share of the labels of such classes that are detected as what they are and as their opposite too, both at the "
        "default confidence; its interval must lie above. Trained with fliplr of 0.25 and 0.5 it is 0.56 and 0.89 on "
        "`signs`, without flips 0.01.",
    )
    judged: int = threshold(30, "Validation instances from which AP50 and mistakes are judged (diagnostics.md A2(4)).")


LIMITS = Thresholds()


@dataclass(frozen=True)
class Mistakes:
    """Of `labels` of the paired classes, `count` were detected as the opposite: `share`, with Wilson's interval.

    `at_most` is the interval's upper end if all pairs that the evaluation doesn't list are as frequent as they can be.
    """

    count: int
    labels: int
    share: float
    ci95: Interval
    at_most: float


def mistakes_of(evidence: Evidence, support: ClassSupport, pairs: Pairs) -> Mistakes | None:
    """Mistakes within the pairs; None where nothing was validated or there are too few labels to judge by."""
    counted = _detected(evidence) or _classified(evidence, support)
    if counted is None:
        return None
    labels, mistakes, unlisted = counted
    total = sum(labels.get(index, 0) for index in {index for pair in pairs for index in pair})
    if total < LIMITS.judged:
        return None
    directed = [*pairs, *((second, first) for first, second in pairs)]
    count = min(total, sum(mistakes.get(pair, 0) for pair in directed))
    smallest = min(mistakes.values(), default=0)
    hidden = min(unlisted, smallest * sum(pair not in mistakes for pair in directed))
    return Mistakes(
        count,
        total,
        count / total,
        wilson_interval(count, total),
        wilson_interval(min(total, count + hidden), total)[1],
    )


def doubts_of(evidence: Evidence, pairs: Pairs) -> Mistakes | None:
    """Labels of the pairs that are detected as both; None where none was looked for, or there are too few labels."""
    quality = evidence.evaluation.label_quality if evidence.evaluation is not None else None
    if evidence.evaluation is None or quality is None:
        return None
    classes = {index for pair in pairs for index in pair}
    total = sum(entry.instances for entry in evidence.evaluation.per_class if entry.class_id in classes)
    if total < LIMITS.judged:
        return None
    directed = {*pairs, *((second, first) for first, second in pairs)}
    opinions = (entry for entry in quality.second_opinions if (entry.labelled, entry.detected) in directed)
    count = min(total, sum(entry.labels for entry in opinions))
    ends = wilson_interval(count, total)
    return Mistakes(count, total, count / total, ends, ends[1])


_Counted = tuple[dict[int, int], dict[tuple[int, int], int], int]
"""labels by class, mistakes by (labelled, detected), and mistakes that are not listed"""


def _detected(evidence: Evidence) -> _Counted | None:
    evaluation = evidence.evaluation
    errors = evaluation.error_types if evaluation is not None else None
    if evaluation is None or errors is None:
        return None
    mistakes = {(entry.labelled, entry.detected): entry.count for entry in errors.confusions}
    labels = {entry.class_id: entry.instances for entry in evaluation.per_class}
    return labels, mistakes, max(0, errors.confused - sum(mistakes.values()))


def _classified(evidence: Evidence, support: ClassSupport) -> _Counted | None:
    """The same of a classifier, whose mistakes are listed by name; any that are not listed are not counted."""
    facts = evidence.classification
    if facts is None:
        return None
    ids = {name: index for index, name in support.names.items()}
    mistakes = {
        (ids[entry.labelled], ids[entry.predicted]): entry.images
        for entry in facts.confusions
        if entry.labelled in ids and entry.predicted in ids
    }
    labels = {entry.class_id: entry.images for entry in facts.per_class}
    wrong = sum(entry.images - entry.correct for entry in facts.per_class)
    return labels, mistakes, max(0, wrong - sum(entry.images for entry in facts.confusions))


def told_apart(evidence: Evidence, mistakes: Mistakes | None, affected: list[int], share: float) -> bool:
    """Whether the classes are told apart, by the best evidence that there is; False where there is none.

    By the counted mistakes, if their interval lies on one side of the line. Else by the classes' own AP50, else by the
    run's best mAP50: with all other classes at 1 it can be no more than 1 - share * (1 - confused).
    """
    if mistakes is not None and mistakes.at_most < LIMITS.mistaken:
        return True
    if mistakes is not None and mistakes.ci95[0] >= LIMITS.mistaken:
        return False
    own = _own_map50(evidence, affected)
    if own:
        return float(np.mean(own)) > LIMITS.confused
    best = best_map50(evidence)
    return best is not None and best > 1.0 - share * (1.0 - LIMITS.confused)


def _own_map50(evidence: Evidence, affected: list[int]) -> list[float]:
    """AP50 of the affected classes that can be judged by it."""
    judged = evidence.evaluation.per_class if evidence.evaluation is not None else ()
    enough = [entry for entry in judged if entry.class_id in affected and entry.instances >= LIMITS.judged]
    return [entry.map50 for entry in enough if entry.map50 is not None]


def told_evidence(evidence: Evidence, mistakes: Mistakes | None, affected: list[int]) -> tuple[Measurement, ...]:
    """What `told_apart` decided by, as evidence."""
    items = []
    if mistakes is not None:
        items.append(
            Measurement(
                "share of their labels that are detected as the opposite",
                round(mistakes.share, 4),
                LIMITS.mistaken,
                mistakes.ci95,
                mistakes.labels,
            )
        )
    own, best = _own_map50(evidence, affected), best_map50(evidence)
    if own:
        mean = round(float(np.mean(own)), 4)
        items.append(Measurement("mean AP50 of these classes", mean, LIMITS.confused, n=len(own)))
    elif best is not None:
        items.append(Measurement("best mAP50", round(best, 4)))
    return tuple(items)


def confusion_impact(evidence: Evidence, affected: list[int]) -> Impact:
    """What telling the affected classes apart would add to the mean.

    By TIDE's oracle, which puts wrong classes right (AP50), where it was computed; else what these classes lack against
    the mean of the others, which differ in more than that.
    """
    evaluation = evidence.evaluation
    if evaluation is None:
        return Impact("lowers")
    if evaluation.error_types is not None and evaluation.error_types.per_class:
        entries = evaluation.error_types.per_class
        gains = [entry.d_ap.get("cls") or 0.0 for entry in entries if entry.class_id in affected]
        gain = min(1.0, max(0.0, sum(gains) / len(entries)))
        return Impact("lowers", gain, None, "oracle", "map50") if gain > 0 else Impact("lowers")
    values = {entry.class_id: entry.map50_95 for entry in evaluation.per_class if entry.map50_95 is not None}
    own = [value for index, value in values.items() if index in affected]
    others = [value for index, value in values.items() if index not in affected]
    if not own or not others:
        return Impact("lowers")
    lacking = (float(np.mean(others)) - float(np.mean(own))) * len(own) / len(values)
    return Impact("lowers", lacking, None, "observational") if 0 < lacking <= 1 else Impact("lowers")
