"""`python -m runaudit_service.api`: the API as a process, on the settings of its environment."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn

from runaudit_service.api.app import create_app
from runaudit_service.api.resources import Resources
from runaudit_service.store.settings import settings

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
    app = create_app(configured)
    config = uvicorn.Config(
        app,
        host=configured.host,
        port=configured.port,
        server_header=False,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Server(config, app.state.resources).run()


if __name__ == "__main__":
    main()
