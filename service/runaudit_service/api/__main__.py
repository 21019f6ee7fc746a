"""`python -m runaudit_service.api`: the API as a process, on the settings of its environment."""

from __future__ import annotations

import gc
import socket
from typing import Final

import uvicorn

from runaudit_service.api.app import create_app
from runaudit_service.api.protocol import patient_protocol
from runaudit_service.api.resources import Resources
from runaudit_service.store.logs import log_to_stderr
from runaudit_service.store.settings import settings
from runaudit_service.store.tracing import tracing

# Long enough for an answer that is being made, short enough for `docker stop` (10 s) not to kill.
GRACE_SECONDS: Final = 8


class Server(uvicorn.Server):
    """uvicorn, which lets those go who wait for an audit before it waits for them."""

    def __init__(self, config: uvicorn.Config, resources: Resources) -> None:
        super().__init__(config)
        self._resources = resources

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._resources.watcher.stop()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    configured = settings()
    log_to_stderr(configured.log_format)
    tracing.begin("runaudit-api")
    app = create_app(configured)
    config = uvicorn.Config(
        app,
        host=configured.host,
        port=configured.port,
        http=patient_protocol(configured.body_idle_seconds),
        server_header=False,
        access_log=False,
        # Its loggers hand on to ours.
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # What is here now stays until the end: the collector need not look through all of it, time and again, for garbage.
    gc.collect()
    gc.freeze()
    try:
        Server(config, app.state.resources).run()
    finally:
        tracing.end()


if __name__ == "__main__":
    main()
