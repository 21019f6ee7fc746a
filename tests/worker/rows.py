"""Rows that tests begin with: a tenant with a project, an audit with its run and its job, as the API writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from runaudit_service.store.models import (
    Artifact,
    Audit,
    AuditArtifact,
    Event,
    Job,
    Project,
    ReportRow,
    Tenant,
    new_id,
)


@dataclass(frozen=True)
class Submitted:
    """An audit and its job."""

    audit_id: UUID
    job_id: UUID


def submit(
    engine: Engine,
    *,
    queue: str = "cpu",
    depth: str = "curves",
    max_attempts: int = 3,
    run_sha256: str = "0" * 64,
    data_sha256: str | None = None,
    file_name: str | None = "run.zip",
) -> Submitted:
    """Writes an audit that waits in `queue`."""
    digests = {"run": run_sha256} | ({"data": data_sha256} if data_sha256 is not None else {})
    with Session(engine) as session:
        session.execute(insert(Tenant).values(id=new_id(), name="default").on_conflict_do_nothing())
        tenant = session.scalars(select(Tenant)).one()
        session.execute(
            insert(Project).values(id=new_id(), tenant_id=tenant.id, name="default").on_conflict_do_nothing()
        )
        project = session.scalars(select(Project)).one()
        for digest in digests.values():
            session.execute(
                insert(Artifact)
                .values(id=new_id(), tenant_id=tenant.id, sha256=digest, bytes=1, file_name=file_name)
                .on_conflict_do_nothing()
            )
        audit = Audit(
            tenant_id=tenant.id,
            project_id=project.id,
            depth=depth,
            fingerprint=str(new_id()),
            auditor_version="test",
        )
        session.add(audit)
        session.flush()
        for role, digest in digests.items():
            artifact = session.scalars(select(Artifact).where(Artifact.sha256 == digest)).one()
            session.add(AuditArtifact(audit_id=audit.id, role=role, artifact_id=artifact.id))
        job = Job(audit_id=audit.id, kind="audit", queue=queue, max_attempts=max_attempts)
        session.add_all([job, Event(tenant_id=tenant.id, audit_id=audit.id, type="audit.queued")])
        session.commit()
        return Submitted(audit.id, job.id)


def audit_of(engine: Engine, submitted: Submitted) -> Audit:
    """The audit as it is now."""
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(Audit, submitted.audit_id)


def job_of(engine: Engine, submitted: Submitted) -> Job:
    """The job as it is now."""
    with Session(engine, expire_on_commit=False) as session:
        return session.get_one(Job, submitted.job_id)


def events_of(engine: Engine, submitted: Submitted) -> list[str]:
    """The types of the audit's events, in order."""
    with Session(engine) as session:
        statement = select(Event.type).where(Event.audit_id == submitted.audit_id).order_by(Event.id)
        return list(session.scalars(statement))


def reports_of(engine: Engine, submitted: Submitted) -> list[dict[str, Any]]:
    """The bodies of the audit's reports."""
    with Session(engine) as session:
        return list(session.scalars(select(ReportRow.body).where(ReportRow.audit_id == submitted.audit_id)))


def request_cancel(engine: Engine, submitted: Submitted) -> None:
    """Asks for the cancellation of an audit that runs."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE audits SET cancel_requested_at = now() WHERE id = :id"), {"id": submitted.audit_id}
        )


def let_lease_expire(engine: Engine, submitted: Submitted) -> None:
    """Moves the lease's end into the past, as if the worker had been silent that long."""
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE id = :id"),
            {"id": submitted.job_id},
        )
