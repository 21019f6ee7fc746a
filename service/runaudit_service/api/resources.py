"""What the endpoints share: settings, database, blobs, bell, watcher and counters of one application."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from runaudit_service.api.audits.events import StreamPlaces
from runaudit_service.api.audits.watch import Watcher
from runaudit_service.api.database import Database
from runaudit_service.api.direct import DirectStatements
from runaudit_service.api.limits.book import LimitBook
from runaudit_service.api.limits.rate import RateLimiter
from runaudit_service.api.metrics import HttpMetrics, StoreMetrics
from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import BlobStore
from runaudit_service.store.settings import Settings
from runaudit_service.store.staging import Staging


@dataclass(frozen=True)
class Resources:
    """Made once by `create_app`, closed at its end."""

    settings: Settings
    database: Database
    direct: DirectStatements
    blobs: BlobStore
    staging: Staging
    bell: Bell | None
    watcher: Watcher
    streams: StreamPlaces
    http_metrics: HttpMetrics
    store_metrics: StoreMetrics
    limits: LimitBook
    rate: RateLimiter

    async def ring(self, queue: str) -> None:
        """Say that a queue has work; call it after the commit. A broker that is down costs a delay, nothing else."""
        if self.bell is not None and not self.bell.is_quiet(queue):
            await asyncio.to_thread(self.bell.ring, queue)


async def resources(request: Request) -> Resources:
    """The resources of the application that serves this request."""
    # Asynchronous, as all dependencies here: FastAPI gives a plain function a thread, which costs more than this call.
    found: Resources = request.app.state.resources
    return found


Shared = Annotated[Resources, Depends(resources)]
