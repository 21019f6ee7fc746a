"""What the review of labels found to be wrong, one issue each: errors by kind, habits, disagreement of annotators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import NO_IMPACT
from runaudit.diagnostics.evidence import Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.review_remedies import CORRECT, LOOK, rewriting
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.label_facts import BoxHabitFacts, LabelErrorRate, LabelQualityFacts, SuspectKind
from runaudit.runs.facts import AgreementFacts, DatasetFacts


@dataclass(frozen=True)
class Thresholds:
    confidence: float = threshold(
        0.67,
        "Mean confidence of the surest true positives (rank 0.7 or more), below which a model is too weak to "
        "contradict "
        "a label. It was 0.70 to 0.92 in ten sets and models whose labels raised no alarm (mAP50 of 0.55 to 0.96), and "
        "0.01 to 0.65 in seven that would have (mAP50 of 0.00 to 0.73; the labels of five of these are right, of two "
        "not verified).",
    )
    precision: float = threshold(
        0.35,
        "Share of the detections as sure as those that agree with a label, below which the model is not asked either. "
        "It was 0.01 to 0.27 in three trainings on photographs that were cut short, had few epochs or too high a rate, "
        "two of which else contradict a seventh to a fifth of their right labels; 0.44 to 0.71 in good models where 30 "
        "to 50 % of the labels were dropped, moved or given another class.",
    )
    contradicted: float = threshold(
        0.01,
        "Lower end of the rate of overlooked, swapped or misplaced labels. None of 240 clean sets reached it (Wilson: "
        "at most 1.6 %): 100 images each, easy, small, dark, small and dark, very dark or crowded, drawn from sets of "
        "200 "
        "or 400 rendered images. Nor did COCO128 with three YOLOv5n. Of planted 5, 10 and 20 % it finds 45, 93 and "
        "100 % (n = 60 each).",
    )
    unsupported: float = threshold(
        0.01,
        "Lower end of the rate of spurious or duplicated labels. None of the same sets reached it. Of planted 5, 10 "
        "and "
        "20 % it finds all of duplicated (n = 20 each). Spurious boxes of a tenth to a quarter of "
        "the image's sides: found in 5 of 5 planted sets, with a rate of 0.11, 0.18 and 0.30 where 0.13, 0.20 and 0.33 "
        "were planted (the example, on which the method was tried), and of 0.14 and 0.26 where about 0.24 and 0.32 "
        "were (signs, held out: the smallest labels are not judged); none in 8 sets of right labels, of which 3 were "
        "darkened until nothing was seen of up to 5 % of the objects (highest lower end 0.000).",
    )
    at_stake: float = threshold(0.02, "The report contract's 2 points of mAP50-95: major from there.")
    scale: float = threshold(
        0.1,
        "Interval of the logarithm of label over detection, width or height, wholly beyond. Its nearer end was at most "
        "0.022 on right labels of 25 clean runs on four rendered sets (20 draws each of 30, 60 and 100 of 400 images), "
        "0.070 where their pictures were cut to 0.6 of the sides, so that many objects end at the border (of 200), and "
        "0.068 in 45 trainings with a fault, where they were sure enough to be asked (468 of 675 draws of 150). "
        "Objects at half the size that was trained: at most 0.040 where they measure 10 to 14 pixels, but 0.153 where "
        "they measure 7 (mAP50 of 0.3), whose right labels are called tight. Labels 1.15 times as large are found in "
        "497, 500 and 500 of 500 draws of 30, 60 and 100 images, 1.25 and 1.4 times as large in all; in the cut "
        "pictures in all of 60 and 100, and in 240 of 330 of 30, the others having too few boxes.",
    )
    class_scale: float = threshold(
        0.2,
        "The same of one class: at most 0.048 over 3951 classes of the draws as rendered, 0.077 over 1499 of the cut "
        "pictures, 0.140 over 1146 of the trainings with a fault.",
    )
    offset: float = threshold(
        0.06,
        "Interval of the offset of the label's centre over the detection's side, wholly beyond. At most 0.015 over "
        "the draws as rendered and their classes, 0.025 in the cut pictures, 0.020 in the trainings with a fault.",
    )
    contrast: float = threshold(
        0.04,
        "Lower end of how much more often the detections of training images contradict its labels than equally sure "
        "ones those of validation. Of 79 trainings on rendered images with right labels the 25 healthy ones reached "
        "0.002, the faulty ones 0.008, but for 0.021 of one of which rare classes had been painted over and 0.025 of a "
        "network far too small for a crowd; of 11 on photographs the highest was 0.016. Of five on photographs with "
        "wrong training labels it was 0.38 and 0.45 where 60 % had been left out, 0.10 and 0.21 where 35 % had another "
        "class, and -0.006 (missed) where all were drawn carelessly.",
    )
    contrast_grave: float = threshold(
        0.06, "Twice what any right labels showed, and less than any wrong ones that were found."
    )
    alpha: float = threshold(
        0.667, "Krippendorff's alpha below which no conclusion is safe (Content Analysis, 2004, chapter 11): major."
    )
    alpha_good: float = threshold(0.8, "The same source: reliable from there.")
    agreement_objects: int = threshold(50, "diagnostics.md C5: objects that two annotators are compared on.")


LIMITS: Final = Thresholds()
SHOWN: Final = 5
IMAGES: Final = 50
"""images named in a finding; the review queue has the rest"""


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong. `weight` orders issues of one severity: the mAP at stake, else the rate."""

    severity: Severity
    title: str
    explanation: str
    evidence: tuple[Measurement, ...]
    remedies: tuple[Remedy, ...]
    effect: float
    ci95: Interval | None
    n: int
    impact: Impact = NO_IMPACT
    classes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def weight(self) -> float:
        return self.impact.value if self.impact.value is not None else 0.0


