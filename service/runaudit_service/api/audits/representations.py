"""Audits and reports as they are sent: bodies, entity tags, and which of a report's formats a client gets."""

from __future__ import annotations

import zlib
from typing import Final, Literal, get_args

from runaudit.reports import renderings
from runaudit_service.api.audits.repository import AuditRecord
from runaudit_service.api.errors import NotAcceptableError
from runaudit_service.store.audit_body import COLUMNS, ArtifactRef, AuditBody, audit_body
from runaudit_service.store.models import TERMINAL_STATES, Audit

# An audit takes seconds at least, and a poll costs about 1 ms (research/service.md F).
RETRY_AFTER_SECONDS: Final = 2

ReportFormat = Literal["json", "html", "markdown", "junit", "sarif"]
MEDIA_TYPES: Final[dict[ReportFormat, str]] = {name: renderings.MEDIA_TYPES[name] for name in get_args(ReportFormat)}


def has_ended(audit: Audit) -> bool:
    """Whether nothing about it will change any more."""
    return audit.state in TERMINAL_STATES


def body_of(record: AuditRecord) -> AuditBody:
    """The audit as clients see it."""
    row = {name: getattr(record.audit, name) for name in COLUMNS}
    artifacts = [
        ArtifactRef(role=given.role, sha256=given.sha256, bytes=given.bytes, path=given.path) for given in record.inputs
    ]
    return audit_body(row, record.project, artifacts)


def headers_of(version: int, project: str, state: str) -> dict[str, str]:
    """ETag, and when to ask again while the audit goes on."""
    headers = {"ETag": entity_tag(version, project), "Cache-Control": "private, no-cache"}
    if state not in TERMINAL_STATES:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return headers


def entity_tag(version: int, project: str) -> str:
    """The strong tag of a version of an audit, which tells its project's name: all of them change as that does."""
    return f'"{version}-{zlib.crc32(project.encode()):08x}"'


def matches(if_none_match: str | None, version: int, project: str) -> bool:
    """Whether the client has this version already (If-None-Match compares weakly, RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or entity_tag(version, project) in tags


def report_format(wanted: str | None, accept: str | None) -> ReportFormat:
    """The format of a report: `?format=` if given, else the best of the Accept header, JSON without one.

    Raises NotAcceptableError if there is none.
    """
    if wanted is None:
        return _negotiated(accept or "*/*")
    for name in MEDIA_TYPES:
        if name == wanted:
            return name
    raise NotAcceptableError(
        f"There is no format {wanted!r}; the formats are {', '.join(MEDIA_TYPES)}.",
        code="report_format_unknown",
        place="?format",
    )


def _negotiated(accept: str) -> ReportFormat:
    ranges = [_media_range(part) for part in accept.split(",")]
    best: tuple[float, ReportFormat] | None = None
    for name, media_type in MEDIA_TYPES.items():
        # Of the ranges that fit, the most specific one tells the quality (RFC 9110 section 12.5.1).
        fits = [(specific, quality) for pattern, quality in ranges if (specific := _specificity(pattern, media_type))]
        quality = max(fits)[1] if fits else 0.0
        if quality > (best[0] if best else 0.0):
            best = (quality, name)
    if best is None:
        raise NotAcceptableError(f"Reports are given as {', '.join(MEDIA_TYPES.values())}.", place="header:Accept")
    return best[1]


def _media_range(part: str) -> tuple[str, float]:
    pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return pattern, quality


def _specificity(pattern: str, media_type: str) -> int:
    """3 for the type itself, 2 for its family, 1 for anything, 0 for no match."""
    family = media_type.partition("/")[0]
    return {media_type: 3, f"{family}/*": 2, "*/*": 1}.get(pattern, 0)
