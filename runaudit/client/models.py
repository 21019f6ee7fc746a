"""What the service answers, as the client hands it on. Unknown fields are ignored, so newer services can be used."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from runaudit.client.errors import ProblemError

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


class AuditPage(Answer):
    """A part of the history."""

    items: list[Audit]
    next_page_token: str


class CreatedKey(Answer):
    """A new API key. `key` is shown by the service this once."""

    id: str
    name: str
    key: str
    scopes: list[str] = []


_Model = TypeVar("_Model", bound=BaseModel)
_OBJECT: Final = TypeAdapter(dict[str, Any])
_SHOWN_BYTES: Final = 80


def read_answer(model: type[_Model], content: bytes) -> _Model:
    """An answer's body as `model`. Raises ProblemError `service_error`: not everything at a URL is the service."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _none_of_the_service_s(content) from error


def read_object(content: bytes) -> dict[str, Any]:
    """As `read_answer`, for any JSON object."""
    try:
        return _OBJECT.validate_json(content)
    except ValidationError as error:
        raise _none_of_the_service_s(content) from error


def _none_of_the_service_s(content: bytes) -> ProblemError:
    shown = content[:_SHOWN_BYTES].decode(errors="replace").strip()
    return ProblemError(
        {"detail": f"what answered is not this service, or another version of it; it began: {shown}"}, 200
    )
