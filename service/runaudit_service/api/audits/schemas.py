"""What clients send and get about audits. These bodies are the contract: every key of an answer is always there."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from runaudit.causes import CauseId
from runaudit.diagnostics.evidence import Depth
from runaudit.diagnostics.policy import Policy
from runaudit.reports.schema import Verdict
from runaudit.runs.facts import Framework
from runaudit_service.store.audit_body import AuditBody, Instant, Role, State

# Imported from here by those who know the other schemas of this module.
__all__ = ["AuditBody", "Instant", "Role", "State"]

MAX_LABELS: Final = 32
MAX_ENVIRONMENT_BYTES: Final = 256 * 1024


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


Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}$")]
LabelValue = Annotated[str, StringConstraints(max_length=256), AfterValidator(_printable)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LabelFilter = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{1,63}:.{0,256}$"), AfterValidator(_printable)]


GivenPolicy = Annotated[Policy, AfterValidator(_without_nul)]


class RequestModel(BaseModel):
    """Base of what clients send: an unknown key is a mistake, and told."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSource(RequestModel):
    """Where the data set is: exactly one of these."""

    url: str | None = Field(default=None, description="where it is fetched from, as `artifact_url`")
    upload_id: str | None = Field(default=None, description="a resumable upload that is complete")
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
    artifact_url: str | None = Field(
        default=None,
        description="where the run's archive is fetched from: https://, and as far as the service is set up for it "
        "s3://bucket/key, gs://bucket/key, runs:/<MLflow run>/<path>, mlflow-artifacts:/<path>; "
        "`#sha256=<digest>` at its end pins the content",
    )
    upload_id: str | None = Field(default=None, description="a resumable upload that is complete")
    artifact_sha256: Sha256 | None = Field(default=None, description="an artifact that this tenant has uploaded before")
    data: DataSource | None = None
    depth: Depth = "standard"
    policy: GivenPolicy | None = Field(default=None, description="without one: the project's default policy")
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=MAX_LABELS)
    environment: Annotated[dict[str, JsonValue], AfterValidator(_storable)] = Field(
        default={}, description="what the training saw: GPU, memory, versions, resolved arguments, log tail"
    )
    callback_url: str | None = Field(
        default=None,
        description="an https URL that is told of each event of this audit, signed with the project's secret",
    )
    force: bool = Field(default=False, description="audit again even if the same was audited before")


class AuditList(BaseModel):
    """One page of the history. An empty `next_page_token` is the end."""

    items: list[AuditBody]
    next_page_token: str


class AuditSelection(RequestModel):
    """Which audits, in which order. A filter given several times takes any of its values; `label` needs all of them."""

    project: list[Name] = Field(default=[], max_length=50)
    state: list[State] = Field(default=[], max_length=50)
    verdict: list[Verdict] = Field(default=[], max_length=50)
    cause: list[CauseId] = Field(default=[], max_length=50, description="audits with a finding of this cause")
    framework: list[Framework] = Field(default=[], max_length=50)
    label: list[LabelFilter] = Field(default=[], max_length=MAX_LABELS, description="key:value")
    created_after: Instant | None = Field(default=None, description="this moment is not in")
    created_before: Instant | None = Field(default=None, description="this moment is not in")
    sort: Literal["-created_at", "created_at"] = "-created_at"

    @property
    def ascending(self) -> bool:
        """The oldest first."""
        return self.sort == "created_at"


class AuditFilter(AuditSelection):
    """A page of a selection."""

    page_size: int = Field(default=50, ge=1, description="at most 200; more is taken as 200")
    page_token: str = Field(default="", max_length=1000)
