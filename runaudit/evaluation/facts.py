"""The facts that re-validation yields: metrics, intervals and the settings they were measured with."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import JsonValue

from runaudit.evaluation.detection_facts import (
    CalibrationFacts,
    ErrorTypesFacts,
    LrpFacts,
    SizeMetrics,
    ThresholdFacts,
)
from runaudit.evaluation.detection_facts import Interval as Interval  # noqa: PLC0414 - handed on
from runaudit.evaluation.label_facts import ContrastFacts, LabelQualityFacts
from runaudit.runs.facts import Facts, Note, Task

FurtherGeometry = Literal["mask", "pose"]
"""what the tasks segment and pose are measured by beside boxes"""


class BoxMetrics(Facts):
    """Metrics as the framework computes them, each in [0, 1]; P, R and F1 at the confidence of the best F1."""

    map50: float
    map50_95: float
    precision: float
    recall: float
    f1: float


class ClassMetrics(Facts):
    """One class of the validation split; metrics are None for a class without instances.

    `further_map50_95` is the class' mAP50-95 by masks or keypoints, of a task that has them.
    """

    class_id: int
    name: str
    images: int
    instances: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    map50_95_ci95: Interval | None = None
    further_map50_95: float | None = None


class Trial(Facts):
    """One setting tried to reproduce reported figures. `map50_95` is what validation gives with it.

    `name` is `row`, `average_precision`, `conf`, `single_cls`, `names`, `iou`, `max_det`, `head`, `batch`, `rect`,
    `half`, `imgsz` or `split`. `sampled`: estimated from a sample of `images` images, which explains nothing by itself.
    """

    name: str
    setting: dict[str, JsonValue]
    map50: float | None
    map50_95: float
    images: int
    explains: bool
    sampled: bool = False


class ReconciliationFacts(Facts):
    """The settings tried to reproduce what a run reported, in the order of trying, and those that do."""

    reported_map50: float | None
    reported_map50_95: float
    trials: tuple[Trial, ...]
    explained_by: tuple[str, ...]


MAP50_95_TOLERANCE: Final = 0.005
MAP50_TOLERANCE: Final = 0.01
"""Within these a figure is reproduced (research page yolo.md, A7: gaps that users report for identical settings)."""
LARGE_SET: Final = 500
"""instances from which the tolerances hold as they stand (yolo.md A7)"""


class Tolerance(Facts):
    """How far two figures of mAP50-95 and of mAP50 may lie apart and still count as the same, in [0, 1]."""

    map50_95: float = MAP50_95_TOLERANCE
    map50: float = MAP50_TOLERANCE


STRICT: Final = Tolerance()
"""that of a large set"""


class BlankFacts(Facts):
    """Images of one colour from edge to edge (`blank_images`): how many, how many of them have labels, and examples."""

    images: int
    labelled: int
    files: tuple[str, ...] = ()


class EvaluationFacts(Facts):
    """Re-validation of one checkpoint on one split.

    `metrics` are by boxes, of the task obb by rotated ones; `further` has those by masks or keypoints beside them.
    `ci95` has the keys `map50` and `map50_95`, and `mask_map50` and so on for `further`: percentile intervals of
    `replicates` bootstrap replicates, resampled by image, or by group where images belong together (`image_groups`):
    `groups` counts those and the images that stand alone. They are wider where few images differ
    (`bootstrap.metric_interval`); `distinct_images` counts the labelled images that do. `confidence_threshold` is where
    the mean F1 of the boxes over classes is highest. `skipped` notes images that could not be decoded.
    """

    split: str
    images: int
    instances: int
    task: Task = "detect"
    metrics: BoxMetrics
    further: dict[FurtherGeometry, BoxMetrics] = {}
    ci95: dict[str, Interval]
    replicates: int
    distinct_images: int | None = None
    groups: int | None = None
    confidence_threshold: float
    per_class: tuple[ClassMetrics, ...]
    settings: dict[str, JsonValue]
    device: str
    seconds: dict[str, float]
    skipped: tuple[Note, ...] = ()
    blank: BlankFacts | None = None
    """None where no image is blank"""
    error_types: ErrorTypesFacts | None = None
    per_size: tuple[SizeMetrics, ...] = ()
    thresholds: ThresholdFacts | None = None
    calibration: CalibrationFacts | None = None
    """None where no detection is of the confidence from which calibration is told"""
    lrp: LrpFacts | None = None
    reconciliation: ReconciliationFacts | None = None
    """set where the figures differed from those reported"""
    label_quality: LabelQualityFacts | None = None
    """of the validation split's labels, None where they were not reviewed"""

    @property
    def tolerance(self) -> Tolerance:
        """What reproduces a figure, for the check and for reconciling alike: on a set of fewer than LARGE_SET instances
        the half width of its interval, where that is more (yolo.md A7).
        """
        if self.instances >= LARGE_SET:
            return STRICT
        half = {name: (ends[1] - ends[0]) / 2 for name, ends in self.ci95.items()}
        return Tolerance(
            map50_95=max(MAP50_95_TOLERANCE, half.get("map50_95", 0.0)),
            map50=max(MAP50_TOLERANCE, half.get("map50", 0.0)),
        )


class InterventionFacts(Facts):
    """Validation measured again with one thing changed, to tell what that thing costs or pretends.

    `grade`: an `intervention` changed the data or a setting, and nothing else; an `oracle` used the labels to correct
    the predictions; `observational` compares images that differ in more than the one thing. `before` and `after` are
    `metric` in [0, 1] without and with the change, `difference` is after minus before with its 95 % interval from
    replicates that resample images, paired where both are measured on the same ones. `images` are those `after` was
    measured on. `description` says in a sentence what was changed.
    """

    name: str
    description: str
    grade: Literal["intervention", "oracle", "observational"]
    metric: str = "map50_95"
    before: float
    after: float
    difference: float
    ci95: Interval | None = None
    images: int


