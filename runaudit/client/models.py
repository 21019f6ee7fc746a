"""What the service answers, as the client hands it on. Unknown fields are ignored, so newer services can be used."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

AuditState = Literal["queued", "fetching", "running", "succeeded", "failed", "cancelled"]
Verdict = Literal["pass", "warn", "fail", "inconclusive"]


class Answer(BaseModel):
    """Base of the answers: frozen."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AuditProgress(Answer):
    """`fraction` is in [0, 1]; `done` of `total` are images or files of the stage, 0 of 0 where uncountable."""

    stage: str
    fraction: float | None = None
    done: int = 0
    total: int = 0


class ArtifactReference(Answer):
    """What an audit looks at: an artifact by digest, or a data set's path on the service's side."""

    role: Literal["run", "data"]
    sha256: str | None = None
    bytes: int | None = None
    path: str | None = None


class Audit(Answer):
    """One audit, as the service describes it."""

    id: str
    project: str
    run_name: str | None = None
    state: AuditState
    verdict: Verdict | None = None
    headline: str | None = None
    progress: AuditProgress
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    labels: dict[str, Any] = {}
    artifacts: list[ArtifactReference] = []
    error: dict[str, Any] | None = None
    rerun_of: str | None = None
    links: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        """True once nothing will change any more."""
        return self.state in ("succeeded", "failed", "cancelled")


class CreatedKey(Answer):
    """A new API key. `key` is shown by the service this once."""

    id: str
    name: str
    key: str
    scopes: list[str] = []