_SAID: Final[dict[SuspectKind, tuple[str, str]]] = {
    "overlooked": (
        "of the objects have no label",
        "The model sees objects there as surely as those that are labelled.",
    ),
    "spurious": (
        "of the labels have no object",
        "The model finds nothing there, not even at the lowest confidence, while it finds what is of the same size.",
    ),
    "swapped": (
        "of the labels have the wrong class",
        "The model sees another class there, as surely as where it agrees with the labels.",
    ),
    "misplaced": (
        "of the labels lie beside their object",
        "The model sees the class surely, with an IoU below 0.5 to the label.",
    ),
    "duplicated": (
        "of the labels are the second one of their object",
        "Two labels share a box; NMS leaves one detection, so that the other label is always missed.",
    ),
}


def limit_of(kind: SuspectKind) -> float:
    return LIMITS.unsupported if kind in ("spurious", "duplicated") else LIMITS.contradicted


def failing(rate: LabelErrorRate) -> bool:
    """Whether the rate is above what clean labels show, for sure."""
    return rate.ci95 is not None and rate.ci95[0] > limit_of(rate.kind)


def labels_are_missing(evidence: Evidence) -> bool:
    """Whether objects without a label are suspected in training, or in validation and so in training."""
    if any(entry.kind == "overlooked" and entry.ci95[0] >= LIMITS.contrast for entry in evidence.label_contrast):
        return True
    quality = evidence.evaluation.label_quality if evidence.evaluation is not None else None
    return quality is not None and any(rate.kind == "overlooked" and failing(rate) for rate in quality.rates)


def error_issues(evidence: Evidence, quality: LabelQualityFacts) -> list[Issue]:
    """One issue a kind of error that is above what clean labels show."""
    wrong = [rate for rate in quality.rates if failing(rate)]
    impact = cost_of_suspects(evidence)
    names = evidence.dataset.names if evidence.dataset is not None else {}
    severity: Severity = "minor"
    if impact.value is not None and impact.value >= LIMITS.at_stake and (impact.ci95 is None or impact.ci95[0] > 0):
        severity = "major"
    issues = []
    for rate in wrong:
        share, why = _SAID[rate.kind]
        worst = sorted(rate.classes, key=lambda index: (-rate.classes[index], index))
        issues.append(
            Issue(
                severity,
                f"{_percent(rate.rate)} {share}",
                why,
                (measured(rate),),
                _REMEDIES[rate.kind],
                rate.rate or 0.0,
                rate.ci95,
                rate.n,
                impact,
                tuple(names.get(index, str(index)) for index in worst[:SHOWN]),
            )
        )
    return sorted(issues, key=lambda issue: -issue.effect)


def cost_of_suspects(evidence: Evidence) -> Impact:
    """What correcting the suspects gains beyond what the same does to confirmed labels at random, or, where that is
    more, what spurious labels cost by their rate.

    The ends of both intervals are combined as if they had nothing in common, which makes the interval too wide.
    """
    corrected, rated = _cost_by_correction(evidence), _cost_of_spurious(evidence)
    if rated.value is None or (corrected.value is not None and corrected.value >= rated.value):
        return corrected
    return rated


