"""Around every request: an id, headers that hold for every answer, and the time it took."""

from __future__ import annotations

import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runaudit_service.api.database import act_for
from runaudit_service.api.errors import REQUEST_ID_HEADER
from runaudit_service.api.metrics import HttpMetrics
from runaudit_service.store.models import new_id

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
            await self._app(scope, receive, send_with_headers)
        finally:
            self._metrics.observe(scope["method"], _template(scope), status, time.perf_counter() - started)


def _template(scope: Scope) -> str:
    """The route's path with its parameters unfilled: ids in labels would make a series of each audit."""
    return getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None) or "unmatched"
