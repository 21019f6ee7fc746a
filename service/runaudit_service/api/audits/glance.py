"""One audit as pipelines ask for it all day long: the key, and the audit as its tenant sees it, in one statement."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, LiteralString

from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError

from runaudit_service.api.audits import representations
from runaudit_service.api.audits.ids import no_audit, uuid_of
from runaudit_service.api.auth import Caller, admitted, bearer, with_key
from runaudit_service.api.direct import seen_by
from runaudit_service.api.errors import invalid
from runaudit_service.api.resources import Resources, resources
from runaudit_service.store.audit_body import COLUMNS, ArtifactRef, AuditBody, audit_body
from runaudit_service.store.models import TERMINAL_STATES

MAX_WAIT_SECONDS: Final = 60
_WAIT: Final = TypeAdapter[float](Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)])
_OWN: Final = "audits.id = %(audit_id)s AND audits.tenant_id = acting.tenant_id"
_VERSION_COLUMNS: Final = ("version", "state", "project")
_VERSION: Final[LiteralString] = f"""
    SELECT audits.version, audits.state, projects.name AS project
    FROM audits JOIN projects ON projects.id = audits.project_id
    WHERE {_OWN}
"""  # noqa: S608 - constants
# As `AuditRepository.get` reads it; the columns of COLUMNS are the body's. `run` before `data`, as people read it.
_WHOLE_COLUMNS: Final = ("version", *COLUMNS, "project", "artifacts")
_WHOLE: Final[LiteralString] = f"""
    SELECT {", ".join(f"audits.{name}" for name in ("version", *COLUMNS))}, projects.name AS project, (
        SELECT coalesce(json_agg(
            json_build_object('role', role, 'sha256', sha256, 'bytes', bytes, 'path', path) ORDER BY role DESC
        ), '[]')
        FROM audit_artifacts LEFT JOIN artifacts ON artifacts.id = artifact_id WHERE audit_id = audits.id
    ) AS artifacts
    FROM audits JOIN projects ON projects.id = audits.project_id
    WHERE {_OWN}
"""  # noqa: S608
_KEY_AND_VERSION: Final = with_key(_VERSION)
_KEY_AND_WHOLE: Final = with_key(_WHOLE)
_AGAIN: Final[LiteralString] = f"SELECT seen.* FROM {seen_by('%(tenant_id)s', _WHOLE)}"  # noqa: S608


@dataclass(frozen=True)
class Glance:
    """An audit as it was seen with the key; `whole` is what its body is made of, which a conditional call needs not."""

    shared: Resources
    caller: Caller
    audit_id: uuid.UUID
    version: int
    state: str
    project: str
    whole: Mapping[str, Any] | None

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer, whether it has a body or not."""
        return representations.headers_of(self.version, self.project, self.state)

    @property
    def has_ended(self) -> bool:
        """Whether nothing about the audit will change any more."""
        return self.state in TERMINAL_STATES

    def body(self) -> AuditBody:
        """The audit as clients see it; only of one that was seen whole."""
        if self.whole is None:
            raise RuntimeError("not seen whole")
        artifacts = [ArtifactRef(**artifact) for artifact in self.whole["artifacts"]]
        return audit_body(self.whole, self.whole["project"], artifacts)

    async def again(self) -> Glance:
        """The audit as it is now, whole. Raises NotFoundError if it was deleted meanwhile."""
        seen = await self.shared.direct.row(_AGAIN, {"tenant_id": self.caller.tenant_id, "audit_id": self.audit_id})
        return _glance(self.shared, self.caller, self.audit_id, seen or (), whole=True)


async def look(request: Request) -> Glance:
    """The audit that the path names, as the caller may see it.

    What FastAPI does for dependencies and parameters is much of what a poll costs, so this reads the request itself, in
    the order that holds for all calls: who calls, what is wrong with the request, what there is. Raises
    AuthenticationError, RateLimitedError, ScopeError, InvalidRequestError and NotFoundError.
    """
    shared, known = await resources(request), uuid_of(request.path_params["audit_id"])
    conditional = "if-none-match" in request.headers
    statement = _KEY_AND_VERSION if conditional else _KEY_AND_WHOLE
    caller, seen = await admitted(request, shared, await bearer(request), "audits:read", statement, audit_id=known)
    wait = _wait(request.query_params["wait"]) if "wait" in request.query_params else 0.0
    if known is None:
        raise no_audit(None)
    glance = _glance(shared, caller, known, seen, whole=not conditional)
    if wait and not glance.has_ended:
        await shared.watcher.wait_until_ended(known, wait)
        glance = await glance.again()
    return glance


# What FastAPI would say of these parameters if it read them.
LOOKING: Final[dict[str, Any]] = {
    "security": [{"ApiKey": ["audits:read"]}],
    "parameters": [
        {"name": "audit_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {
            "name": "wait",
            "in": "query",
            "required": False,
            "schema": {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS, "default": 0},
            "description": "seconds to wait for the audit to end, if it has not",
        },
        {
            "name": "if-none-match",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "the ETag of the version that you have",
        },
    ],
}


def _wait(written: str) -> float:
    try:
        return _WAIT.validate_python(written)
    except ValidationError as error:
        raise invalid([{**found, "loc": ("query", "wait")} for found in error.errors()]) from None


def _glance(shared: Resources, caller: Caller, audit_id: uuid.UUID, seen: tuple[Any, ...], *, whole: bool) -> Glance:
    row = dict(zip(_WHOLE_COLUMNS if whole else _VERSION_COLUMNS, seen, strict=True))
    if row["version"] is None:
        raise no_audit(audit_id)
    return Glance(shared, caller, audit_id, row["version"], row["state"], row["project"], row if whole else None)
