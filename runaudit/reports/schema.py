"""The report contract, schema_version 1: what an audit hands back. openapi/report.schema.json is made from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from runaudit.causes import CauseId
from runaudit.diagnostics.evidence import Direction, Grade, Outcome, Severity
from runaudit.runs.facts import Framework, RunStatus, Task

Verdict = Literal["pass", "warn", "fail", "inconclusive"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Interval = tuple[Number, Number]
ErrorKind = Literal["cls", "loc", "both", "dupe", "bkg", "miss", "false_positives", "false_negatives"]
"""TIDE's types: wrong class, misplaced, both, duplicate, background, missed; then all wrong boxes, all lost labels"""


class ReportModel(BaseModel):
    """Base of the report's parts: closed, frozen, without NaN."""

    # Built when first used: the command line loads the schema while its child still reads the run.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Run(ReportModel):
    framework: Framework
    framework_version: str | None = None
    task: Task
    architecture: str | None = None
    parameters: int | None = None
    epochs_planned: int | None = None
    epochs_run: int | None = Field(default=None, description="distinct epochs that have a row in results.csv")
    best_epoch: int | None = Field(default=None, description="from 1, by that version's own fitness")
    status: RunStatus
    args: dict[str, JsonValue] = {}


class EvidenceItem(ReportModel):
    name: str
    value: int | Number | str | bool | None = None
    threshold: int | Number | str | None = None
    ci95: Interval | None = None
    n: int | None = None
    source: str | None = Field(default=None, examples=["results.csv:41"])


class Impact(ReportModel):
    direction: Direction
    metric: str = "map50_95"
    value: Number | None = None
    ci95: Interval | None = None
    grade: Grade


class Affected(ReportModel):
    classes: list[str] = []
    images: list[str] = []


class Remedy(ReportModel):
    title: str
    why: str
    patch: dict[str, JsonValue] = {}
    code: str | None = None
    reference: str | None = None


class Finding(ReportModel):
    rank: int = Field(ge=1)
    cause: CauseId
    severity: Severity
    title: str
    explanation: str
    evidence: list[EvidenceItem]
    impact: Impact
    affected: Affected = Affected()
    remedies: list[Remedy] = []
    figures: list[str] = []


class CheckOutcome(ReportModel):
    cause: CauseId
    outcome: Outcome
    reason: str
    effect: Number | None = None
    ci95: Interval | None = None
    n: int | None = None


class PolicyRule(ReportModel):
    rule: str = Field(examples=["min_map50_95", "min_class_map50_95.cat"])
    value: Number | None = None
    threshold: Number | None = None
    ci95: Interval | None = None
    outcome: Literal["met", "broken", "inconclusive", "not_run"]
    reason: str | None = Field(default=None, description="why a rule is inconclusive or was not run")


class Metrics(ReportModel):
    """Metrics of one geometry, each in [0, 1]."""

    map50: Number | None = None
    map50_95: Number | None = None
    precision: Number | None = None
    recall: Number | None = None
    f1: Number | None = None


class ValidationMetrics(ReportModel):
    box: Metrics | None = None
    mask: Metrics | None = None
    pose: Metrics | None = None
    obb: Metrics | None = None
    top1: Number | None = None
    top5: Number | None = None


class ClassResult(ReportModel):
    class_id: int
    name: str
    images: int
    instances: int
    precision: Number | None = None
    recall: Number | None = None
    recall_ci95: Interval | None = Field(default=None, description="of a classifier: Wilson's interval")
    f1: Number | None = None
    map50: Number | None = None
    map50_95: Number | None = None
    map50_95_ci95: Interval | None = None
    further_map50_95: Number | None = Field(default=None, description="by masks or keypoints, of a task that has them")


class ErrorCost(ReportModel):
    """Errors of one kind: what putting them right would add to AP at IoU 0.5, and how many there are."""

    d_ap50: Number
    d_ap50_ci95: Interval | None = None
    count: int = Field(description="among all detections that were kept")
    count_at_threshold: int = Field(description="among detections of at least `ErrorTypes.threshold`")


class Confusion(ReportModel):
    """Objects, or of a classifier images, of class `labelled` that the model took for `predicted`."""

    labelled: str
    predicted: str
    images: int | None = Field(default=None, description="of a classifier")
    boxes: int | None = Field(default=None, description="of a detector: right in place, at `ErrorTypes.threshold`")


