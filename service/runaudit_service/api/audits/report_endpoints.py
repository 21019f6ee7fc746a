"""The calls that give an audit's report: in one of its renderings, and its figures."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response

from runaudit.reports.figures import figure
from runaudit.reports.html import CONTENT_SECURITY_POLICY
from runaudit.reports.renderings import SUFFIXES, render
from runaudit.reports.schema import Report
from runaudit_service.api.audits import representations
from runaudit_service.api.audits.endpoints import AuditId
from runaudit_service.api.audits.representations import ReportFormat
from runaudit_service.api.audits.service import AuditService
from runaudit_service.api.auth import Caller, Reader
from runaudit_service.api.errors import NotFoundError, responses
from runaudit_service.api.resources import Resources, Shared

router = APIRouter(prefix="/v1/audits", tags=["audits"])

SVG_TYPE: Final = "image/svg+xml"
_APART: Final = {
    # A page or picture that is opened by itself must not act for the service that it came from.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HTML_HEADERS: Final = _APART | {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
_SVG_HEADERS: Final = _APART | {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "private, no-cache",
}
_SHOWN: Final = frozenset({"json", "html", "markdown"})
"""what a person looks at; the others are files for programs"""
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}


@router.get(
    "/{audit_id}/report",
    operation_id="get_audit_report",
    summary="The report of an audit",
    response_class=Response,
    responses=responses(
        401,
        403,
        404,
        406,
        409,
        503,
        answers={
            200: {
                "description": "The report",
                "headers": {"Content-Disposition": {"schema": {"type": "string"}, "description": "a name for a file"}},
                "content": {
                    media_type: {"schema": {"$ref": "#/components/schemas/Report"}} if name == "json" else _TEXT
                    for name, media_type in representations.MEDIA_TYPES.items()
                },
            }
        },
    ),
)
async def get_audit_report(
    caller: Reader,
    audit_id: AuditId,
    shared: Shared,
    format: Annotated[
        str | None, Query(description="json, html, markdown, junit or sarif", examples=["json", "html", "sarif"])
    ] = None,
    accept: Annotated[str | None, Header(description="used without `format`")] = None,
) -> Response:
    """By `?format=`, else by Accept. 409 while the audit goes on, and with the error's own code after it failed.

    `html` is one file that loads nothing; `junit` has a test case for each check and each rule of the policy; `sarif`
    is version 2.1.0, with a rule for each cause.
    """
    chosen = representations.report_format(format, accept)
    stored = await _stored(shared, caller, audit_id)
    text = stored if chosen == "json" else await asyncio.to_thread(_rendered, stored, chosen)
    headers = {"Vary": "Accept", "Content-Disposition": _disposition(audit_id, chosen)}
    if chosen == "html":
        headers |= _HTML_HEADERS
    return Response(text, media_type=representations.MEDIA_TYPES[chosen], headers=headers)


@router.get(
    "/{audit_id}/figures/{name}",
    operation_id="get_audit_figure",
    summary="A figure of the report",
    response_class=Response,
    responses=responses(
        401,
        403,
        404,
        409,
        503,
        answers={200: {"description": "The picture, drawn from the report", "content": {SVG_TYPE: _TEXT}}},
    ),
)
async def get_audit_figure(
    caller: Reader,
    audit_id: AuditId,
    shared: Shared,
    name: Annotated[str, Path(description="one of `findings[].figures`", examples=["losses.svg"])],
) -> Response:
    """SVG. 404 for a name that the report has nothing to draw for; otherwise as the report."""
    stored = await _stored(shared, caller, audit_id)
    drawn = await asyncio.to_thread(_drawn, stored, name)
    if drawn is None:
        raise NotFoundError(f"The report has no figure {name!r}.", code="figure_not_found")
    return Response(drawn, media_type=SVG_TYPE, headers=_SVG_HEADERS)


async def _stored(shared: Resources, caller: Caller, audit_id: uuid.UUID) -> str:
    async with shared.database.reading() as session:
        service = AuditService(session, caller.tenant_id, shared.blobs, shared.settings.max_attempts)
        return await service.report(audit_id)


def _disposition(audit_id: uuid.UUID, chosen: ReportFormat) -> str:
    kind = "inline" if chosen in _SHOWN else "attachment"
    return f'{kind}; filename="runaudit-{audit_id}{SUFFIXES[chosen]}"'


def _rendered(stored: str, chosen: ReportFormat) -> str:
    return render(Report.model_validate_json(stored), chosen)


def _drawn(stored: str, name: str) -> str | None:
    return figure(Report.model_validate_json(stored), name)
