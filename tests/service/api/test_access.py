"""Every route against every kind of caller. A route that is not in the table fails the test.

The application and its tenants are made once: some forty routes times a dozen identities would else take minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from runaudit_service.api.app import create_app
from runaudit_service.api.database import act_for
from runaudit_service.store import keys
from runaudit_service.store.models import ApiKey
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

OPEN: Final = "no key needed"
SIGNED: Final = "a signature in place of a key"
"""tested in test_hooks.py"""
# What each call needs: a scope, or nothing at all.
NEEDS: Final[dict[tuple[str, str], str]] = {
    ("POST", "/v1/audits"): "audits:write",
    ("GET", "/v1/audits"): "audits:read",
    ("GET", "/v1/audits/export"): "audits:read",
    ("GET", "/v1/audits/{audit_id}"): "audits:read",
    ("PATCH", "/v1/audits/{audit_id}"): "audits:write",
    ("GET", "/v1/audits/{audit_id}/compare/{other_id}"): "audits:read",
    ("DELETE", "/v1/audits/{audit_id}"): "audits:write",
    ("GET", "/v1/audits/{audit_id}/events"): "audits:read",
    ("GET", "/v1/audits/{audit_id}/report"): "audits:read",
    ("GET", "/v1/audits/{audit_id}/figures/{name}"): "audits:read",
    ("POST", "/v1/audits/{audit_id}/cancel"): "audits:write",
    ("POST", "/v1/audits/{audit_id}/rerun"): "audits:write",
    ("GET", "/v1/audits/{audit_id}/deliveries"): "webhooks:write",
    ("POST", "/v1/audits/{audit_id}/deliveries/{delivery_id}/redeliver"): "webhooks:write",
    ("POST", "/v1/uploads"): "audits:write",
    ("HEAD", "/v1/uploads/{upload_id}"): "audits:write",
    ("PATCH", "/v1/uploads/{upload_id}"): "audits:write",
    ("HEAD", "/v1/artifacts/{sha256}"): "audits:write",
    ("GET", "/v1/webhooks"): "webhooks:write",
    ("POST", "/v1/webhooks"): "webhooks:write",
    ("PATCH", "/v1/webhooks/{webhook_id}"): "webhooks:write",
    ("DELETE", "/v1/webhooks/{webhook_id}"): "webhooks:write",
    ("POST", "/v1/webhooks/{webhook_id}/ping"): "webhooks:write",
    ("POST", "/v1/webhooks/{webhook_id}/rotate-secret"): "webhooks:write",
    ("POST", "/v1/webhooks/{webhook_id}/redeliver"): "webhooks:write",
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): "webhooks:write",
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): "webhooks:write",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("POST", "/v1/keys/{key_id}/rotate"): "admin",
    ("DELETE", "/v1/keys/{key_id}"): "admin",
    ("GET", "/v1/projects"): "audits:read",
    ("POST", "/v1/projects"): "admin",
    ("PATCH", "/v1/projects/{project_id}"): "admin",
    ("POST", "/v1/projects/{project_id}/rotate-secret"): "admin",
    ("POST", "/v1/hooks/mlflow"): SIGNED,
    ("POST", "/v1/hooks/generic"): "audits:write",
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/start.js"): OPEN,
    ("GET", "/docs/swagger-ui-bundle.js"): OPEN,
    ("GET", "/docs/swagger-ui.css"): OPEN,
    ("GET", "/docs/favicon-32x32.png"): OPEN,
}
GUARDED: Final = sorted(route for route, scope in NEEDS.items() if scope not in (OPEN, SIGNED))
WITH_ID: Final = [route for route in GUARDED if "{" in route[1]]
STREAMS: Final = {"/v1/audits/{audit_id}/events"}
"""answers that last as long as their audit: what the owner gets of them is tested elsewhere"""
NO_IDS: Final = {"name"}
"""parameters that name something within what the id before them names"""
PARAMETER: Final = re.compile(r"{(\w+)}")
# What a call needs beside `{}` to get as far as looking for the thing.
BODIES: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("POST", "/v1/webhooks/{webhook_id}/redeliver"): {"since": "2026-01-01T00:00:00Z"},
}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every call that the application answers: its own routes and those of its routers, documented or not."""
    found: set[tuple[str, str]] = set()

    def walk(routes: list[Any], prefix: str) -> None:
        for route in routes:
            nested = getattr(route, "original_router", None)
            if nested is not None:
                walk(nested.routes, prefix)
            elif getattr(route, "methods", None) is None:
                raise AssertionError(f"{route!r} is of a kind that this test does not know")
            else:
                # Starlette gives its GETs a HEAD; one that stands alone is a call of its own.
                methods = route.methods - {"HEAD"} if "GET" in route.methods else route.methods
                found.update((method, prefix + route.path) for method in methods)

    walk(app.routes, "")
    return found


