"""Submitting by few statements: what one of them refuses leaves nothing of the others, and the second wall stands."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from runaudit_service.api.audits.repository import AuditRepository, Ground, Input
from runaudit_service.api.database import Database, act_for
from runaudit_service.store.blobs import Blob
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.models import Artifact, Audit, Event, Job, new_id
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

SENT = b"sent with the request"
DIGEST = hashlib.sha256(SENT).hexdigest()


def rows_of(engine: Engine, tenant_id: uuid.UUID) -> dict[str, int]:
    """How many rows the tenant has of what submitting writes."""
    audits = select(Audit.id).where(Audit.tenant_id == tenant_id)
    counted = {
        "audits": select(func.count()).select_from(Audit).where(Audit.tenant_id == tenant_id),
        "jobs": select(func.count()).select_from(Job).where(Job.audit_id.in_(audits)),
        "events": select(func.count()).select_from(Event).where(Event.tenant_id == tenant_id),
        "artifacts": select(func.count()).select_from(Artifact).where(Artifact.tenant_id == tenant_id),
    }
    with Session(engine) as session:
        return {name: session.scalar(query) or 0 for name, query in counted.items()}


ONE_OF_EACH = {"audits": 1, "jobs": 1, "events": 1, "artifacts": 1}


@pytest.mark.parametrize(
    ("request_body", "code", "place"),
    [
        ({"project": "nowhere"}, "project_not_found", "/project"),
        ({"data": {"sha256": "0" * 64}}, "artifact_not_found", "/data/sha256"),
        ({"policy": {"baseline_audit": "0" * 32}}, "baseline_not_found", "/policy/baseline_audit"),
    ],
)
def test_a_request_that_is_refused_leaves_no_row_and_can_be_corrected(
    api: Api, engine: Engine, owner: Owner, request_body: dict[str, Any], code: str, place: str
) -> None:
    key = {"Idempotency-Key": "corrected"}

    def submit(**order: Any) -> httpx.Response:
        parts: dict[str, Any] = {"artifact": ("run.zip", SENT), "request": (None, json.dumps(order))}
        return api.post("/v1/audits", files=parts, headers=key)

    refused = submit(**request_body)
    assert (code_of(refused), refused.json()["errors"][0]["pointer"]) == (code, place)
    assert set(rows_of(engine, owner.tenant.id).values()) == {0}
    assert submit().status_code == 202
    assert rows_of(engine, owner.tenant.id) == ONE_OF_EACH


def test_a_queue_that_is_full_takes_nothing_and_keeps_no_answer(api: Api, engine: Engine, owner: Owner) -> None:
    with Session(engine) as session:
        session.add(TenantLimits(tenant_id=owner.tenant.id, max_queued_audits=1))
        session.commit()
    first, key = api.submit(SENT), {"Idempotency-Key": "once-there-is-room"}

    def again() -> httpx.Response:
        return api.post("/v1/audits", json={"artifact_sha256": DIGEST, "force": True}, headers=key)

    refused = again()
    assert (refused.status_code, code_of(refused)) == (429, "queued_audits_quota")
    assert rows_of(engine, owner.tenant.id) == ONE_OF_EACH
    api.post(f"{first.headers['Location']}/cancel")
    taken = again()
    assert (taken.status_code, "Idempotency-Replayed" in taken.headers) == (202, False)


def test_a_foreign_artifact_is_none(api: Api, engine: Engine, client_of: Any, new_owner: Callable[..., Owner]) -> None:
    stranger = new_owner()
    api.submit(SENT)
    theirs = client_of(stranger.key)
    for order, place in (
        ({"artifact_sha256": DIGEST}, "/artifact_sha256"),
        ({"artifact_sha256": DIGEST, "force": True}, "/artifact_sha256"),
    ):
        refused = theirs.post("/v1/audits", json=order)
        assert (code_of(refused), refused.json()["errors"][0]["pointer"]) == ("artifact_not_found", place)
    assert set(rows_of(engine, stranger.tenant.id).values()) == {0}


def test_equal_requests_of_one_moment_are_one_audit(api: Api, engine: Engine, owner: Owner) -> None:
    async def at_once() -> list[httpx.Response]:
        return await asyncio.gather(
            *(api.http.post("/v1/audits", files={"artifact": ("run.zip", SENT)}) for _ in range(6))
        )

    answers = api.run(at_once())
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert rows_of(engine, owner.tenant.id) == ONE_OF_EACH


def test_equal_requests_of_one_moment_by_one_key_are_done_once(api: Api, engine: Engine, owner: Owner) -> None:
    parts: dict[str, Any] = {"artifact": ("run.zip", SENT), "request": (None, '{"force": true}')}

    async def at_once() -> list[httpx.Response]:
        key = {"Idempotency-Key": "one-moment"}
        return await asyncio.gather(*(api.http.post("/v1/audits", files=parts, headers=key) for _ in range(6)))

    answers = api.run(at_once())
    done = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in done}) == 1
    assert all(code_of(answer) == "idempotency_key_in_flight" for answer in answers if answer not in done)
    assert rows_of(engine, owner.tenant.id) == ONE_OF_EACH


def test_the_same_bytes_in_both_roles_are_one_artifact(api: Api, engine: Engine, owner: Owner) -> None:
    made = api.post("/v1/audits", files={"data": ("data.zip", SENT), "artifact": ("run.zip", SENT)})
    assert made.status_code == 202
    inputs = [(one["role"], one["sha256"], one["bytes"]) for one in made.json()["artifacts"]]
    assert inputs == [("run", DIGEST, len(SENT)), ("data", DIGEST, len(SENT))]
    assert api.get(made.headers["Location"]).json() == made.json()
    with Session(engine) as session:
        names = session.scalars(select(Artifact.file_name).where(Artifact.tenant_id == owner.tenant.id)).all()
    assert names == ["run.zip"]


def test_the_answer_is_what_the_database_has(api: Api) -> None:
    made = api.submit(SENT, labels={"branch": "main"}, run_name="a run", depth="curves")
    read = api.get(made.headers["Location"])
    assert (read.json(), read.headers["ETag"]) == (made.json(), made.headers["ETag"])


def test_row_level_security_holds_for_statements_that_name_another_tenant(
    app: FastAPI, api: Api, owner: Owner, new_owner: Callable[..., Owner], engine: Engine
) -> None:
    """As if the request's tenant were mistaken for another by all that is above the database."""
    victim = new_owner()
    api.submit(SENT)
    database: Database = app.state.resources.database

    async def acting(work: Callable[[AuditRepository], Coroutine[Any, Any, Any]]) -> Any:
        act_for(owner.tenant.id)
        async with database.transaction() as session:
            return await work(AuditRepository(session, victim.tenant.id))

    async def look(audits: AuditRepository) -> Ground | None:
        return await audits.ground("default", [DIGEST], {}, 0)

    async def add_title(audits: AuditRepository) -> Ground | None:
        return await audits.ground("default", [DIGEST], {DIGEST: (Blob(DIGEST, len(SENT)), None)}, 0)

    async def add(audits: AuditRepository) -> None:
        audit = Audit(id=new_id(), project_id=victim.project.id, depth="curves", fingerprint="f", auditor_version="1")
        audit.policy, audit.labels, audit.environment, audit.state, audit.progress_stage = (
            {},
            {},
            {},
            "queued",
            "queued",
        )
        audit.version, audit.attempt, audit.progress_done, audit.progress_total = 1, 0, 0, 0
        audit.created_at = owner.tenant.created_at
        await audits.add(
            audit, [Input("run", path="/p")], Job(id=new_id(), kind="audit", queue="cpu", max_attempts=1), ()
        )

    assert api.run(acting(look)) is None
    for write in (add_title, add):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            api.run(acting(write))
    assert set(rows_of(engine, victim.tenant.id).values()) == {0}
