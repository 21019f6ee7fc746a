"""Inbound hooks: signatures by MLflow's documented algorithm, replays, and what becomes of messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from runaudit_service.api.app import create_app
from runaudit_service.api.errors import InvalidRequestError
from runaudit_service.api.hooks import signature
from runaudit_service.api.hooks.orders import order_of_event, order_of_version
from runaudit_service.api.hooks.schemas import GenericEvent, ModelVersion
from runaudit_service.store.hook_rows import HookDelivery, ModelVersionVerdict
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.models import AuditArtifact, Project
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

SECRET = "whsec_c2VjcmV0IG9mIGEgdGVzdCB0aGF0IHNpZ25z"
RUN_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a tracking server, which only a worker would talk to."""
    return settings.model_copy(update={"mlflow_tracking_uri": "https://mlflow.example.org"})


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def project(engine: Engine, owner: Owner) -> uuid.UUID:
    """The owner's project, with a secret."""
    with Session(engine) as session:
        session.get_one(Project, owner.project.id).signing_secret = SECRET
        session.commit()
    return owner.project.id


def message(**data: Any) -> dict[str, Any]:
    version = {"name": "road-signs", "version": "7", "source": f"models:/m-{RUN_ID}", "run_id": RUN_ID, "tags": {}}
    return {
        "entity": "model_version",
        "action": "created",
        "timestamp": "2026-11-24T08:15:00+00:00",
        "data": version | {"description": None} | data,
    }


def signed(secret: str, delivery_id: str, timestamp: str, body: str) -> str:
    """As mlflow.org's page of webhooks and mlflow/webhooks/delivery.py compute it, written down a second time."""
    content = f"{delivery_id}.{timestamp}.{body}"
    digest = hmac.new(secret.encode("utf-8"), content.encode("utf-8"), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('utf-8')}"


def tell(
    api: Api,
    project: uuid.UUID | None,
    body: Any,
    *,
    secret: str = SECRET,
    delivery_id: str | None = None,
    at: float | None = None,
    **headers: str | bytes,
) -> httpx.Response:
    """Send a message as MLflow does."""
    text = body if isinstance(body, str) else json.dumps(body)
    delivery_id, timestamp = delivery_id or str(uuid.uuid4()), str(int(at if at is not None else time.time()))
    sent = {
        "Content-Type": "application/json",
        signature.DELIVERY_HEADER: delivery_id,
        signature.TIMESTAMP_HEADER: timestamp,
        signature.SIGNATURE_HEADER: signed(secret, delivery_id, timestamp, text),
    }
    place = "/v1/hooks/mlflow" + (f"?project={project}" if project else "")
    return api.post(place, content=text.encode(), headers={"Authorization": ""} | sent | headers)


def test_a_new_model_version_is_audited_and_waits_for_the_verdict(
    api: Api, engine: Engine, project: uuid.UUID, settings: Settings
) -> None:
    answer = tell(api, project, message(tags={"runaudit.depth": "curves"}))
    assert (answer.status_code, answer.json()["outcome"]) == (202, "queued"), answer.text
    audit = api.get(answer.headers["Location"]).json()
    assert audit["id"] == answer.json()["audit_id"]
    assert (audit["state"], audit["run_name"], audit["project"]) == ("fetching", "road-signs 7", "default")
    assert audit["labels"] == {"mlflow.model": "road-signs", "mlflow.version": "7", "mlflow.run": RUN_ID}
    with Session(engine) as session:
        uses = select(AuditArtifact.url).where(AuditArtifact.audit_id == uuid.UUID(audit["id"]))
        assert session.scalars(uses).all() == [f"runs:/{RUN_ID}"]
        waiting = session.scalars(select(ModelVersionVerdict).where(ModelVersionVerdict.audit_id == audit["id"])).one()
        assert (waiting.model, waiting.model_version, waiting.state) == ("road-signs", "7", "waiting")