@pytest.fixture(scope="module")
def served(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One application for all tests here, called without a key."""
    folder = tmp_path_factory.mktemp("access")
    settings = Settings(database_url=postgres_url, broker_url=valkey_url, data_dir=folder, max_upload_bytes=1 << 20)
    with asyncio.Runner() as runner, Api(create_app(settings), runner, None) as api:
        yield api


def call(served: Api, key: str | None, route: tuple[str, str], path: str, **more: Any) -> httpx.Response:
    """The call with this key; a write with a body that is as good as nothing."""
    method = route[0]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body: dict[str, Any] = {}
    if route == ("PATCH", "/v1/uploads/{upload_id}"):
        body = {"content": b"x"}
        headers |= {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    elif method in ("POST", "PATCH"):
        body = {"json": BODIES.get(route, {})}
    return served.request(method, path, headers=headers, **body, **more)


def filled(path: str, ids: dict[str, str] | None = None) -> str:
    """The path with these ids, by parameter; with ids that nothing has where none are given."""
    return PARAMETER.sub(lambda match: ids[match[1]] if ids else str(uuid.uuid4()), path)


def code(response: httpx.Response) -> str:
    """The code of the problem; answers to HEAD have none."""
    return code_of(response) if response.content else ""


def test_the_table_has_every_route(app: FastAPI) -> None:
    documented = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    served, known = routes_of(app), set(NEEDS)
    assert not served - known, (
        f"NEEDS in tests/service/api/test_access.py does not know {sorted(served - known)}: say which scope they need, "
        "and in `things` how to make what an id in their path names"
    )
    assert not known - served, f"no longer served: {sorted(known - served)}"
    assert documented <= known


def test_the_document_says_which_calls_need_a_key(app: FastAPI) -> None:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            needed = NEEDS[method.upper(), path]
            expected = {OPEN: None, SIGNED: [{"MlflowSignature": []}]}.get(needed, [{"ApiKey": [needed]}])
            assert operation.get("security") == expected, (method, path)


def test_open_calls_need_no_key(served: Api) -> None:
    for method, path in (route for route, scope in NEEDS.items() if scope == OPEN):
        assert served.request(method, path).status_code == 200, path


def _key(new_owner: Callable[..., Owner], identity: str) -> str | None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    good, other = new_owner().key, keys.generate()
    return {
        "none": lambda: None,
        "garbage": lambda: "garbage",
        "unknown": lambda: other.text,
        "another secret": lambda: good[:16] + other.text[16:],
        "damaged": lambda: good[:-1] + ("0" if good[-1] != "0" else "1"),
        "expired": lambda: new_owner(expires_at=yesterday).key,
        "revoked": lambda: new_owner(revoked_at=yesterday).key,
    }[identity]()


@pytest.mark.parametrize(
    "identity", ["none", "garbage", "unknown", "another secret", "damaged", "expired", "revoked", "rotated away"]
)
def test_without_a_good_key_nothing_is_told(
    served: Api, new_owner: Callable[..., Owner], engine: Engine, identity: str
) -> None:
    if identity == "rotated away":
        owner = new_owner()
        new = keys.rotated(keys.lookup_of(owner.key) or "")
        with Session(engine) as session:
            session.execute(
                update(ApiKey)
                .where(ApiKey.lookup == new.lookup)
                .values(
                    secret_hash=new.secret_hash,
                    previous_hash=keys.hash_of(owner.key),
                    previous_expires_at=datetime.now(UTC) - timedelta(seconds=1),
                )
            )
            session.commit()
        key: str | None = owner.key
    else:
        key = _key(new_owner, identity)
    for route in GUARDED:
        response = call(served, key, route, filled(route[1]))
        assert (response.status_code, code(response)) == (401, "unauthenticated" if response.content else ""), route
        assert response.headers["WWW-Authenticate"].startswith("Bearer"), route


def test_a_key_works_in_no_other_place_than_the_bearer_header(served: Api, new_owner: Callable[..., Owner]) -> None:
    good = new_owner().key
    for method, path in GUARDED:
        for arguments in (
            {"headers": {"Authorization": f"Basic {good}"}},
            {"params": {"key": good, "access_token": good}},
            {"headers": {"Cookie": f"Authorization=Bearer {good}"}},
        ):
            assert served.request(method, filled(path), **arguments).status_code == 401, (method, path)


@pytest.mark.parametrize("scope", keys.SCOPES)
def test_a_key_can_do_what_its_one_scope_says_and_nothing_else(
    served: Api, new_owner: Callable[..., Owner], scope: str
) -> None:
    key = new_owner((scope,)).key
    for route in GUARDED:
        response = call(served, key, route, filled(route[1]))
        if NEEDS[route] == scope:
            assert response.status_code not in (401, 403), route
            assert response.status_code < 500, route
        else:
            assert response.status_code == 403, route
            if response.content:
                assert code(response) == "insufficient_scope", route
                assert NEEDS[route] in response.json()["detail"], route


def things(served: Api, engine: Engine, owner: Owner, content: bytes) -> dict[str, str]:
    """One of everything that a path can name, by the parameter's name."""

    def make(path: str, **body: Any) -> dict[str, Any]:
        response = call_as(served, owner).post(path, json=body)
        assert response.is_success, response.text
        made: dict[str, Any] = response.json()
        return made

    audit = call_as(served, owner).submit(content).json()
    webhook = make("/v1/webhooks", url="https://hooks.example.com/x", events=["audit.queued"])
    make(f"/v1/audits/{audit['id']}/rerun")
    with Session(engine) as session:
        key = session.query(ApiKey).filter(ApiKey.lookup == keys.lookup_of(owner.key)).one()
        delivery = session.execute(
            text("SELECT id FROM webhook_deliveries WHERE endpoint_id = :id"), {"id": webhook["id"]}
        ).scalar_one()
    return {
        "audit_id": audit["id"],
        "other_id": audit["id"],
        "key_id": str(key.id),
        "project_id": str(owner.project.id),
        "webhook_id": webhook["id"],
        "delivery_id": str(delivery),
        "upload_id": make("/v1/uploads", length=1)["id"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "name": "confusion_matrix.svg",
    }


def call_as(served: Api, owner: Owner) -> Api:
    """A client with the owner's key on the same application."""
    return served.with_key(owner.key)


def state_of(served: Api, owner: Owner, ids: dict[str, str]) -> list[Any]:
    """All that the owner can see and a stranger could have changed."""
    api = call_as(served, owner)
    paths = ["/v1/audits", f"/v1/audits/{ids['audit_id']}", "/v1/projects", "/v1/webhooks"]
    offset = api.request("HEAD", f"/v1/uploads/{ids['upload_id']}")
    keys_now = [{**key, "last_used_at": None} for key in api.get("/v1/keys").json()["items"]]
    return [*(api.get(path).json() for path in paths), keys_now, offset.headers["Upload-Offset"]]


def test_another_tenants_id_is_as_unknown_as_one_that_never_was(
    served: Api, new_owner: Callable[..., Owner], engine: Engine
) -> None:
    mine, stranger = new_owner(), new_owner()
    ids, own = things(served, engine, mine, b"mine"), things(served, engine, stranger, b"the stranger's")
    before = state_of(served, mine, ids)
    for route in WITH_ID:
        parameters = [name for name in PARAMETER.findall(route[1]) if name not in NO_IDS]
        assert set(parameters) <= set(ids), f"`things` can't make what {route} names"
        # With one foreign id, whatever the others are.
        for foreign in parameters:
            named, nothing = own | {foreign: ids[foreign]}, own | {foreign: str(uuid.uuid4())}
            theirs = call(served, stranger.key, route, filled(route[1], named))
            unknown = call(served, stranger.key, route, filled(route[1], nothing))
            assert (theirs.status_code, code(theirs)) == (404, code(unknown)), (route, theirs.text)
            if theirs.content:
                told = theirs.json()["detail"].replace(ids[foreign], "")
                assert told == unknown.json()["detail"].replace(nothing[foreign], ""), route
        looks = route[0] in ("GET", "HEAD") and route[1] not in STREAMS
        known = call(served, mine.key, route, filled(route[1], ids)) if looks else None
        assert known is None or known.status_code in (200, 409), (route, "its owner can't see it")
    assert state_of(served, mine, ids) == before


def test_lists_show_only_ones_own(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    audit = api.submit(b"mine").json()
    stranger = client_of(new_owner().key)
    assert stranger.get("/v1/audits").json()["items"] == []
    assert stranger.get("/v1/audits/export").text == ""
    assert len(stranger.get("/v1/keys").json()["items"]) == 1
    assert len(stranger.get("/v1/projects").json()["items"]) == 1
    assert stranger.get("/v1/webhooks").json()["items"] == []
    digest = audit["artifacts"][0]["sha256"]
    assert code_of(stranger.post("/v1/audits", json={"artifact_sha256": digest})) == "artifact_not_found"
    mine = stranger.submit(b"mine")
    assert (mine.status_code, mine.json()["id"] != audit["id"]) == (202, True)


def test_a_query_that_forgets_its_tenant_sees_nothing_of_others(
    served: Api, new_owner: Callable[..., Owner], engine: Engine
) -> None:
    """The second wall, through the API's own sessions: raw SQL without any condition."""
    mine, stranger = new_owner(), new_owner()
    things(served, engine, mine, b"behind the wall")
    database = served.app.state.resources.database

    async def all_rows(tenant: uuid.UUID | None, table: str) -> int:
        act_for(tenant)
        async with database.reading() as session:
            return int(await session.scalar(text(f"SELECT count(*) FROM {table}")))

    for table in ("audits", "events", "jobs", "audit_artifacts", "artifacts", "webhook_endpoints", "uploads"):
        counted = [served.run(all_rows(tenant, table)) for tenant in (mine.tenant.id, stranger.tenant.id, None)]
        assert counted[0] >= 1, table
        assert counted[1:] == [0, 0], table


def test_the_use_of_a_key_is_noted(api: Api) -> None:
    api.get("/v1/projects")
    key = api.get("/v1/keys").json()["items"][0]
    assert datetime.now(UTC) - datetime.fromisoformat(key["last_used_at"]) < timedelta(minutes=1)
