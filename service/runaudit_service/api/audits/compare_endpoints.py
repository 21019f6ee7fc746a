"""Two audits side by side."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from runaudit.reports.compare import Comparison, compare
from runaudit.reports.schema import Report
from runaudit_service.api.audits.endpoints import AuditId
from runaudit_service.api.audits.ids import audit_id_of, no_audit
from runaudit_service.api.audits.repository import AuditRepository
from runaudit_service.api.auth import Reader
from runaudit_service.api.errors import ConflictError, responses
from runaudit_service.api.resources import Shared

router = APIRouter(prefix="/v1/audits", tags=["audits"])


async def _other_id(other_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})]) -> uuid.UUID:
    return audit_id_of(other_id)


@router.get(
    "/{audit_id}/compare/{other_id}",
    operation_id="compare_audits",
    summary="What changed between two audits",
    responses=responses(401, 403, 404, 409, 503),
)
async def compare_audits(
    caller: Reader, audit_id: AuditId, other_id: Annotated[uuid.UUID, Depends(_other_id)], shared: Shared
) -> Comparison:
    """From the first to the other one: metrics with intervals, classes beyond noise, causes gone and new, arguments.

    The interval of a difference is made of the intervals of both (MOVER, Zou and Donner 2008), as if they were
    independent; on the same images the true one is narrower. 409 unless both have succeeded.
    """
    texts: list[str | None] = []
    async with shared.database.reading() as session:
        audits = AuditRepository(session, caller.tenant_id)
        for wanted in (audit_id, other_id):
            if await audits.version(wanted) is None:
                raise no_audit(wanted)
            texts.append(await audits.report_text(wanted))
    before, after = texts
    if before is None or after is None:
        missing = audit_id if before is None else other_id
        raise ConflictError(
            f"Audit {missing} has no report: only audits that succeeded are compared.", code="report_missing"
        )
    return await asyncio.to_thread(_compared, before, after)


def _compared(before: str, after: str) -> Comparison:
    return compare(Report.model_validate_json(before), Report.model_validate_json(after))
