"""API keys over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from runaudit_service.api.keys.service import MAX_ACTIVE_KEYS
from runaudit_service.store.models import ApiKey
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner


def test_a_new_key_is_shown_once_and_works(api: Api, client_of: Callable[[str | None], Api], engine: Engine) -> None:
    response = api.post("/v1/keys", json={"name": "ci", "scopes": ["audits:write", "audits:read", "audits:read"]})
    assert response.status_code == 201
    made = response.json()
    assert made["scopes"] == ["audits:read", "audits:write"]
    assert client_of(made["key"]).get("/v1/audits").status_code == 200
    assert client_of(made["key"]).get("/v1/keys").status_code == 403
    listed = {key["id"]: key for key in api.get("/v1/keys").json()["items"]}
    assert "key" not in listed[made["id"]]
    with Session(engine) as session:
        row = session.get_one(ApiKey, uuid.UUID(made["id"]))
        assert made["key"] not in {str(value) for value in vars(row).values()}


def test_a_revoked_key_stops_at_once(api: Api, client_of: Callable[[str | None], Api]) -> None:
    made = api.post("/v1/keys", json={"name": "ci", "scopes": ["audits:read"]}).json()
    for _ in range(2):
        assert api.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert client_of(made["key"]).get("/v1/audits").status_code == 401
    listed = {key["id"]: key for key in api.get("/v1/keys").json()["items"]}
    assert listed[made["id"]]["revoked_at"] is not None


def test_the_last_key_that_makes_keys_stays(api: Api) -> None:
    own = api.get("/v1/keys").json()["items"][0]["id"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert api.post("/v1/keys", json={"name": "a", "scopes": ["admin"], "expires_at": soon}).status_code == 201
    response = api.delete(f"/v1/keys/{own}")
    assert (response.status_code, code_of(response)) == (409, "last_admin_key")
    api.post("/v1/keys", json={"name": "b", "scopes": ["admin"]})
    assert api.delete(f"/v1/keys/{own}").status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "", "scopes": ["admin"]},
        {"name": "a\nb", "scopes": ["admin"]},
        {"name": "x", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "scopes": ["admin"], "expires_at": "2099-01-01T00:00:00"},
        {"name": "x", "scopes": ["admin"], "expires_at": "9999-12-31T23:59:59-14:00"},
    ],
)
def test_a_wrong_request_makes_no_key(api: Api, body: dict[str, Any]) -> None:
    response = api.post("/v1/keys", json=body)
    assert (response.status_code, code_of(response)) == (422, "invalid_request")
    assert len(api.get("/v1/keys").json()["items"]) == 1


def test_an_unknown_key_is_not_found(api: Api) -> None:
    for key_id in (str(uuid.uuid4()), "none"):
        assert code_of(api.delete(f"/v1/keys/{key_id}")) == "key_not_found"


def test_keys_have_a_limit(api: Api, owner: Owner, engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all(
            ApiKey(tenant_id=owner.tenant.id, name="x", lookup=str(uuid.uuid4()), secret_hash="00", scopes=[])
            for _ in range(MAX_ACTIVE_KEYS - 1)
        )
        session.commit()
        assert len(session.scalars(select(ApiKey).where(ApiKey.tenant_id == owner.tenant.id)).all()) == MAX_ACTIVE_KEYS
    response = api.post("/v1/keys", json={"name": "x", "scopes": ["admin"]})
    assert (response.status_code, code_of(response)) == (409, "too_many_keys")