def test_a_message_that_comes_again_leads_to_no_second_audit(api: Api, engine: Engine, project: uuid.UUID) -> None:
    first = tell(api, project, message(), delivery_id="d-1")
    again = tell(api, project, message(), delivery_id="d-1")
    other = tell(api, project, message(), delivery_id="d-2")
    assert [answer.status_code for answer in (first, again, other)] == [202, 200, 202]
    assert again.json()["outcome"] == "repeated" and again.json()["audit_id"] == first.json()["audit_id"]
    assert other.json()["audit_id"] != first.json()["audit_id"]
    with Session(engine) as session:
        query = select(HookDelivery.delivery_id).where(HookDelivery.project_id == project)
        assert set(session.scalars(query)) == {"d-1", "d-2"}


def test_a_message_that_could_not_be_taken_can_come_again(api: Api, engine: Engine, project: uuid.UUID) -> None:
    assert code_of(tell(api, project, message(run_id=""), delivery_id="d")) == "model_version_without_run"
    assert tell(api, project, message(), delivery_id="d").status_code == 202


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"secret": "another"}, {}),
        ({"at": time.time() - 3600}, {}),
        ({"at": time.time() + 3600}, {}),
        ({"delivery_id": "a.1"}, {}),
        ({}, {signature.SIGNATURE_HEADER: ""}),
        ({}, {signature.SIGNATURE_HEADER: "v1,AAAA v2,BBBB"}),
        ({}, {signature.SIGNATURE_HEADER: b"\xff"}),
        ({}, {signature.DELIVERY_HEADER: "another"}),
        ({}, {signature.TIMESTAMP_HEADER: "soon"}),
        ({}, {signature.TIMESTAMP_HEADER: "9" * 400}),
    ],
)
def test_what_is_not_signed_as_it_should_be_is_refused(
    api: Api, project: uuid.UUID, changes: dict[str, Any], headers: dict[str, Any]
) -> None:
    answer = tell(api, project, message(), **changes, **headers)
    assert (answer.status_code, code_of(answer)) == (401, "signature_invalid")


def test_an_unknown_project_and_a_bare_request_are_refused_alike(api: Api, project: uuid.UUID) -> None:
    unknown = tell(api, uuid.uuid4(), message())
    bare = api.post("/v1/hooks/mlflow", json=message())
    assert {code_of(unknown), code_of(bare)} == {"signature_invalid"}
    assert unknown.json()["detail"] == tell(api, project, message(), secret="x").json()["detail"]


def test_a_signature_beside_others_and_by_the_secret_before_is_taken(
    api: Api, engine: Engine, project: uuid.UUID
) -> None:
    rotated = api.post(f"/v1/projects/{project}/rotate-secret").json()["signing_secret"]
    assert rotated != SECRET
    assert tell(api, project, message(), secret=SECRET).status_code == 202
    assert tell(api, project, message(), secret=rotated).status_code == 202


def test_other_events_and_tests_are_taken_and_ignored(api: Api, project: uuid.UUID) -> None:
    tag = {
        "entity": "model_version_tag",
        "action": "set",
        "data": {"name": "m", "version": "1", "key": "k", "value": "v"},
    }
    example = message(name="example_model", run_id="abcd1234abcd5678", source="runs:/abcd1234abcd5678/model")
    for body in (tag, example):
        answer = tell(api, project, body)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["audit_id"]) == (200, "ignored", None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("no json", 400, "malformed_body"),
        ('{"entity": "model_version"}', 422, "invalid_request"),
        (message(name=1), 422, "invalid_request"),
        (message(tags={"runaudit.depth": "endless"}), 422, "invalid_request"),
        (message(tags={"runaudit.data_path": "../etc"}), 422, "data_path_not_allowed"),
        (message(run_id=None, source="models:/m-1"), 422, "model_version_without_run"),
        (message(run_id="../x"), 422, "url_not_allowed"),
        (message(run_id=None, source="file:///etc/passwd"), 422, "url_not_allowed"),
        (message(run_id=None, source="/mlruns/1"), 422, "url_not_allowed"),
        ("[" + " " * (1 << 20) + "]", 413, "body_too_large"),
    ],
)
def test_messages_that_ask_for_the_impossible_are_told(
    api: Api, project: uuid.UUID, body: Any, status: int, code: str
) -> None:
    answer = tell(api, project, body)
    assert (answer.status_code, code_of(answer)) == (status, code)


