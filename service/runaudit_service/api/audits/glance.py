"""One audit as pipelines ask for it all day long: the key, and the audit as its tenant sees it, in one statement."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, LiteralString

from fastapi import Path, Request, Security

from runaudit_service.api.audits import representations
from runaudit_service.api.auth import Caller, Credentials, admitted, with_key
from runaudit_service.api.direct import DirectStatements, seen_by
from runaudit_service.api.errors import NotFoundError
from runaudit_service.api.resources import Shared
from runaudit_service.store.audit_body import COLUMNS, ArtifactRef, AuditBody, audit_body
from runaudit_service.store.models import TERMINAL_STATES

_OWN: Final = "audits.id = %(audit_id)s AND audits.tenant_id = acting.tenant_id"
_VERSION_COLUMNS: Final = ("version", "state")
_VERSION: Final[LiteralString] = f"SELECT audits.version, audits.state FROM audits WHERE {_OWN}"  # noqa: S608 - constants
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

    caller: Caller
    audit_id: uuid.UUID
    version: int
    state: str
    whole: Mapping[str, Any] | None

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer, whether it has a body or not."""
        return representations.headers_of(self.version, self.state)

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

    async def again(self, direct: DirectStatements) -> Glance:
        """The audit as it is now, whole. Raises NotFoundError if it was deleted meanwhile."""
        seen = await direct.row(_AGAIN, {"tenant_id": self.caller.tenant_id, "audit_id": self.audit_id})
        return found(_glance(self.caller, self.audit_id, seen or (), whole=True))


def found(looked_at: Glance | NotFoundError) -> Glance:
    """What was seen. Raises NotFoundError if it was nothing."""
    if isinstance(looked_at, NotFoundError):
        raise looked_at
    return looked_at


async def _looked_at(
    request: Request,
    shared: Shared,
    credentials: Credentials,
    audit_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
) -> Glance | NotFoundError:
    """The audit, or what is to be raised once the rest of the request is known to be right."""
    # Who calls is found out before anything else of the request is judged.
    known = _uuid(audit_id)
    conditional = "if-none-match" in request.headers
    statement = _KEY_AND_VERSION if conditional else _KEY_AND_WHOLE
    caller, seen = await admitted(request, shared, credentials, "audits:read", statement, audit_id=known)
    if known is None:
        return NotFoundError("There is no audit with this id.", code="audit_not_found")
    return _glance(caller, known, seen, whole=not conditional)


LookedAt = Annotated[Glance | NotFoundError, Security(_looked_at, scopes=["audits:read"])]


def _glance(caller: Caller, audit_id: uuid.UUID, seen: tuple[Any, ...], *, whole: bool) -> Glance | NotFoundError:
    row = dict(zip(_WHOLE_COLUMNS if whole else _VERSION_COLUMNS, seen, strict=True))
    if row["version"] is None:
        return NotFoundError(f"There is no audit {audit_id}.", code="audit_not_found")
    return Glance(caller, audit_id, row["version"], row["state"], row if whole else None)


def _uuid(written: str) -> uuid.UUID | None:
    """An id that is no UUID is an id that nothing has."""
    try:
        return uuid.UUID(written)
    except ValueError:
        return None
