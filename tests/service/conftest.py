"""The API on a real database, called over ASGI, with a tenant of its own for each test."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from runaudit_service.api.app import create_app
from runaudit_service.embedded.postgres import Postgres
from runaudit_service.store import front_login, keys
from runaudit_service.store.database import sync_engine
from runaudit_service.store.models import ApiKey, Project, Tenant, new_id
from runaudit_service.store.settings import Settings
from tests.service.clients import Api


@dataclasses.dataclass(frozen=True)
class Owner:
    """A tenant, its default project, and a key with all scopes."""

    tenant: Tenant
    project: Project
    key: str


@pytest.fixture(scope="module")
def engine(postgres_url: str) -> Iterator[Engine]:
    made = sync_engine(postgres_url)
    yield made
    made.dispose()


@pytest.fixture
def new_owner(engine: Engine) -> Callable[..., Owner]:
    """Makes tenants; `new_owner(scopes)` gives the key these scopes only."""

    def make(scopes: tuple[str, ...] = keys.SCOPES, **key: Any) -> Owner:
        new = keys.generate()
        with Session(engine, expire_on_commit=False) as session:
            tenant = Tenant(id=new_id(), name=new.lookup)
            session.add(tenant)
            session.flush()
            project = Project(id=new_id(), tenant_id=tenant.id, name="default")
            row = ApiKey(
                tenant_id=tenant.id,
                name="test",
                lookup=new.lookup,
                secret_hash=new.secret_hash,
                scopes=list(scopes),
                **key,
            )
            session.add_all([project, row])
            session.commit()
        return Owner(tenant, project, new.text)

    return make


@pytest.fixture
def owner(new_owner: Callable[..., Owner]) -> Owner:
    return new_owner()


@pytest.fixture(scope="module")
def front_url(postgres_server: Postgres, postgres_url: str) -> str:
    """The module's database as the API connects to it: by a login that owns nothing."""
    url = postgres_server.front_url(str(make_url(postgres_url).database))
    front_login.ensure(postgres_url, url)
    return url


@pytest.fixture
def settings(front_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=front_url,
        broker_url=valkey_url,
        data_dir=tmp_path / "data",
        data_roots=str(tmp_path / "sets"),
        max_upload_bytes=1 << 20,
    )


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test: an engine's connections belong to the loop that made them."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture
def api(app: FastAPI, owner: Owner, runner: asyncio.Runner) -> Iterator[Api]:
    """A client with the owner's key, over ASGI."""
    with Api(app, runner, owner.key) as client:
        yield client


@pytest.fixture
def client_of(app: FastAPI, runner: asyncio.Runner, api: Api) -> Callable[[str | None], Api]:
    """Clients with other keys on the same application."""
    return lambda key: Api(app, runner, key)