def test_a_generic_message_becomes_an_audit(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    body = {
        "event_type": "LINK_ARTIFACT",
        "artifact_version_string": "team/registry/road-signs:v7",
        "artifact_version_index": 7,
        "artifact_url": f"runs:/{RUN_ID}/weights",
        "run_name": "road-signs:v7\n",
        "labels": {"stage name": "prod"},
        "nested": {"ignored": True},
    }
    answer = api.post("/v1/hooks/generic", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 202, answer.text
    again = api.post("/v1/hooks/generic", json=body, headers={"Idempotency-Key": "k"})
    assert again.json() == answer.json() and again.headers["Idempotency-Replayed"] == "true"
    audit = api.get(answer.headers["Location"]).json()
    assert audit["run_name"] == "road-signs:v7"
    assert audit["labels"] == {
        "stage_name": "prod",
        "event_type": "LINK_ARTIFACT",
        "artifact_version_string": "team/registry/road-signs:v7",
        "artifact_version_index": "7",
    }
    assert code_of(api.post("/v1/hooks/generic", json={"run_name": "x"})) == "artifact_missing"
    assert code_of(api.post("/v1/hooks/generic", json=body | {"project": "none"})) == "project_not_found"
    assert code_of(client_of(None).post("/v1/hooks/generic", json=body)) == "unauthenticated"


def test_hooks_are_held_to_the_tenants_limits(api: Api, engine: Engine, owner: Owner, project: uuid.UUID) -> None:
    with Session(engine) as session:
        session.add(TenantLimits(tenant_id=owner.tenant.id, max_queued_audits=1))
        session.commit()
    assert tell(api, project, message(), delivery_id="d-1").status_code == 202
    refused = tell(api, project, message(), delivery_id="d-2")
    assert (refused.status_code, code_of(refused)) == (429, "queued_audits_quota")
    assert "RateLimit" in refused.headers
    generic = api.post("/v1/hooks/generic", json={"artifact_url": f"runs:/{RUN_ID}"})
    assert code_of(generic) == "queued_audits_quota"


def test_the_signature_is_that_of_mlflows_documented_algorithm() -> None:
    # Computed by mlflow 3.17's own _generate_hmac_signature("s3cret", "id-1", "1732435200", '{"a": 1}').
    assert (
        signature.sign("s3cret", "id-1", "1732435200", b'{"a": 1}') == "v1,BQviNmvTIHMXfvym9VBQIP3S9drTpaC1A6LQvipV/9c="
    )
    assert signature.sign("s3cret", "id-1", "1732435200", b'{"a": 1}') == signed(
        "s3cret", "id-1", "1732435200", '{"a": 1}'
    )


def test_labels_and_names_are_made_to_fit() -> None:
    event = GenericEvent.model_validate(
        {"artifact_url": "https://e.org/a.zip", "run_name": "\x00" + "n" * 500, "labels": {"": "x", "ä" * 80: "\x1b"}}
        | {f"k{index}": "v" * 1000 for index in range(100)}
    )
    order = order_of_event(event)
    assert order.run_name == "n" * 199 and len(order.labels) == 32
    assert all(len(value) <= 256 and value.isprintable() for value in order.labels.values())
    version = ModelVersion(name="m" * 900, version="1", run_id="r", tags={"runaudit.data_sha256": "0" * 64})
    made = order_of_version(version, "default")
    assert made.data is not None and made.data.sha256 == "0" * 64 and len(made.run_name or "") == 200
    with pytest.raises(InvalidRequestError):
        order_of_version(version.model_copy(update={"tags": {"runaudit.data_sha256": "short"}}), "default")
