"""An audit as clients see it: one body, whether it is asked for over HTTP or sent by a webhook."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from runaudit.reports.schema import Verdict

State = Literal["queued", "fetching", "running", "succeeded", "failed", "cancelled"]
Role = Literal["run", "data"]


def _utc(moment: datetime) -> datetime:
    """The same moment in UTC, which is written with Z."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # The first and the last hours that a datetime can hold, in a time zone that puts UTC beyond them.
        raise ValueError("must lie in the years 1 to 9999 in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]


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
    error: Annotated[
        dict[str, Any] | None, WithJsonSchema({"anyOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "null"}]})
    ] = Field(description="of a failed audit, with the `request_id` of the request that asked for it")
    rerun_of: uuid.UUID | None
    links: Links


# What the body takes as it is; the audit's other columns are the service's own.
_AS_THEY_ARE: Final = (
    "id",
    "run_name",
    "state",
    "verdict",
    "headline",
    "created_at",
    "started_at",
    "ended_at",
    "attempt",
    "labels",
    "error",
    "rerun_of",
)
COLUMNS: Final = (*_AS_THEY_ARE, "progress_stage", "progress_done", "progress_total")
"""of the row of an audit: what `audit_body` reads"""


def place_to_read(audit_id: Any, state: str) -> str:
    """The path at which a person reads of an audit: its report if there is one, else the audit with what went wrong.

    Calls of the API, which need a key; the pages of design.md are not there yet.
    """
    place = f"/v1/audits/{audit_id}"
    return f"{place}/report?format=html" if state == "succeeded" else place


def audit_body(row: Mapping[str, Any], project: str, artifacts: Sequence[ArtifactRef]) -> AuditBody:
    """The body of an audit from its row: the columns COLUMNS, as values or as PostgreSQL writes them in JSON."""
    place = f"/v1/audits/{row['id']}"
    done, total = row["progress_done"], row["progress_total"]
    counted = min(done / total, 1.0) if total > 0 else 0.0
    progress = Progress(
        stage=row["progress_stage"],
        fraction=1.0 if row["state"] == "succeeded" else counted,
        done=done,
        total=total,
    )
    links = Links(self=place, report=f"{place}/report", events=f"{place}/events")
    return AuditBody.model_validate(
        {name: row[name] for name in _AS_THEY_ARE}
        | {"project": project, "progress": progress, "artifacts": artifacts, "links": links}
    )