class ErrorTypes(ReportModel):
    """TIDE's error types of a detector; of a classifier the confusions only. The gains of kinds don't add up."""

    foreground_iou: Number | None = None
    background_iou: Number | None = None
    confidence: Number | None = Field(default=None, description="the least that detections were kept with")
    max_detections: int | None = None
    threshold: Number | None = Field(default=None, description="the confidence of the best F1")
    ap50: Number | None = Field(default=None, description="101 points, the mean over classes with labels")
    errors: dict[ErrorKind, ErrorCost] = {}
    per_class: dict[str, dict[ErrorKind, Number | None]] = Field(
        default={}, description="class name -> kind -> AP at IoU 0.5 that putting it right would add to that class"
    )
    confusions: list[Confusion] = Field(default=[], description="the most frequent ones, falling")


class CalibrationError(ReportModel):
    """An error of confidence. `corrected` is without what chance adds; `chance95` is exceeded by chance in 5 of 100."""

    bins: int
    error: Number
    by_chance: Number
    chance95: Number
    corrected: Number
    ci95: Interval | None = None
    detections: int


class ReliabilityBin(ReportModel):
    lower: Number
    upper: Number
    detections: int
    confidence: Number
    precision: Number


class Calibration(ReportModel):
    """Whether confidence says how often a detection is right; empty where no detection is confident enough."""

    confidence: Number | None = Field(default=None, description="of the least confident detections looked at")
    iou: Number | None = Field(default=None, description="from which a detection is right")
    overconfidence: Number | None = Field(default=None, description="mean confidence less precision")
    d_ece: CalibrationError | None = None
    la_ece: CalibrationError | None = None
    reliability: list[ReliabilityBin] = []


class SizeResult(ReportModel):
    """COCO's AP (101 points, up to 100 detections an image and class) by the area of labels, in square pixels."""

    size: Literal["all", "small", "medium", "large"]
    least_area: Number
    most_area: Number | None = None
    labels: int
    ap: Number | None = None
    ap50: Number | None = None
    ap75: Number | None = None
    recall: Number | None = None


class ThresholdChoice(ReportModel):
    """The confidence of the best F1 at IoU 0.5, and what the default threshold loses to it."""

    threshold: Number
    threshold_ci95: Interval | None = None
    f1: Number
    f1_ci95: Interval | None = None
    f1_default: Number
    lost: Number
    lost_ci95: Interval | None = None


class Thresholds(ReportModel):
    """Cross-fitted F1 is measured on images other than those that the thresholds were chosen on."""

    default: Number
    overall: ThresholdChoice
    per_class: dict[str, ThresholdChoice | None] = {}
    cross_fitted_f1: Number
    cross_fitted_f1_by_class: Number
    cross_fitted_f1_default: Number


class LocalizationRecallPrecision(ReportModel):
    """Optimal LRP error at IoU `tau` and its parts, 0 the best: 1 - IoU, 1 - precision, 1 - recall."""

    tau: Number
    olrp: Number
    localization: Number | None = None
    false_positive: Number | None = None
    false_negative: Number
    per_class: dict[str, Number] = Field(default={}, description="class name -> oLRP")


class LabelErrorRate(ReportModel):
    """Labels (of `overlooked`: objects) that are wrong in one way."""

    kind: Literal["overlooked", "spurious", "swapped", "misplaced", "duplicated"]
    rate: Number | None = Field(default=None, description="estimated share, the model's own mistakes taken off")
    ci95: Interval | None = None
    n: int
    candidates: int = Field(description="suspects that are more probably wrong than the model")
    classes: dict[str, int] = Field(default={}, description="candidates by class name")
    why: str | None = Field(default=None, description="why nothing was estimated")


class Suspect(ReportModel):
    """A label to look at. Boxes are x1, y1, x2, y2 in pixels of the image."""

    kind: Literal["overlooked", "spurious", "swapped", "misplaced", "duplicated"]
    image: str
    label: str | None = Field(default=None, description="the label's class; null where there is no label")
    box: list[Number] | None = None
    suggested: str | None = Field(default=None, description="the class that the model sees")
    suggested_box: list[Number] | None = None
    score: Number = Field(description="estimated probability that the label is wrong, not the model")
    at_stake: Number | None = Field(default=None, description="score times the mAP50-95 that putting it right moves")


class BoxHabit(ReportModel):
    """Label over sure detection, on average: sides as ratios, offsets as shares of the detection's sides."""

    label: str | None = Field(default=None, description="class; null for all together")
    boxes: int
    width: Number
    width_ci95: Interval
    height: Number
    height_ci95: Interval
    right: Number
    right_ci95: Interval
    down: Number
    down_ci95: Interval


class ClassPermutation(ReportModel):
    """mAP50-95 with class ids as they stand, blind to classes, and mapped by the best permutation."""

    map50_95: Number
    agnostic_map50_95: Number
    mapped_map50_95: Number
    mapping: dict[str, int] = Field(default={}, description="id of the model -> id of the labels, of ids that move")
    gain: Number = 0.0
    ci95: Interval | None = None


