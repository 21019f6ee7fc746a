"""Every event of an audit writes its deliveries, whoever writes it, in the same transaction and as of that moment."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from runaudit_service.store import queue
from runaudit_service.store.models import Project, new_id
from runaudit_service.store.webhooks import WebhookDelivery
from tests.worker.rows import Submitted, let_lease_expire, request_cancel, submit
from tests.worker.webhooks import rows

RESULT = queue.Result(
    verdict="fail",
    headline="It learns <too> fast & far.",
    causes=["learning_rate", "overfitting"],
    framework="ultralytics",
    schema_version="1",
    report='{"verdict": "fail"}',
)
LOST = {"code": "worker_lost", "detail": "The worker was lost."}


def claimed(engine: Engine) -> queue.Claim:
    claim = queue.claim(engine, ["cpu"], "worker", 60)
    assert claim is not None
    return claim


def told(engine: Engine) -> list[tuple[str, dict[str, Any]]]:
    """Types and audits of all deliveries, in order."""
    found = rows.deliveries(engine)
    assert all(one.snapshot is not None for one in found)
    return [(one.type, one.snapshot["audit"]) for one in found if one.snapshot is not None]


def _succeed(engine: Engine, submitted: Submitted) -> None:
    assert queue.succeed(engine, claimed(engine), RESULT)


def _fail(engine: Engine, submitted: Submitted) -> None:
    assert queue.fail(engine, claimed(engine), LOST)


def _cancel(engine: Engine, submitted: Submitted) -> None:
    claim = claimed(engine)
    request_cancel(engine, submitted)
    assert queue.cancel(engine, claim)


def _give_up(engine: Engine, submitted: Submitted) -> None:
    assert queue.retry_later(engine, claimed(engine), LOST, 0).failed == 1


def _lose(engine: Engine, submitted: Submitted) -> None:
    claimed(engine)
    let_lease_expire(engine, submitted)
    assert queue.reap(engine, LOST).failed == 1


@pytest.mark.parametrize(
    ("end", "state", "verdict"),
    [
        (_succeed, "succeeded", "fail"),
        (_fail, "failed", None),
        (_cancel, "cancelled", None),
        (_give_up, "failed", None),
        (_lose, "failed", None),
    ],
)
def test_each_event_is_told_with_the_audit_as_it_left_it(
    engine: Engine, end: Any, state: str, verdict: str | None
) -> None:
    made = rows.endpoint(engine, "https://example.com/")
    submitted = submit(engine, max_attempts=1)
    end(engine, submitted)
    events = told(engine)
    assert [(event, audit["state"]) for event, audit in events] == [
        ("audit.queued", "queued"),
        ("audit.started", "running"),
        (f"audit.{state}", state),
    ]
    assert [audit["verdict"] for _, audit in events] == [None, None, verdict]
    assert {audit["id"] for _, audit in events} == {str(submitted.audit_id)}
    assert {one.endpoint_id for one in rows.deliveries(engine)} == {made.id}
    assert all("environment" not in audit for _, audit in events)
    first = rows.deliveries(engine)[0].snapshot
    assert first is not None
    assert first["artifacts"] == [{"role": "run", "sha256": "0" * 64, "bytes": 1, "path": None}]


def test_what_is_rolled_back_is_told_to_nobody(engine: Engine) -> None:
    rows.endpoint(engine, "https://example.com/")
    submitted = submit(engine)
    with engine.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO events (tenant_id, audit_id, type) SELECT tenant_id, id, 'audit.started' FROM audits "
                "WHERE id = :id"
            ),
            {"id": submitted.audit_id},
        )
        connection.rollback()
    assert [event for event, _ in told(engine)] == ["audit.queued"]


def test_who_is_told(engine: Engine) -> None:
    tenant = rows.tenant_of(engine)
    with Session(engine) as session:
        other_project = Project(id=new_id(), tenant_id=tenant, name="other")
        session.add(other_project)
        session.commit()
        other = other_project.id
        own = session.query(Project.id).filter_by(tenant_id=tenant, name="default").scalar()
    stranger = rows.tenant_of(engine, "stranger")
    all_of_them = rows.endpoint(engine, "https://example.com/all")
    of_project = rows.endpoint(engine, "https://example.com/project", project_id=own)
    rows.endpoint(engine, "https://example.com/other", project_id=other)
    rows.endpoint(engine, "https://example.com/stranger", tenant_id=stranger)
    rows.endpoint(engine, "https://example.com/ends", events=["audit.failed"])
    disabled = rows.endpoint(engine, "https://example.com/off", disabled_at=text("now()"), disabled_reason="off")
    with Session(engine) as session:
        session.execute(text("DELETE FROM tenants WHERE name = 'nobody'"))
    # tests/worker/rows.py takes the only tenant there is.
    audit_id = new_id()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audits (id, tenant_id, project_id, fingerprint, auditor_version) "
                "VALUES (:id, :tenant, :project, 'f', '1')"
            ),
            {"id": audit_id, "tenant": tenant, "project": own},
        )
        connection.execute(
            text("INSERT INTO webhook_callbacks VALUES (:id, 'https://Example.com:8443/back?x=1')"), {"id": audit_id}
        )
        connection.execute(
            text("INSERT INTO events (tenant_id, audit_id, type) VALUES (:tenant, :id, 'audit.queued')"),
            {"id": audit_id, "tenant": tenant},
        )
    found: dict[Any, WebhookDelivery] = {one.endpoint_id: one for one in rows.deliveries(engine)}
    assert found.keys() == {all_of_them.id, of_project.id, disabled.id, None}
    assert found[disabled.id].state == "skipped"
    assert {one.state for key, one in found.items() if key != disabled.id} == {"pending"}
    assert (found[None].url, found[None].project_id) == ("https://Example.com:8443/back?x=1", own)
    assert found[None].target == f"callback {tenant} https://example.com:8443"
    assert len({one.message_id for one in found.values()}) == 1
    assert {one.id.version for one in found.values()} == {7}


def test_events_that_are_no_webhook_s_write_nothing(engine: Engine) -> None:
    rows.endpoint(engine, "https://example.com/", events=["audit.queued", "audit.progress"])
    submitted = submit(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO events (tenant_id, audit_id, type) SELECT tenant_id, id, 'audit.progress' FROM audits "
                "WHERE id = :id"
            ),
            {"id": submitted.audit_id},
        )
    assert [event for event, _ in told(engine)] == ["audit.queued"]


def test_a_deleted_audit_is_still_told_of(engine: Engine) -> None:
    rows.endpoint(engine, "https://example.com/")
    submitted = submit(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audits WHERE id = :id"), {"id": submitted.audit_id})
    (delivery,) = rows.deliveries(engine)
    assert (delivery.state, delivery.audit_id) == ("pending", submitted.audit_id)