def _cost_of_spurious(evidence: Evidence) -> Impact:
    """What labels without an object cost by their rate r, which only some of them can be named for.

    No detection finds them, so that recall ends at 1 - r and every precision-recall curve is that much shorter: without
    them mAP is mAP / (1 - r). Of the labels, only those that were judged count; the others may all be right.
    """
    evaluation = evidence.evaluation
    quality = evaluation.label_quality if evaluation is not None else None
    spurious = [rate for rate in (quality.rates if quality is not None else ()) if rate.kind == "spurious"]
    if evaluation is None or not spurious or not failing(spurious[0]) or not evaluation.instances:
        return NO_IMPACT
    rate, ends = spurious[0].rate, spurious[0].ci95
    if rate is None or ends is None:
        return NO_IMPACT
    judged = min(1.0, spurious[0].n / evaluation.instances)
    measured_now = evaluation.metrics.map50_95
    value, low, high = (
        min(1.0 - measured_now, measured_now * share * judged / (1.0 - share * judged)) if share * judged < 1 else 0.0
        for share in (rate, *ends)
    )
    return Impact("lowers", value, (low, high), "observational")


def _cost_by_correction(evidence: Evidence) -> Impact:
    gain, sham = named(evidence, "suspects_corrected"), named(evidence, "random_corrected")
    if gain is None:
        return NO_IMPACT
    alike, alike_ends = (sham.difference, sham.ci95) if sham is not None else (0.0, (0.0, 0.0))
    value = max(0.0, gain.difference - alike)
    ends = None
    if gain.ci95 is not None and alike_ends is not None:
        ends = (max(0.0, min(value, gain.ci95[0] - alike_ends[1])), max(value, gain.ci95[1] - alike_ends[0]))
    return Impact("lowers", value, ends, "oracle")


def measured(rate: LabelErrorRate) -> Measurement:
    return Measurement(
        f"estimated rate of {rate.kind} labels"
        if rate.kind != "overlooked"
        else "estimated rate of overlooked objects",
        round(rate.rate, 4) if rate.rate is not None else None,
        limit_of(rate.kind),
        rate.ci95,
        rate.n,
    )


def habit_issues(evidence: Evidence, quality: LabelQualityFacts) -> list[Issue]:
    """Labels that are looser, tighter or shifted throughout, or in one class."""
    overall = next((habit for habit in quality.habits if habit.class_id is None), None)
    if overall is not None and _beyond(overall, LIMITS.scale):
        return [_habit_issue(evidence, overall)]
    names = evidence.dataset.names if evidence.dataset is not None else {}
    single = [habit for habit in quality.habits if habit.class_id is not None and _beyond(habit, LIMITS.class_scale)]
    if not single:
        return []
    shown = tuple(names.get(habit.class_id or 0, str(habit.class_id)) for habit in single)
    return [
        Issue(
            "minor",
            f"Labels of {', '.join(shown[:SHOWN])} are {_described(single[0])}",
            "Sure detections of the class have other boxes, those of the other classes the labels' own.",
            tuple(entry for habit in single[:SHOWN] for entry in _habit_evidence(habit, shown[single.index(habit)])),
            (_DRAW_ALIKE,),
            _strength(single[0]),
            None,
            single[0].boxes,
            classes=shown,
        )
    ]


def _habit_issue(evidence: Evidence, habit: BoxHabitFacts) -> Issue:
    change = named(evidence, "box_habit_corrected")
    impact = NO_IMPACT
    severity: Severity = "minor"
    if change is not None:
        low, high = change.ci95 or (change.difference, change.difference)
        value = max(0.0, change.difference)
        impact = Impact("lowers", value, (max(0.0, low), max(0.0, high)), "intervention")
        severity = "major" if change.difference >= LIMITS.at_stake and low > 0 else "minor"
    return Issue(
        severity,
        f"Validation labels are {_described(habit)}, all alike",
        "Measured against sure detections of the same objects. The model draws boxes as its training labels had them, "
        "so "
        "that validation was labelled by another habit, or its boxes were written or read by another rule.",
        _habit_evidence(habit, ""),
        (_correction(habit), _DRAW_ALIKE),
        _strength(habit),
        None,
        habit.boxes,
        impact,
    )


