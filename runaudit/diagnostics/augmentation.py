"""Does augmentation destroy the labels' meaning (mirrored left and right classes, say), or is it absent?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics import overfitting
from runaudit.diagnostics.answers import inconclusive, not_run, passed
from runaudit.diagnostics.changed_meaning import LIMITS as MEANING
from runaudit.diagnostics.changed_meaning import Thresholds as MeaningThresholds
from runaudit.diagnostics.changed_meaning import changes, confusion, flip_index, place_of, value_of, writing
from runaudit.diagnostics.class_support import ClassSupport, support_of
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Measurement, Remedy
from runaudit.diagnostics.history import history_of, number
from runaudit.diagnostics.opposite_names import opposite_pairs
from runaudit.diagnostics.parts import Part, joined, present
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import RunFacts

CAUSE: Final = "augmentation"


@dataclass(frozen=True)
class Thresholds:
    images_a_class: float = threshold(
        1500.0, "Training images a class from which YOLOv5's own advice calls a data set large enough (yolo.md E)."
    )
    perspective: float = threshold(0.001, "The largest value of the range that ultralytics' documentation gives.")
    scale: float = threshold(1.0, "Images are scaled by 1 - scale to 1 + scale: from here on down to nothing.")
    loose_degrees: float = threshold(
        45.0,
        "Degrees of rotation: the upright box around a turned box overlaps a round object's own by 0.64 on average "
        "then (1 / (1 + |sin 2a|) for a square; ultralytics and YOLOv5 turn boxes, not objects: yolo.md row 28).",
    )
    loose_ratio: float = threshold(
        0.5,
        "mAP50-95 over mAP50 of the best epoch below which boxes are badly placed: of the corpus' 42 detection runs "
        "with mAP50 above 0.3, read and not fitted to, 8 lie below it, 7 of them trained on 10 images or fewer.",
    )
    meaning: MeaningThresholds = MEANING


LIMITS = Thresholds()

_ABSENT: Final = ("mosaic", "fliplr", "scale", "translate", "hsv_h", "hsv_s", "hsv_v")
"""What both families' defaults switch on; where all of it is 0, nothing varies the images."""
_FURTHER: Final = ("flipud", "degrees", "shear", "perspective", "mixup", "cutmix", "copy_paste", "bgr")
_DEFAULTS: Final[dict[str, float]] = {
    "mosaic": 1.0,
    "fliplr": 0.5,
    "scale": 0.5,
    "translate": 0.1,
    "hsv_h": 0.015,
    "hsv_s": 0.7,
    "hsv_v": 0.4,
}


def examine(evidence: Evidence) -> CheckResult:
    run = evidence.run
    if not any(run.argument(key) is not None for key in (*_ABSENT, *_FURTHER)):
        return not_run(CAUSE, "Neither args.yaml nor hyp.yaml nor the checkpoint tells how images were augmented.")
    support = support_of(evidence)
    parts = present(
        (
            *(confusion(evidence, change, support) for change in changes(run)),
            writing(evidence, support),
            flip_index(evidence),
            _absent(evidence),
            *_extremes(evidence),
        )
    )
    if parts:
        return joined(CAUSE, parts)
    return _sound(evidence, support)


def _absent(evidence: Evidence) -> Part | None:
    """No augmentation at all, on a training split that is not large."""
    run = evidence.run
    if run.task == "classify" or not _nothing_varies(run):
        return None
    train = evidence.dataset.splits.get("train") if evidence.dataset is not None else None
    classes = sum(count > 0 for count in train.class_instances) if train is not None else 0
    if train is None or classes == 0 or train.images >= LIMITS.images_a_class * classes:
        return None
    overfitted = overfitting.examine(evidence).finding
    return Part(
        "minor",
        f"All augmentation is switched off, with {train.images} training images",
        "The same pixels are shown in every epoch, which a network learns by heart. "
        + ("Whether it cost mAP is not known." if overfitted is None else f"See overfitting: {overfitted.title}."),
        (
            Measurement(
                "training images a class",
                round(train.images / classes, 1),
                LIMITS.images_a_class,
                n=train.images,
                source=train.source,
            ),
            Measurement("mosaic", value_of(run, "mosaic"), source=place_of(run, "mosaic")),
            Measurement("fliplr", value_of(run, "fliplr"), source=place_of(run, "fliplr")),
            Measurement("scale", value_of(run, "scale"), source=place_of(run, "scale")),
        ),
        (
            Remedy(
                "Augment as the framework does by default",
                "Mosaic, scale and colour cost nothing where the objects' meaning survives them. fliplr only where no "
                "class has a side.",
                dict(_DEFAULTS),
            ),
        ),
        effect=1.0,
        n=train.images,
    )


def _nothing_varies(run: RunFacts) -> bool:
    """All of the usual augmentations are stated, and are 0; mosaic also is where it is closed before it begins."""
    stated = [key for key in _ABSENT if run.argument(key) is not None]
    # A range is no number and switches its augmentation on.
    off = [key for key in stated if number(run.argument(key), 1.0) == 0 or (key == "mosaic" and _mosaic_never(run))]
    further = any(value_of(run, key) > 0 for key in _FURTHER)
    return len(stated) == len(_ABSENT) and off == stated and not further


