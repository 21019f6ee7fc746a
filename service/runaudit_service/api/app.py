"""The application: routers, errors and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.middleware import Middleware

from runaudit import __version__
from runaudit_service.api import errors, health, reference_page
from runaudit_service.api.artifacts import endpoints as artifacts
from runaudit_service.api.audits import change_endpoints as changes
from runaudit_service.api.audits import compare_endpoints as comparisons
from runaudit_service.api.audits import endpoints as audits
from runaudit_service.api.audits import event_endpoints as events
from runaudit_service.api.audits import history_endpoints as history
from runaudit_service.api.audits import report_endpoints as reports
from runaudit_service.api.audits.events import StreamPlaces
from runaudit_service.api.audits.watch import Watcher
from runaudit_service.api.database import Database
from runaudit_service.api.direct import DirectStatements
from runaudit_service.api.hooks import endpoints as hooks
from runaudit_service.api.keys import endpoints as keys
from runaudit_service.api.limits.book import LimitBook
from runaudit_service.api.limits.rate import RateLimiter
from runaudit_service.api.metrics import HttpMetrics, StoreMetrics
from runaudit_service.api.middleware import RequestContext
from runaudit_service.api.openapi import describe
from runaudit_service.api.patience import BodyPatience
from runaudit_service.api.projects import endpoints as projects
from runaudit_service.api.resources import Resources
from runaudit_service.api.tidying import keep_tidy
from runaudit_service.api.uploads import endpoints as uploads
from runaudit_service.api.webhooks import callback_endpoints as callbacks
from runaudit_service.api.webhooks import endpoints as webhooks
from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import open_blobs
from runaudit_service.store.database import async_engine, driver_conninfo
from runaudit_service.store.settings import Settings
from runaudit_service.store.staging import Staging
from runaudit_service.store.tenancy import API_ROLE

DESCRIPTION: Final = """\
Audits finished YOLO training runs: re-validates the model, says why it fails validation and what would fix it.

Send a run with `POST /v1/audits`, poll or wait on `GET /v1/audits/{id}`, read `GET /v1/audits/{id}/report`.
Errors are problem documents (RFC 9457) with a stable `code`. Ids are UUIDs of version 7, times are UTC.

Every answer has an `X-Request-ID`, yours if you send one, by which the logs are searched. Whatever knows its caller
tells by `RateLimit-Policy` and `RateLimit` what may follow; 429 and 503 say by `Retry-After` when.
"""


def create_app(settings: Settings) -> FastAPI:
    """The API on these settings. Connects when it is used first, so it starts while the database is away."""
    database = Database(async_engine(settings.database_url, role=API_ROLE))
    resources = Resources(
        settings=settings,
        database=database,
        direct=DirectStatements(driver_conninfo(settings.database_url, API_ROLE)),
        blobs=open_blobs(settings),
        staging=Staging(settings.staging_dir, settings.disk_reserve_bytes),
        bell=Bell(settings.broker_url) if settings.broker_url else None,
        watcher=Watcher(database),
        streams=StreamPlaces(settings.event_streams_per_key),
        http_metrics=HttpMetrics(),
        store_metrics=StoreMetrics(),
        limits=LimitBook(database, settings),
        rate=RateLimiter(settings.broker_url),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(keep_tidy(resources))
        yield
        tidying.cancel()
        await resources.watcher.stop()
        await resources.rate.close()
        await resources.direct.close()
        await database.engine.dispose()
        if resources.bell is not None:
            await asyncio.to_thread(resources.bell.close)

    app = FastAPI(
        title="Runaudit",
        version=__version__,
        summary="Why a YOLO model fails validation, and what would fix it",
        description=DESCRIPTION,
        license_info={"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(RequestContext, metrics=resources.http_metrics),
            Middleware(BodyPatience, idle_seconds=settings.body_idle_seconds),
        ],
    )
    app.state.resources = resources
    errors.install(app)
    # History first: `/v1/audits/export` is no audit's id.
    for module in (
        history,
        audits,
        changes,
        events,
        reports,
        comparisons,
        uploads,
        artifacts,
        keys,
        projects,
        hooks,
        webhooks,
        callbacks,
        health,
        reference_page,
    ):
        app.include_router(module.router)
    describe(app)
    return app