class LeakedPair(Facts):
    """A validation image and a training image that show the same.

    `kind`: `exact` has the same bytes, `near` is a copy that was encoded again, resized or mirrored, `scene` shows the
    same scene with other labels, or is a frame near it. `similarity` is the correlation of what their thumbnails keep
    beside the mean of all images.
    """

    image: str
    training_image: str
    kind: Literal["exact", "near", "scene"]
    similarity: float
    mirrored: bool = False


class LeakageFacts(Facts):
    """Validation images that stand in training too.

    `exact` bytes were looked for among all `training_images`, the rest among the `compared` ones. `exact`, `near` and
    `scene` count validation images, each by its gravest kind. `share` is (exact + near) / images with its Wilson
    interval. `repeated` counts validation images that copy an earlier one, among 20,000 at most. `pairs` are examples;
    `leaked` names exact and near ones, at most 100.
    """

    images: int
    training_images: int
    compared: int
    exact: int
    near: int
    scene: int
    share: float
    ci95: Interval
    repeated: int
    pairs: tuple[LeakedPair, ...] = ()
    leaked: tuple[str, ...] = ()
    scene_similarity: float
    """correlation from which neighbouring frames count as one scene: above it lies 1 of 1000 pairs without relation"""


SHIFTED_DISTANCE: Final = 0.2
"""Kolmogorov and Smirnov's distance from which a property has shifted, and what its interval must stay above"""
SHIFTED_LEAST: Final = 0.1


class PropertyShift(Facts):
    """One property of images compared (`image_properties.PROPERTIES`, `shift.LABEL_PROPERTIES`).

    `training` and `validation` are means. `distance` is Kolmogorov and Smirnov's, in [0, 1], with its interval;
    `p_value` is adjusted for the number of properties. `standardised` is Cohen's d of validation against training.
    """

    name: str
    training: float
    validation: float
    distance: float
    ci95: Interval
    p_value: float
    standardised: float

    @property
    def shifted(self) -> bool:
        """Whether the property differs by more than chance, and by enough: SHIFTED_DISTANCE and SHIFTED_LEAST."""
        return self.p_value < 0.05 and self.distance >= SHIFTED_DISTANCE and self.ci95[0] >= SHIFTED_LEAST


class ShiftFacts(Facts):
    """How validation images differ from training images.

    `groups` is how many groups of images that belong together were compared. `area` is the area under the ROC curve by
    which a classifier tells the images apart, out of fold, with its p-value; `null_area` the 95 % quantile of that area
    where training images alone are parted at random, None where there are too few.
    """

    training_images: int
    validation_images: int
    groups: int
    properties: tuple[PropertyShift, ...]
    area: float
    p_value: float
    null_area: float | None


class ExaminationFacts(Facts):
    """All that an examination of a checkpoint on its data yields; `absent` says in a sentence what is missing and why.

    `training` is the same validation on a random part of the training images.
    """

    evaluation: EvaluationFacts
    training: EvaluationFacts | None = None
    interventions: tuple[InterventionFacts, ...] = ()
    leakage: LeakageFacts | None = None
    shift: ShiftFacts | None = None
    label_contrast: tuple[ContrastFacts, ...] = ()
    absent: dict[str, str] = {}


class ClassAccuracy(Facts):
    """One class of a classifier on a split. `images` are those of its folder, `correct` of them the model took for it,
    and it took `predicted` images in all for it. `recall` is correct over images with Wilson's 95 % interval, None
    without images; `precision` is correct over predicted, None where the model never chose the class.
    """

    class_id: int
    name: str
    images: int
    correct: int
    predicted: int
    recall: float | None = None
    recall_ci95: Interval | None = None
    precision: float | None = None


class Confusion(Facts):
    """`images` of the class `labelled` were taken for the class `predicted`; both by name."""

    labelled: str
    predicted: str
    images: int


class AccuracyTrial(Facts):
    """Top-1 accuracy measured otherwise, to find what a run reported: on the split `test`, which versions that know no
    folder `valid` validate on, or there with ids counted in the split's own folders.
    """

    name: Literal["test", "test_own_order"]
    top1: float
    images: int


class ClassificationFacts(Facts):
    """Re-validation of a classifier on one split.

    `top1` and `top5` are shares of images in [0, 1]; `ci95` has the same keys: Wilson's intervals, in which copies of
    one file count as one of `distinct_images`. `confusions` are the pairs of classes that are mistaken most often, the
    worst first. `left_out` counts images of folders that the model has no class for; the framework leaves them out too.
    `aligned` says whether folders were matched with the model's classes by name, or by their place in the order where
    no name is the same. `own_order_top1` is top-1 with ids counted in the split's own folders, as older versions do;
    None where that makes no difference. `trials` were made where top-1 was not what the run reported. `skipped` notes
    images that could not be decoded.
    """

    split: str
    images: int
    top1: float
    top5: float
    ci95: dict[str, Interval]
    distinct_images: int | None = None
    per_class: tuple[ClassAccuracy, ...]
    confusions: tuple[Confusion, ...] = ()
    left_out: int = 0
    aligned: Literal["name", "position", "single_cls"] = "name"
    own_order_top1: float | None = None
    trials: tuple[AccuracyTrial, ...] = ()
    settings: dict[str, JsonValue]
    device: str
    seconds: dict[str, float]
    skipped: tuple[Note, ...] = ()