def _mosaic_never(run: RunFacts) -> bool:
    close = value_of(run, "close_mosaic")
    return bool(run.epochs_planned) and close >= (run.epochs_planned or 0) > 0


def _extremes(evidence: Evidence) -> tuple[Part | None, ...]:
    run = evidence.run
    return (
        _beyond(run, "perspective", LIMITS.perspective, "It bends images far beyond what any camera does.", 0.0005),
        _beyond(run, "scale", LIMITS.scale, "Some images are shrunk to nothing, and their boxes with them.", 0.5),
        _loose(evidence),
    )


def _beyond(run: RunFacts, key: str, most: float, why: str, proposed: float) -> Part | None:
    value = value_of(run, key)
    if run.task == "classify" or value < most or (key == "perspective" and value == most):
        return None
    return Part(
        "minor",
        f"{key}={value:g} is beyond any useful value",
        why,
        (Measurement(key, value, threshold=most, source=place_of(run, key)),),
        (Remedy(f"Train with {key}={proposed:g}", "Within the range that the framework documents.", {key: proposed}),),
        effect=value,
    )


def _loose(evidence: Evidence) -> Part | None:
    """Strong rotation of plain boxes, together with badly placed boxes. Boxes are turned, not objects."""
    run, degrees = evidence.run, value_of(evidence.run, "degrees")
    history = history_of(run)
    if run.task != "detect" or degrees < LIMITS.loose_degrees or history is None or run.best_row is None:
        return None
    pair = [history.curves.metrics.get(key, ()) for key in ("map50_95", "map50")]
    strict, lenient = (number(column[run.best_row], 0.0) if run.best_row < len(column) else 0.0 for column in pair)
    if lenient <= 0.3 or strict / lenient >= LIMITS.loose_ratio:
        return None
    return Part(
        "minor",
        f"degrees={degrees:g} loosens the boxes, and the model places boxes badly",
        "The upright box around a turned box is larger than the turned object, and the model learns such boxes.",
        (
            Measurement("mAP50-95 over mAP50 of the best epoch", round(strict / lenient, 4), LIMITS.loose_ratio),
            Measurement("degrees", degrees, LIMITS.loose_degrees, source=place_of(run, "degrees")),
        ),
        (Remedy("Turn images less", "Or label outlines: of polygons the turned box stays tight.", {"degrees": 10.0}),),
        effect=strict / lenient,
        n=history.size,
    )


def _sound(evidence: Evidence, support: ClassSupport) -> CheckResult:
    run = evidence.run
    if not support.names:
        return inconclusive(
            CAUSE,
            "Neither data nor checkpoint tell the classes' names, so that nobody can say if flips keep their meaning.",
        )
    if run.task != "classify" and _nothing_varies(run) and evidence.dataset is None:
        return inconclusive(
            CAUSE, "All augmentation is switched off; whether the training split is too small for that is not known."
        )
    flips = ", ".join(f"{key}={value_of(run, key):g}" for key in ("fliplr", "flipud", "degrees", "mosaic"))
    pairs = {change.argument for change in changes(run) if opposite_pairs(support.names, change.change)}
    if pairs:
        return passed(
            CAUSE,
            f"Class names come in pairs that {' and '.join(sorted(pairs))} would exchange, but the model tells them "
            f"apart better than it could if they were the same to it ({flips}).",
            effect=0.0,
            n=support.classes,
        )
    return passed(
        CAUSE,
        f"No two of the {support.classes} classes are each other's mirror image by their names ({flips}).",
        effect=0.0,
        n=support.classes,
    )


CHECK = Check(
    cause=CAUSE,
    title="Augmentation",
    question=__doc__ or "",
    statistic=(
        "Class names that differ only in left and right (in some twenty languages, arrows and letters b, d, p, q "
        "included), in up and down, or in a colour, held against fliplr, flipud, degrees and hsv_h. It is refuted "
        "where the model seldom takes the one for the other or, where that was not counted, where the classes' AP50, "
        "or else the run's best mAP50, is higher than confusing them would allow. flip_idx must be its own inverse. "
        "Absent: mosaic, fliplr, scale, translate and hsv_* all 0 on a small training split. Extremes: perspective and "
        "scale beyond their range; strong rotation together with badly placed boxes."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Names of sides may mean a place (the left lane) that a mirrored image has as well, or garments (top, bottom).",
        "Nobody looked at the images: the finding rests on names and arguments.",
        "Augmentation that is done offline, in the images themselves, is not seen.",
        "Measured on the corpus (read and not fitted to): no finding in 70 runs by their curves alone, of which few "
        "tell their classes, and none in the 13 whose data (three sets) are there.",
    ),
    references=(
        "ultralytics issues 3109, 2414, 5332; YOLOv5 issues 2520, 2164 (yolo.md row 51)",
        "ultralytics data/augment.py v8_transforms: flips without flip_idx",
    ),
    examine=examine,
)