def _log(ends: Interval) -> Interval:
    return math.log(ends[0]), math.log(ends[1])


def _outside(ends: Interval, limit: float) -> bool:
    return ends[0] > limit or ends[1] < -limit


def _beyond(habit: BoxHabitFacts, scale: float) -> bool:
    return _scaled(habit, scale) or _shifted(habit)


def _scaled(habit: BoxHabitFacts, limit: float) -> bool:
    return _outside(_log(habit.width_ci95), limit) or _outside(_log(habit.height_ci95), limit)


def _shifted(habit: BoxHabitFacts) -> bool:
    return _outside(habit.right_ci95, LIMITS.offset) or _outside(habit.down_ci95, LIMITS.offset)


def _strength(habit: BoxHabitFacts) -> float:
    return max(abs(math.log(habit.width)), abs(math.log(habit.height)), abs(habit.right), abs(habit.down))


def _described(habit: BoxHabitFacts) -> str:
    """Such as `1.20 times as wide and 1.18 times as high as the objects`."""
    parts = []
    if _scaled(habit, LIMITS.scale):
        parts.append(f"{habit.width:.2f} times as wide and {habit.height:.2f} times as high as the detected objects")
    if _shifted(habit):
        parts.append(
            f"shifted by {habit.right:+.2f} of the width to the right and {habit.down:+.2f} of the height down"
        )
    return " and ".join(parts)


def _habit_evidence(habit: BoxHabitFacts, name: str) -> tuple[Measurement, ...]:
    of = f" ({name})" if name else ""
    upper = round(math.exp(LIMITS.class_scale if name else LIMITS.scale), 3)
    return (
        Measurement(f"width of label over detection{of}", round(habit.width, 3), upper, habit.width_ci95, habit.boxes),
        Measurement(
            f"height of label over detection{of}", round(habit.height, 3), upper, habit.height_ci95, habit.boxes
        ),
        Measurement(f"offset to the right{of}", round(habit.right, 3), LIMITS.offset, habit.right_ci95, habit.boxes),
        Measurement(f"offset down{of}", round(habit.down, 3), LIMITS.offset, habit.down_ci95, habit.boxes),
    )


def _correction(habit: BoxHabitFacts) -> Remedy:
    return Remedy(
        "Take the constant off the validation labels, after looking at some",
        "One scale and one offset for all boxes. If it is training that was labelled loosely, correct that instead and "
        "train again.",
        code=correction_code(habit),
    )


def correction_code(habit: BoxHabitFacts) -> str:
    """Python that takes the habit off label files, edge by edge, each over the side that is left."""
    wider, higher = (habit.width - 1) / 2, (habit.height - 1) / 2
    return _CORRECT.format(
        left=wider - habit.right, top=higher - habit.down, right=wider + habit.right, bottom=higher + habit.down
    )


def disagreement_issues(dataset: DatasetFacts | None) -> list[Issue]:
    """Pairs of label sets that agree too little."""
    pairs = [entry for entry in (dataset.agreement if dataset is not None else ()) if entry.class_id is None]
    return [
        _disagreement(entry, dataset)
        for entry in pairs
        if dataset is not None
        and entry.alpha is not None
        and entry.alpha < LIMITS.alpha_good
        and entry.matched + entry.only_first + entry.only_second >= LIMITS.agreement_objects
    ]


def _disagreement(entry: AgreementFacts, dataset: DatasetFacts) -> Issue:
    alpha = entry.alpha if entry.alpha is not None else 0.0
    objects = entry.matched + entry.only_first + entry.only_second
    classes = sorted(
        (
            other
            for other in dataset.agreement
            if other.class_id is not None and (other.first, other.second) == (entry.first, entry.second)
        ),
        key=lambda other: (other.found, other.class_id),
    )
    return Issue(
        "major" if alpha < LIMITS.alpha else "minor",
        f"`{entry.first}` and `{entry.second}` agree with an alpha of {alpha:.2f} only",
        f"Of {objects} objects, {entry.matched} are in both, {entry.only_first} only in `{entry.first}` and "
        f"{entry.only_second} only in `{entry.second}`. No model can be measured better than its labels agree.",
        agreement_evidence(entry),
        (_AGREE,),
        1 - alpha,
        None,
        objects,
        classes=tuple(dataset.names.get(other.class_id or 0, str(other.class_id)) for other in classes[:SHOWN]),
    )


