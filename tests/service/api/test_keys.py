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


def rotate(api: Api, key_id: str, **body: Any) -> dict[str, Any]:
    response = api.post(f"/v1/keys/{key_id}/rotate", json=body)
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


def works(client_of: Callable[[str | None], Api], key: str) -> bool:
    return client_of(key).get("/v1/audits").status_code == 200


def test_after_a_rotation_both_secrets_work_until_the_grace_period_ends(
    api: Api, client_of: Callable[[str | None], Api], engine: Engine
) -> None:
    first = api.post("/v1/keys", json={"name": "ci", "scopes": ["audits:read"]}).json()
    second = rotate(api, first["id"], grace_seconds=3600)
    assert (second["id"], second["key"] == first["key"]) == (first["id"], False)
    assert works(client_of, first["key"]) and works(client_of, second["key"])
    listed = next(key for key in api.get("/v1/keys").json()["items"] if key["id"] == first["id"])
    assert datetime.fromisoformat(listed["previous_expires_at"]) > datetime.now(UTC) + timedelta(minutes=59)
    with Session(engine) as session:
        row = session.get_one(ApiKey, uuid.UUID(first["id"]))
        assert not {first["key"], second["key"]} & {str(value) for value in vars(row).values()}
        row.previous_expires_at = datetime.now(UTC) - timedelta(seconds=1)
        session.commit()
    assert not works(client_of, first["key"])
    assert works(client_of, second["key"])


def test_a_second_rotation_ends_the_first_secret_and_grace_may_be_none(
    api: Api, client_of: Callable[[str | None], Api]
) -> None:
    first = api.post("/v1/keys", json={"name": "ci", "scopes": ["audits:read"]}).json()
    second = rotate(api, first["id"])
    third = rotate(api, first["id"])
    assert [works(client_of, one["key"]) for one in (first, second, third)] == [False, True, True]
    fourth = rotate(api, first["id"], grace_seconds=0)
    assert fourth["previous_expires_at"] is None
    assert [works(client_of, one["key"]) for one in (third, fourth)] == [False, True]


def test_a_revoked_key_is_not_rotated_and_ends_with_both_its_secrets(
    api: Api, client_of: Callable[[str | None], Api]
) -> None:
    first = api.post("/v1/keys", json={"name": "ci", "scopes": ["audits:read"]}).json()
    second = rotate(api, first["id"])
    assert api.delete(f"/v1/keys/{first['id']}").status_code == 204
    assert not works(client_of, first["key"]) and not works(client_of, second["key"])
    response = api.post(f"/v1/keys/{first['id']}/rotate", json={})
    assert (response.status_code, code_of(response)) == (409, "key_not_active")


def test_a_key_gives_and_takes_over_only_scopes_that_it_has(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    made = api.post("/v1/keys", json={"name": "keys only", "scopes": ["admin"]}).json()
    small = client_of(made["key"])
    strong = next(key for key in api.get("/v1/keys").json()["items"] if "audits:write" in key["scopes"])
    for response in (
        small.post("/v1/keys", json={"name": "x", "scopes": ["admin", "audits:write"]}),
        small.post(f"/v1/keys/{strong['id']}/rotate", json={}),
    ):
        assert (response.status_code, code_of(response)) == (403, "insufficient_scope")
        assert "audits:write" in response.json()["detail"]
    assert small.post("/v1/keys", json={"name": "x", "scopes": ["admin"]}).status_code == 201
    assert rotate(small, made["id"])["key"].startswith("ra_")
