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


class Validation(ReportModel):
    metrics: ValidationMetrics
    ci95: dict[str, Interval] = {}
    confidence_threshold: Number | None = None
    per_class: list[ClassResult] = []
    error_types: dict[str, JsonValue] = {}
    calibration: dict[str, JsonValue] = {}
    reported: dict[str, Number] = Field(
        default={},
        description="the row of the best epoch in results.csv, else the metrics that the checkpoint stores of its own "
        "epoch; empty where there is neither",
    )
    reproduced: bool | None = None
    difference: dict[str, Number] = Field(default={}, description="re-validated minus reported")
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
    artifacts: dict[str, str] = Field(default={}, description="role -> sha256")
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
