"""Facts read off the matches of one pass: errors by type, sizes, thresholds, calibration and LRP."""

from __future__ import annotations

from typing import Literal

from runaudit.runs.facts import Facts

Interval = tuple[float, float]
"""lower and upper end of a 95 % confidence interval"""

ErrorKind = Literal["cls", "loc", "both", "dupe", "bkg", "miss", "false_positives", "false_negatives"]
"""TIDE's types: wrong class, misplaced, both, duplicate, background, missed; then all wrong boxes, all lost labels"""


class ErrorCost(Facts):
    """How many errors of one kind there are, and the AP at IoU 0.5 that putting them right would add.

    `d_ap_ci95` is of replicates that resample images.
    `count` is among all detections that were kept, `count_at_threshold` among those of at least
    `ErrorTypesFacts.threshold`. The `d_ap` of several kinds don't add up.
    """

    kind: ErrorKind
    d_ap: float
    d_ap_ci95: Interval | None = None
    count: int
    count_at_threshold: int


class ClassErrors(Facts):
    """AP at IoU 0.5 of one class and what each kind costs it; None where no label of it is left by the fix."""

    class_id: int
    map50: float
    d_ap: dict[ErrorKind, float | None]


class ClassConfusion(Facts):
    """Detections of class `detected` on labels of class `labelled`, right in place and wrong in class."""

    labelled: int
    detected: int
    count: int


class ErrorTypesFacts(Facts):
    """TIDE's decomposition of AP at `foreground` IoU, over up to `max_detections` an image of at least `confidence`.

    `map50` is AP at that IoU, 101 points, the mean over classes with labels. `confusions` are the most frequent ones
    at `threshold`, falling; `confused` counts all of them.
    """

    foreground: float
    background: float
    max_detections: int
    confidence: float
    threshold: float
    map50: float
    errors: tuple[ErrorCost, ...]
    per_class: tuple[ClassErrors, ...]
    confusions: tuple[ClassConfusion, ...] = ()
    confused: int = 0


class SizeMetrics(Facts):
    """COCO's AP of the labels of one size: `all`, `small`, `medium`, `large`.

    By the area of their boxes in the image as decoded, from `least` to `most` square pixels, up to 100 detections an
    image and class. Means over the classes with such labels, None without any. They differ from the framework's mAP by
    its interpolation, and by up to 300 detections an image.
    """

    size: Literal["all", "small", "medium", "large"]
    least: float
    most: float | None
    labels: int
    map50_95: float | None
    map50: float | None
    map75: float | None
    recall: float | None


class ThresholdChoice(Facts):
    """The confidence of the best F1, and what the framework's default threshold loses to it.

    `f1` is at `threshold`, `f1_default` at the default; `lost` is the difference, with the interval of replicates at
    the same two thresholds. `threshold_ci95` is of the best thresholds of replicates.
    """

    threshold: float
    threshold_ci95: Interval | None
    f1: float
    f1_ci95: Interval | None
    f1_default: float
    lost: float
    lost_ci95: Interval | None


class ClassThreshold(Facts):
    """The choice for one class with labels; None where no threshold finds any of them."""

    class_id: int
    instances: int
    choice: ThresholdChoice | None


class ThresholdFacts(Facts):
    """Confidence thresholds by F1 at IoU 0.5, the mean over classes with labels.

    `cross_fitted...` are F1 measured on images other than those the thresholds were chosen on, by random halves: with
    one threshold for all classes, with one for each class, and with the default.
    """

    default: float
    overall: ThresholdChoice
    per_class: tuple[ClassThreshold, ...]
    cross_fitted: float
    cross_fitted_by_class: float
    cross_fitted_default: float


class CalibrationBin(Facts):
    """Detections of confidence `lower` up to `upper`, with their mean confidence and the share that is right."""

    lower: float
    upper: float
    detections: int
    confidence: float
    precision: float


class CalibrationErrorFacts(Facts):
    """An error of confidence in [0, 1].

    `error` as defined; `by_chance` is what a calibrated model would show on average here, `chance95` what it would
    exceed in 5 of 100 samples; `corrected` is `error` less what chance adds to it, with its interval over images.
    """

    bins: int
    error: float
    by_chance: float
    chance95: float
    corrected: float
    ci95: Interval | None
    detections: int


class CalibrationFacts(Facts):
    """Calibration of the detections of at least `confidence`, a detection being right at `iou`.

    `d_ece` compares confidence with precision, `la_ece` with precision times overlap, for each class. `overconfidence`
    is mean confidence less precision, in [-1, 1]. `reliability` has D-ECE's bins that are not empty.
    """

    confidence: float
    iou: float
    overconfidence: float
    d_ece: CalibrationErrorFacts
    la_ece: CalibrationErrorFacts
    reliability: tuple[CalibrationBin, ...]


class ClassLrp(Facts):
    """oLRP of one class and its parts; `confidence` is the threshold where it is least, None if no detection helps."""

    class_id: int
    olrp: float
    localization: float | None
    false_positive: float | None
    false_negative: float
    confidence: float | None


class LrpFacts(Facts):
    """Optimal localisation recall precision error at IoU `tau`, in [0, 1], 0 the best; means over classes with labels.

    The parts are 1 - IoU of true positives, 1 - precision and 1 - recall, each the mean over the classes that have it.
    """

    tau: float
    olrp: float
    localization: float | None
    false_positive: float | None
    false_negative: float
    per_class: tuple[ClassLrp, ...]
