"""Every route against every kind of caller. A route that is not in the table fails the test."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from runaudit_service.store import keys
from runaudit_service.store.models import ApiKey
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

OPEN: Final = "no key needed"
# What each call needs: a scope, or nothing at all.
NEEDS: Final[dict[tuple[str, str], str]] = {
    ("POST", "/v1/audits"): "audits:write",
    ("GET", "/v1/audits"): "audits:read",
    ("GET", "/v1/audits/{audit_id}"): "audits:read",
    ("DELETE", "/v1/audits/{audit_id}"): "audits:write",
    ("GET", "/v1/audits/{audit_id}/report"): "audits:read",
    ("GET", "/v1/audits/{audit_id}/figures/{name}"): "audits:read",
    ("POST", "/v1/audits/{audit_id}/cancel"): "audits:write",
    ("POST", "/v1/audits/{audit_id}/rerun"): "audits:write",
    ("POST", "/v1/uploads"): "audits:write",
    ("HEAD", "/v1/uploads/{upload_id}"): "audits:write",
    ("PATCH", "/v1/uploads/{upload_id}"): "audits:write",
    ("HEAD", "/v1/artifacts/{sha256}"): "audits:write",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("DELETE", "/v1/keys/{key_id}"): "admin",
    ("GET", "/v1/projects"): "audits:read",
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/oauth2-redirect"): OPEN,
}
GUARDED: Final = sorted(route for route, scope in NEEDS.items() if scope != OPEN)
WITH_ID: Final = [route for route in GUARDED if "{" in route[1]]


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


def filled(path: str) -> str:
    """The path with ids that nothing has."""
    return re.sub("{.*?}", lambda _: str(uuid.uuid4()), path)


def test_the_table_has_every_route(app: FastAPI) -> None:
    documented = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert routes_of(app) == set(NEEDS)
    assert documented <= set(NEEDS)


def test_the_document_says_which_calls_need_a_key(app: FastAPI) -> None:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            assert ("security" in operation) == (NEEDS[method.upper(), path] != OPEN), (method, path)


@pytest.mark.parametrize("route", [route for route, scope in NEEDS.items() if scope == OPEN], ids=str)
def test_open_calls_need_no_key(client_of: Callable[[str | None], Api], route: tuple[str, str]) -> None:
    assert client_of(None).request(*route).status_code == 200


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_without_a_good_key_nothing_is_told(
    client_of: Callable[[str | None], Api],
    new_owner: Callable[..., Owner],
    route: tuple[str, str],
) -> None:
    method, path = route
    yesterday = datetime.now(UTC) - timedelta(days=1)
    good = new_owner().key
    wrong_secret = keys.generate().text
    callers = {
        "none": None,
        "garbage": "garbage",
        "unknown": wrong_secret,
        "another secret": good[:16] + wrong_secret[16:],
        "damaged": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "expired": new_owner(expires_at=yesterday).key,
        "revoked": new_owner(revoked_at=yesterday).key,
    }
    for name, key in callers.items():
        response = client_of(key).request(method, filled(path))
        assert (response.status_code, code_of(response)) == (401, "unauthenticated"), name
        assert response.headers["WWW-Authenticate"].startswith("Bearer"), name
    basic = client_of(None).request(method, filled(path), headers={"Authorization": f"Basic {good}"})
    assert basic.status_code == 401
    query = client_of(None).request(method, filled(path), params={"key": good, "access_token": good})
    assert query.status_code == 401


@pytest.mark.parametrize("route", GUARDED, ids=str)
def test_a_key_without_the_scope_is_refused(
    client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner], route: tuple[str, str]
) -> None:
    others = tuple(scope for scope in keys.SCOPES if scope != NEEDS[route])
    response = client_of(new_owner(others).key).request(route[0], filled(route[1]))
    assert (response.status_code, code_of(response)) == (403, "insufficient_scope")
    assert NEEDS[route] in response.json()["detail"]


@pytest.mark.parametrize("route", WITH_ID, ids=str)
def test_another_tenants_id_is_as_unknown_as_one_that_never_was(
    api: Api,
    client_of: Callable[[str | None], Api],
    new_owner: Callable[..., Owner],
    owner: Owner,
    engine: Engine,
    route: tuple[str, str],
) -> None:
    method, path = route
    audit_id = api.submit().json()["id"]
    with Session(engine) as session:
        lookup = keys.lookup_of(owner.key)
        key_id = str(session.query(ApiKey.id).filter(ApiKey.lookup == lookup).scalar())
    stranger = client_of(new_owner().key)
    ids = {"audit_id": audit_id, "key_id": key_id, "sha256": hashlib.sha256(b"an archive").hexdigest()}
    ids["upload_id"] = api.post("/v1/uploads", json={"length": 1}).json()["id"]
    offset = {"Upload-Offset": "0"}
    foreign = stranger.request(method, path.format_map(ids), headers=offset)
    nothing = str(uuid.uuid4())
    unknown = stranger.request(method, path.format_map(dict.fromkeys(ids, nothing)), headers=offset)
    assert (foreign.status_code, code_of(foreign)) == (404, code_of(unknown))
    told, told_of_nothing = foreign.json(), unknown.json()
    for known in ids.values():
        told["detail"] = told["detail"].replace(known, "")
    assert told["detail"] == told_of_nothing["detail"].replace(nothing, "")
    assert api.get(f"/v1/audits/{audit_id}").json()["state"] == "queued"


def test_lists_show_only_ones_own(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    audit = api.submit(b"mine").json()
    stranger = client_of(new_owner().key)
    assert stranger.get("/v1/audits").json()["items"] == []
    assert len(stranger.get("/v1/keys").json()["items"]) == 1
    assert len(stranger.get("/v1/projects").json()["items"]) == 1
    digest = audit["artifacts"][0]["sha256"]
    assert code_of(stranger.post("/v1/audits", json={"artifact_sha256": digest})) == "artifact_not_found"
    mine = stranger.submit(b"mine")
    assert (mine.status_code, mine.json()["id"] != audit["id"]) == (202, True)


def test_the_use_of_a_key_is_noted(api: Api) -> None:
    api.get("/v1/projects")
    key = api.get("/v1/keys").json()["items"][0]
    assert datetime.now(UTC) - datetime.fromisoformat(key["last_used_at"]) < timedelta(minutes=1)
