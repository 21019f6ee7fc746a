"""What clients send and get about audits. These bodies are the contract: every key of an answer is always there."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from runaudit.causes import CauseId
from runaudit.diagnostics.evidence import Depth
from runaudit.diagnostics.policy import Policy
from runaudit.reports.schema import Verdict
from runaudit.runs.facts import Framework

State = Literal["queued", "fetching", "running", "succeeded", "failed", "cancelled"]
Role = Literal["run", "data"]
MAX_LABELS: Final = 32
MAX_ENVIRONMENT_BYTES: Final = 256 * 1024


def _utc(moment: datetime) -> datetime:
    """The same moment in UTC, which is written with Z."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # The first and the last hours that a datetime can hold, in a time zone that puts UTC beyond them.
        raise ValueError("must lie in the years 1 to 9999 in UTC") from None


def _printable(text: str) -> str:
    """No control characters: PostgreSQL takes no NUL, and no name that a person gives needs the others."""
    if not text.isprintable():
        raise ValueError("must not have control characters")
    return text


def _storable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """JSON that JSON's own rules and PostgreSQL take: no NaN, no infinity, no NUL in a text; and not too much."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("must not have NaN or an infinity; send null") from None
    _refuse_nul(text)
    if len(text) > MAX_ENVIRONMENT_BYTES:
        raise ValueError(f"must have at most {MAX_ENVIRONMENT_BYTES} bytes as JSON")
    return value


def _refuse_nul(text: str) -> None:
    """JSON text may hold the escape of a NUL (an even number of backslashes before it); PostgreSQL takes none."""
    if re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
        raise ValueError("must not have NUL characters")


def _without_nul(policy: Policy) -> Policy:
    """Names of classes are the only free texts of a policy."""
    _refuse_nul(json.dumps(policy.model_dump(mode="json")))
    return policy


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}$")]
LabelValue = Annotated[str, StringConstraints(max_length=256), AfterValidator(_printable)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LabelFilter = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}:.{0,256}$"), AfterValidator(_printable)]


class RequestModel(BaseModel):
    """Base of what clients send: an unknown key is a mistake, and told."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSource(RequestModel):
    """Where the data set is: exactly one of these."""

    url: str | None = Field(default=None, description="not served yet: `source_not_supported_yet`")
    upload_id: str | None = Field(default=None, description="not served yet: `source_not_supported_yet`")
    sha256: Sha256 | None = Field(default=None, description="an artifact that this tenant has uploaded before")
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_printable)] | None = Field(
        default=None, description="a folder or a data.yaml below RUNAUDIT_DATA_ROOTS, on a file system of the workers"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> DataSource:
        if sum(value is not None for value in (self.url, self.upload_id, self.sha256, self.path)) != 1:
            raise ValueError("exactly one of url, upload_id, sha256 and path is needed")
        return self


class AuditRequest(RequestModel):
    """What to audit, and how. As JSON it names the run's artifact; beside an `artifact` file part it must not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "artifact_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "run_name": "yolo11n-batch32",
                    "depth": "standard",
                    "policy": {"min_map50_95": 0.5},
                    "labels": {"branch": "main"},
                }
            ]
        }
    )

    project: Name = Field(default="default", description="the name of a project")
    run_name: Name | None = None
    artifact_url: str | None = Field(default=None, description="not served yet: `source_not_supported_yet`")
    upload_id: str | None = Field(default=None, description="not served yet: `source_not_supported_yet`")
    artifact_sha256: Sha256 | None = Field(default=None, description="an artifact that this tenant has uploaded before")
    data: DataSource | None = None
    depth: Depth = "standard"
    policy: Annotated[Policy, AfterValidator(_without_nul)] | None = Field(
        default=None, description="without one: the project's default policy"
    )
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=MAX_LABELS)
    environment: Annotated[dict[str, JsonValue], AfterValidator(_storable)] = Field(
        default={}, description="what the training saw: GPU, memory, versions, resolved arguments, log tail"
    )
    callback_url: str | None = Field(default=None, description="not served yet: `callback_not_supported_yet`")
    force: bool = Field(default=False, description="audit again even if the same was audited before")


class Progress(BaseModel):
    """How far the audit is in its current stage."""

    stage: str
    fraction: float = Field(ge=0, le=1, description="of this stage; 0 where it can't be counted, 1 after success")
    done: int = Field(description="images or files of this stage")
    total: int


class ArtifactRef(BaseModel):
    """What the audit looks at. A data set that lies below a data root has a path and neither digest nor size."""

    role: Role
    sha256: str | None
    bytes: int | None
    path: str | None = Field(default=None, description="only of a data set that is read by path")

    @model_serializer(mode="wrap")
    def _without_empty_path(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body: dict[str, Any] = handler(self)
        if self.path is None:
            del body["path"]
        return body


class Links(BaseModel):
    """Where to go on from here, relative to the service."""

    self: str
    report: str
    events: str


class AuditBody(BaseModel):
    """One audit. A failed one is told in `error`, a problem document; the call itself still answers 200."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10",
                    "project": "default",
                    "run_name": "yolo11n-batch32",
                    "state": "succeeded",
                    "verdict": "fail",
                    "headline": "The learning rate made training diverge at epoch 3.",
                    "progress": {"stage": "report", "fraction": 1.0, "done": 1, "total": 1},
                    "created_at": "2026-11-24T08:15:00.000000Z",
                    "started_at": "2026-11-24T08:15:01.000000Z",
                    "ended_at": "2026-11-24T08:15:31.000000Z",
                    "attempt": 1,
                    "labels": {"branch": "main"},
                    "artifacts": [{"role": "run", "sha256": "9f86d081" * 8, "bytes": 5242880}],
                    "error": None,
                    "rerun_of": None,
                    "links": {
                        "self": "/v1/audits/019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10",
                        "report": "/v1/audits/019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10/report",
                        "events": "/v1/audits/019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10/events",
                    },
                }
            ]
        }
    )

    id: uuid.UUID
    project: str
    run_name: str | None
    state: State
    verdict: Verdict | None
    headline: str | None
    progress: Progress
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    attempt: int = Field(description="how often a worker has begun it")
    labels: dict[str, str]
    artifacts: list[ArtifactRef]
    error: dict[str, Any] | None = Field(description="a problem document, of a failed audit")
    rerun_of: uuid.UUID | None
    links: Links


class AuditList(BaseModel):
    """One page of the history. An empty `next_page_token` is the end."""

    items: list[AuditBody]
    next_page_token: str


class AuditFilter(RequestModel):
    """What to list. A filter given several times takes any of its values; `label` needs all of them."""

    project: list[Name] = Field(default=[], max_length=50)
    state: list[State] = Field(default=[], max_length=50)
    verdict: list[Verdict] = Field(default=[], max_length=50)
    cause: list[CauseId] = Field(default=[], max_length=50, description="audits with a finding of this cause")
    framework: list[Framework] = Field(default=[], max_length=50)
    label: list[LabelFilter] = Field(default=[], max_length=MAX_LABELS, description="key:value")
    created_after: Instant | None = Field(default=None, description="this moment is not in")
    created_before: Instant | None = Field(default=None, description="this moment is not in")
    sort: Literal["-created_at", "created_at"] = "-created_at"
    page_size: int = Field(default=50, ge=1, description="at most 200; more is taken as 200")
    page_token: str = Field(default="", max_length=1000)