class LabelReview(ReportModel):
    """What the detections say of the validation labels; `suspects` is the review queue, by the mAP at stake."""

    rates: list[LabelErrorRate] = []
    suspects: list[Suspect] = Field(default=[], description="the likeliest, at most 200, by falling at_stake")
    total_suspects: int = Field(default=0, description="with a score of 0.5 or more, those not listed included")
    habits: list[BoxHabit] = []
    permutation: ClassPermutation | None = None


class Agreement(ReportModel):
    """Two label sets on the images that both annotated; `labels` are the data set's own."""

    first: str
    second: str
    label: str | None = Field(default=None, description="class; null for all together")
    images: int
    matched: int = Field(description="objects of both, at IoU 0.5")
    only_first: int
    only_second: int
    found: Number = Field(description="F1 of objects")
    found_ci95: Interval | None = None
    same_class: Number | None = None
    kappa: Number | None = Field(default=None, description="Cohen's, of matched objects")
    alpha: Number | None = Field(default=None, description="Krippendorff's, objects that only one has included")
    mean_iou: Number | None = None


class Validation(ReportModel):
    metrics: ValidationMetrics
    ci95: dict[str, Interval] = {}
    confidence_threshold: Number | None = None
    per_class: list[ClassResult] = []
    error_types: ErrorTypes = Field(default_factory=ErrorTypes)
    calibration: Calibration = Field(default_factory=Calibration)
    per_size: list[SizeResult] = []
    thresholds: Thresholds | None = None
    lrp: LocalizationRecallPrecision | None = None
    labels: LabelReview | None = None
    reported: dict[str, Number] = Field(
        default={},
        description="the row of the best epoch in results.csv, else the metrics that the checkpoint stores of its own "
        "epoch; empty where there is neither",
    )
    compared: dict[str, Number] = Field(
        default={},
        description="the row that the validated checkpoint stands for, where that is not the best epoch's: the last "
        "one for last.pt; else empty",
    )
    compared_source: str | None = Field(
        default=None, description="where `compared` stands", examples=["results.csv:101"]
    )
    reproduced: bool | None = None
    difference: dict[str, Number] = Field(
        default={}, description="re-validated minus `compared` or, where that is empty, minus `reported`"
    )
    settings: dict[str, JsonValue] = {}


class SplitCensus(ReportModel):
    source: str
    images: int
    labelled: int
    background: int
    missing_labels: int
    rejected: int
    instances: int
    class_instances: dict[str, int]
    notes: list[str] = []


class AnnotatorCensus(ReportModel):
    """A further annotator's labels of the same images, over all splits."""

    images: int = Field(description="with a usable label file of theirs, empty ones included")
    labelled: int
    background: int
    not_annotated: int = Field(description="images without a label file of theirs")
    rejected: int
    unmatched_files: int = Field(description="label files that belong to no image")
    instances: int
    class_instances: dict[str, int]
    notes: list[str] = []


class Dataset(ReportModel):
    source: str
    names: dict[int, str]
    splits: dict[str, SplitCensus]
    notes: list[str] = []
    annotators: dict[str, AnnotatorCensus] = {}
    agreement: list[Agreement] = []


class CurvesTable(ReportModel):
    """The curves by meaning; one value a row of results.csv, null where it is missing or not finite."""

    source: str
    epochs: list[int]
    columns: dict[str, list[Number | None]]


class Intervention(ReportModel):
    """Validation measured again with one thing changed."""

    name: str
    description: str
    grade: Grade
    metric: str = "map50_95"
    before: Number
    after: Number
    difference: Number = Field(description="after minus before")
    ci95: Interval | None = Field(default=None, description="of the difference")
    n: int = Field(description="images that `after` was measured on")


class Provenance(ReportModel):
    runaudit_version: str
    versions: dict[str, str] = {}
    device: str | None = None
    seeds: dict[str, int] = {}
    artifacts: dict[str, str] = Field(
        default={},
        description="role -> sha256: `run` and `data` of archives as they were handed in, `checkpoint` of the weights, "
        "`dataset` of the class names, the images' splits, paths, bytes in number and pixels, and the usable labels",
    )
    isolation: dict[str, JsonValue] = {}
    seconds: dict[str, Number] = {}
    not_available: dict[str, str] = Field(default={}, description="part of the evidence -> why it is missing")


class Report(ReportModel):
    """One audit's report."""

    schema_version: Literal["1"] = "1"
    verdict: Verdict
    headline: str
    run: Run
    findings: list[Finding]
    checks: list[CheckOutcome]
    policy: list[PolicyRule]
    validation: Validation | None
    dataset: Dataset | None
    curves: CurvesTable | None
    interventions: list[Intervention] = []
    provenance: Provenance
