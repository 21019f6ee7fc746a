"""Projects over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from runaudit_service.api.projects.service import MAX_PROJECTS
from runaudit_service.store.models import Project
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner


def make(api: Api, **body: Any) -> dict[str, Any]:
    response = api.post("/v1/projects", json={"name": "signs"} | body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_new_project_takes_audits_and_shows_its_secret_once(api: Api) -> None:
    made = make(api, default_policy={"min_map50_95": 0.5}, retention_days=30)
    assert made["signing_secret"].startswith("whsec_")
    listed = {project["name"]: project for project in api.get("/v1/projects").json()["items"]}
    assert listed["signs"] == {k: v for k, v in made.items() if k not in ("signing_secret", "previous_expires_at")}
    assert (listed["signs"]["default_policy"], listed["signs"]["retention_days"]) == ({"min_map50_95": 0.5}, 30)
    assert api.submit(b"a run", project="signs").json()["project"] == "signs"


def test_what_a_change_leaves_out_stays_and_null_takes_away(api: Api) -> None:
    made = make(api, default_policy={"min_map50": 0.5}, retention_days=30)
    url = f"/v1/projects/{made['id']}"
    assert api.request("PATCH", url, json={"name": "lights"}).json()["retention_days"] == 30
    changed = api.request("PATCH", url, json={"retention_days": None, "name": None}).json()
    assert (changed["name"], changed["retention_days"]) == ("lights", None)
    assert changed["default_policy"] == {"min_map50": 0.5}
    assert api.request("PATCH", url, json={"default_policy": None}).json()["default_policy"] == {}


def test_a_rotated_secret_leaves_the_one_before_for_a_day(api: Api, engine: Engine) -> None:
    made = make(api)
    rotated = api.post(f"/v1/projects/{made['id']}/rotate-secret").json()
    assert rotated["signing_secret"].startswith("whsec_")
    assert rotated["signing_secret"] != made["signing_secret"]
    left = datetime.fromisoformat(rotated["previous_expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    with Session(engine) as session:
        row = session.get_one(Project, uuid.UUID(made["id"]))
        assert (row.signing_secret, row.previous_signing_secret) == (rotated["signing_secret"], made["signing_secret"])


def test_names_are_taken_once_a_tenant(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    made = make(api)
    other = make(api, name="other")
    for response in (
        api.post("/v1/projects", json={"name": "signs"}),
        api.request("PATCH", f"/v1/projects/{other['id']}", json={"name": "signs"}),
    ):
        assert (response.status_code, code_of(response)) == (409, "project_exists")
    assert api.request("PATCH", f"/v1/projects/{made['id']}", json={"name": "signs"}).status_code == 200
    assert make(client_of(new_owner().key))["id"] != made["id"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "retention_days": 0},
        {"name": "x", "retention_days": 10**9},
        {"name": "x", "default_policy": {"min_map50": 2}},
        {"name": "x", "default_policy": {"min_class_map50_95": {"a\0b": 0.5}}},
        {"name": "x", "secret": "whsec_mine"},
    ],
)
def test_a_wrong_request_makes_no_project(api: Api, body: dict[str, Any]) -> None:
    response = api.post("/v1/projects", json=body)
    assert (response.status_code, code_of(response)) == (422, "invalid_request")
    assert len(api.get("/v1/projects").json()["items"]) == 1


def test_an_unknown_project_is_not_found(api: Api) -> None:
    for project_id in (str(uuid.uuid4()), "none"):
        for response in (
            api.request("PATCH", f"/v1/projects/{project_id}", json={}),
            api.post(f"/v1/projects/{project_id}/rotate-secret"),
        ):
            assert (response.status_code, code_of(response)) == (404, "project_not_found")


def test_projects_have_a_limit(api: Api, owner: Owner, engine: Engine) -> None:
    with Session(engine) as session:
        names = (str(number) for number in range(MAX_PROJECTS - 1))
        session.add_all(Project(tenant_id=owner.tenant.id, name=name) for name in names)
        session.commit()
    response = api.post("/v1/projects", json={"name": "one more"})
    assert (response.status_code, code_of(response)) == (409, "too_many_projects")


def test_what_names_the_project_is_another_version_once_that_is_renamed(api: Api) -> None:
    project = make(api)
    place = api.submit(project=project["name"]).headers["Location"]
    tag = api.get(place).headers["ETag"]
    assert api.get(place, headers={"If-None-Match": tag}).status_code == 304
    api.request("PATCH", f"/v1/projects/{project['id']}", json={"name": "lights"})
    renamed = api.get(place, headers={"If-None-Match": tag})
    assert (renamed.status_code, renamed.json()["project"]) == (200, "lights")
    assert api.get(place, headers={"If-None-Match": renamed.headers["ETag"]}).status_code == 304
    changed = api.request("PATCH", place, json={"labels": {}}, headers={"If-Match": renamed.headers["ETag"]})
    assert (changed.status_code, changed.headers["ETag"]) == (200, renamed.headers["ETag"])
