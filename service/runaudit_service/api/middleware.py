"""Around every request: an id, headers that hold for every answer, the time it took, and a line in the log."""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runaudit_service.api.database import act_for
from runaudit_service.api.errors import REQUEST_ID_HEADER
from runaudit_service.api.metrics import HttpMetrics
from runaudit_service.store import log_context
from runaudit_service.store.models import new_id
from runaudit_service.store.tracing import tracing

logger = logging.getLogger(__name__)

SLOW_SECONDS: Final = 1.0
"""reads that take longer are told, long polls too"""
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
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else new_id().hex
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
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store, private")
                for name, value in scope["state"].get("rate_headers", {}).items():
                    headers[name] = value
            await send(message)

        started = time.perf_counter()
        try:
            # The caller's own trace goes on, if it has one.
            with tracing.span(scope["method"], parent=Headers(scope=scope).get("traceparent")) as span:
                await self._app(scope, receive, send_with_headers)
                if span is not None:
                    span.update_name(f"{scope['method']} {_template(scope)}")
                    span.set_attributes({"http.response.status_code": status, "runaudit.request_id": request_id})
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe(scope["method"], _template(scope), status, seconds)
            _tell(scope, status, seconds)


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
