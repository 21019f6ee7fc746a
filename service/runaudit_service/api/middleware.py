"""Around every request: an id, headers that hold for every answer, the time it took, and a line in the log."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runaudit_service.api.database import act_for
from runaudit_service.api.metrics import HttpMetrics
from runaudit_service.store import log_context
from runaudit_service.store.tracing import tracing

logger = logging.getLogger(__name__)

SLOW_SECONDS: Final = 1.0
"""reads that take longer are told, long polls too"""
_Header = tuple[bytes, bytes]
_DEFAULTS: Final[tuple[_Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store, private"),
)
_ID: Final = re.compile(r"[0-9A-Fa-f-]{36}", re.ASCII)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestContext:
    """Gives each request an id (the client's own, if it sent a sane one) and counts it by route and status."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = _header(scope, b"x-request-id")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id
        # Whoever called in this context before, nobody is known yet.
        act_for(None)
        log_context.begin(request_id=request_id)
        # Until an answer begins, the request has failed.
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {"x-request-id": request_id, **scope["state"].get("rate_headers", {})}
                message["headers"] = _completed(message.get("headers", []), own)
            await send(message)

        started = time.perf_counter()
        try:
            # The caller's own trace goes on, if it has one.
            with tracing.span(scope["method"], parent=_header(scope, b"traceparent") or None) as span:
                await self._app(scope, receive, send_with_headers)
                if span is not None:
                    span.update_name(f"{scope['method']} {_template(scope)}")
                    span.set_attributes({"http.response.status_code": status, "runaudit.request_id": request_id})
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe(scope["method"], _template(scope), status, seconds)
            _tell(scope, status, seconds)


def _header(scope: Scope, name: bytes) -> str:
    """A header of the request, by its name in lower case; empty without it."""
    for given, value in scope["headers"]:
        if given == name:
            return str(value, "latin-1")
    return ""


def _completed(headers: Iterable[_Header], own: Mapping[str, str]) -> list[_Header]:
    """An answer's headers with `own` in place of any of the same name, and with _DEFAULTS where it has none.

    Names come in lower case, as ASGI has them.
    """
    replaced = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in own.items()]
    names = {name for name, _ in replaced}
    kept = [header for header in headers if header[0] not in names]
    names.update(name for name, _ in kept)
    return [*kept, *replaced, *(header for header in _DEFAULTS if header[0] not in names)]


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """One line about the request. A read that went well is none to keep: pipelines poll all day long."""
    read = scope["method"] in ("GET", "HEAD") and status < HTTPStatus.BAD_REQUEST and seconds < SLOW_SECONDS
    level = logging.DEBUG if read else logging.INFO
    if logger.isEnabledFor(level):
        named = str(scope.get("path_params", {}).get("audit_id", ""))
        if _ID.fullmatch(named):
            log_context.note(audit_id=named)
        route, rounded = _template(scope), round(seconds, 4)
        known = {"method": scope["method"], "route": route, "status": status, "seconds": rounded}
        logger.log(level, "%s %s %d", scope["method"], route, status, extra=known)


def _template(scope: Scope) -> str:
    """The route's path with its parameters unfilled: ids in labels would make a series of each audit."""
    return getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None) or "unmatched"
