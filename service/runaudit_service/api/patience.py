"""How long the service waits for the next bytes of a body."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runaudit_service.api.errors import BodyTimeoutError


class BodyPatience:
    """Gives up a request whose client sends nothing of its body for `idle_seconds`: BodyTimeoutError where it is read.

    What waits for a client to hang up, as streamed answers do, waits on: the limit ends with the body.
    """

    def __init__(self, app: ASGIApp, idle_seconds: float) -> None:
        self._app = app
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Most requests have no body, and need not pay for this.
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        ended = False

        async def receive_in_time() -> Message:
            nonlocal ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await receive()
            except TimeoutError:
                ended = True
                raise BodyTimeoutError(
                    f"Nothing of the body came for {self._idle_seconds:g} s (RUNAUDIT_BODY_IDLE_SECONDS)."
                ) from None
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)
