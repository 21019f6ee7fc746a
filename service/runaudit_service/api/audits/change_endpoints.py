"""What people may change of an audit: the names by which they find it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import Field

from runaudit_service.api.audits import representations
from runaudit_service.api.audits.endpoints import AuditId
from runaudit_service.api.audits.ids import no_audit
from runaudit_service.api.audits.repository import AuditRecord, AuditRepository
from runaudit_service.api.audits.schemas import MAX_LABELS, AuditBody, LabelKey, LabelValue, Name, RequestModel
from runaudit_service.api.auth import Writer
from runaudit_service.api.bodies import read_json
from runaudit_service.api.errors import ApiError, InvalidRequestError, responses
from runaudit_service.api.resources import Shared
from runaudit_service.api.response_headers import ASK_AGAIN, ETAG

router = APIRouter(prefix="/v1/audits", tags=["audits"])


class PreconditionError(ApiError):
    code = "version_outdated"
    status = 412
    title = "It has changed meanwhile"


class AuditChange(RequestModel):
    """What shall be another (RFC 7396): what is left out stays, `null` takes a label or the name away."""

    run_name: Name | None = None
    labels: dict[LabelKey, LabelValue | None] = Field(default={}, max_length=2 * MAX_LABELS)


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": AuditChange.model_json_schema(ref_template="#/components/schemas/{model}"),
                "example": {"labels": {"branch": "main", "draft": None}},
            }
        },
    }
}


@router.patch(
    "/{audit_id}",
    operation_id="change_audit",
    summary="Change an audit's name and labels",
    response_model=AuditBody,
    openapi_extra=_BODY,
    responses=responses(
        *(400, 401, 403, 404, 412, 415, 422, 503),
        answers={200: {"description": "The audit as it is now", "headers": ETAG | ASK_AGAIN}},
    ),
)
async def change_audit(
    request: Request,
    caller: Writer,
    audit_id: AuditId,
    shared: Shared,
    if_match: Annotated[str | None, Header(description="the ETag of the version that you have")] = None,
) -> Response:
    """Labels are merged into those that are there. Nothing else of an audit can be changed."""
    change = await read_json(request, AuditChange)
    async with shared.database.transaction() as session:
        audits = AuditRepository(session, caller.tenant_id)
        found = await audits.lock(audit_id)
        if found is None:
            raise no_audit(audit_id)
        record = found[0]
        if if_match is not None and not representations.matches(if_match, record.audit.version, record.project):
            raise PreconditionError("The audit is not the version of If-Match any more. Get it again.")
        await _apply(audits, record, change)
    body = representations.body_of(record).model_dump_json()
    return Response(
        body,
        headers=representations.headers_of(record.audit.version, record.project, record.audit.state),
        media_type="application/json",
    )


async def _apply(audits: AuditRepository, record: AuditRecord, change: AuditChange) -> None:
    merged = {**record.audit.labels, **change.labels}
    labels = {key: value for key, value in merged.items() if value is not None}
    if len(labels) > MAX_LABELS:
        raise InvalidRequestError(f"An audit has at most {MAX_LABELS} labels.", code="too_many_labels", place="/labels")
    name = change.run_name if "run_name" in change.model_fields_set else record.audit.run_name
    await audits.rename(record.audit, name, labels)
