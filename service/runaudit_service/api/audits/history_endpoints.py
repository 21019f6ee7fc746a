"""The calls about many audits: history by pages, and as lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from runaudit_service.api import pagination
from runaudit_service.api.audits import representations
from runaudit_service.api.audits.history import AuditHistory, Page
from runaudit_service.api.audits.repository import AuditRepository
from runaudit_service.api.audits.schemas import AuditFilter, AuditList, AuditSelection
from runaudit_service.api.auth import Caller, Reader
from runaudit_service.api.errors import responses
from runaudit_service.api.pagination import Position
from runaudit_service.api.resources import Resources, Shared

LINES_TYPE: Final = "application/x-ndjson"

router = APIRouter(prefix="/v1/audits", tags=["audits"])

_LINES: Final[dict[int, dict[str, Any]]] = {
    200: {
        "description": "One JSON object a line: an audit, with `report` (null where there is none) if it was asked for",
        "content": {LINES_TYPE: {"schema": {"$ref": "#/components/schemas/AuditBody"}}},
    }
}


class AuditExport(AuditSelection):
    """What to export."""

    include: list[Literal["report"]] = Field(
        default=[], max_length=1, description="what each line has beside the audit"
    )


@router.get(
    "",
    operation_id="list_audits",
    summary="The history of audits",
    responses=responses(401, 403, 422, 503),
)
async def list_audits(caller: Reader, shared: Shared, wanted: Annotated[AuditFilter, Query()]) -> AuditList:
    """Newest first, a page at a time: pass `next_page_token` as `page_token` until it is empty.

    Only an empty `next_page_token` is the end. A page may hold fewer audits than `page_size`, or none, where many
    audits fit some of the filters and few fit all of them.
    """
    filters = wanted.model_dump(mode="json", exclude={"page_size", "page_token"})
    size = min(wanted.page_size, pagination.MAX_PAGE_SIZE)
    after = pagination.decode(wanted.page_token, filters, caller.cursor_secret) if wanted.page_token else None
    page = await _page(shared, caller, wanted, after, size)
    token = pagination.encode(page.next, filters, caller.cursor_secret) if page.next is not None else ""
    return AuditList(items=[representations.body_of(record) for record in page.records], next_page_token=token)


@router.get(
    "/export",
    operation_id="export_audits",
    summary="The history of audits as JSON lines",
    response_class=StreamingResponse,
    responses=responses(401, 403, 422, 503, answers=_LINES),
)
async def export_audits(caller: Reader, shared: Shared, wanted: Annotated[AuditExport, Query()]) -> StreamingResponse:
    """All audits that fit, as they are read: neither side needs to hold them. `include=report` gives each its report.

    An answer that is cut off ends without the last chunk of its encoding; go on from the last line's `created_at` by
    `created_after` (with `sort=created_at`).
    """
    first = await _page(shared, caller, wanted, None, pagination.MAX_PAGE_SIZE)
    return StreamingResponse(_lines(shared, caller, wanted, first), media_type=LINES_TYPE)


async def _page(shared: Resources, caller: Caller, wanted: AuditSelection, after: Position | None, size: int) -> Page:
    async with shared.database.reading() as session:
        return await AuditHistory(session, caller.tenant_id).page(wanted, after, size)


async def _lines(shared: Resources, caller: Caller, wanted: AuditExport, page: Page) -> AsyncIterator[str]:
    """Page by page rather than by one cursor: a slow reader must not hold a connection and a snapshot for hours."""
    while True:
        for record in page.records:
            line = representations.body_of(record).model_dump_json()
            if "report" in wanted.include:
                async with shared.database.reading() as session:
                    report = await AuditRepository(session, caller.tenant_id).report_text(record.audit.id)
                # The report is JSON text of one line already; to read it only to write it again would take its time.
                line = f'{line[:-1]},"report":{report or "null"}}}'
            yield line + "\n"
        if page.next is None:
            return
        page = await _page(shared, caller, wanted, page.next, pagination.MAX_PAGE_SIZE)