def agreement_evidence(entry: AgreementFacts) -> tuple[Measurement, ...]:
    """The measures of two label sets."""
    names, objects = f"{entry.first} and {entry.second}", entry.matched + entry.only_first + entry.only_second
    values = (
        ("Krippendorff's alpha", entry.alpha, LIMITS.alpha_good, None, objects),
        ("F1 of objects", entry.found, None, entry.found_ci95, objects),
        ("same class", entry.same_class, None, None, entry.matched),
        ("Cohen's kappa", entry.kappa, None, None, entry.matched),
        ("mean IoU", entry.mean_iou, None, None, entry.matched),
    )
    return tuple(
        Measurement(f"{names}: {name}", round(value, 4), limit, ends, n)
        for name, value, limit, ends, n in values
        if value is not None
    )


def _percent(value: float | None) -> str:
    return f"{100 * (value or 0.0):.1f} %"


_CORRECT: Final = rewriting(
    "class, x, y, width and height can be corrected",
    "x, y, width, height",
    "edges = x - width / 2, y - height / 2, x + width / 2, y + height / 2",
    "# A label that ends at the border of the image was cut off there, and still does.",
    "loose = zip(edges, ({left:.4f}, {top:.4f}, {right:.4f}, {bottom:.4f}))",
    "left, top, right, bottom = (much if 0.01 < edge < 0.99 else 0 for edge, much in loose)",
    "width, height = width / (1 + left + right), height / (1 + top + bottom)",
    "x, y = x - (right - left) / 2 * width, y - (bottom - top) / 2 * height",
)
_DEDUPLICATE: Final = """\
import shutil
from pathlib import Path

def iou(a, b):
    def side(i):
        ends = min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
        return max(0.0, ends - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2))
    shared = side(0) * side(1)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)

shutil.copytree('dataset/labels', 'dataset/labels_before')
for path in sorted(Path('dataset/labels').rglob('*.txt')):
    kept = []
    for line in filter(str.strip, path.read_text().splitlines()):
        cls, *values = line.split()
        if len(values) != 4:
            raise SystemExit(f'{path}: only rows of class, x, y, width and height can be compared so')
        box = list(map(float, values))
        if not any(cls == other and iou(box, theirs) >= 0.8 for other, theirs, _ in kept):
            kept.append((cls, box, line))
    path.write_text(''.join(f'{line}\\n' for _, _, line in kept))
"""
_REVIEW: Final = "The report's review queue names image, box and suggestion, those first on which most mAP hangs."
_DRAW_ALIKE: Final = Remedy(
    "Label training and validation by one rule",
    "Tight around what is visible, or around the whole object: either will do, if it is the same in both.",
    reference="https://docs.ultralytics.com/yolov5/tutorials/tips_for_best_training_results/",
)
_AGREE: Final = Remedy(
    "Settle the guideline on the objects they differ in, and label again",
    "Classes that are mixed up need a definition with pictures; objects that one leaves out need a rule for size and "
    "occlusion.",
)
_TRAINING_TOO: Final = Remedy(
    "Look at the training labels, too",
    "They come from the same hands. Detectors bear wrong labels in training better than a metric bears them in "
    "validation (diagnostics.md C4), so begin with validation.",
)
_REMEDIES: Final[dict[SuspectKind, tuple[Remedy, ...]]] = {
    "overlooked": (
        Remedy("Review the suspects and label what was overlooked", _REVIEW),
        LOOK,
        CORRECT,
        _TRAINING_TOO,
        Remedy("No focal loss meanwhile", "It raises the weight of objects without a label most (SAFECOMP 2021)."),
    ),
    "spurious": (
        Remedy("Review the suspects and delete labels without an object", _REVIEW),
        LOOK,
        CORRECT,
        _TRAINING_TOO,
    ),
    "swapped": (
        Remedy("Review the suspects and correct their classes", _REVIEW),
        LOOK,
        CORRECT,
        _TRAINING_TOO,
    ),
    "misplaced": (
        Remedy("Review the suspects and draw their boxes again", _REVIEW),
        LOOK,
        CORRECT,
        _TRAINING_TOO,
    ),
    "duplicated": (
        Remedy(
            "Delete second labels of an object",
            "ultralytics drops rows that are equal to the last digit, nothing else.",
            code=_DEDUPLICATE,
        ),
    ),
}
