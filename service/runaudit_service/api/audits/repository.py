"""The rows of audits, for one tenant: no query here can see another tenant's."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

from psycopg.types.json import Jsonb
from sqlalchemy import Text, delete, func, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.audits import submit_statements as sql
from runaudit_service.api.audits.schemas import Role
from runaudit_service.api.direct import Row, Statement, driver_of, rows_of_each
from runaudit_service.store import log_context
from runaudit_service.store.blobs import Blob
from runaudit_service.store.models import Artifact, Audit, AuditArtifact, Event, Job, Project, ReportRow, new_id
from runaudit_service.store.remote_source import pinned_digest
from runaudit_service.store.terms import ADD_TERMS, DROP_TERMS, label_terms


@dataclass(frozen=True)
class Input:
    """What an audit looks at in one role: a digest with its size, a path, or a URL from which it is to be fetched."""

    role: Role
    sha256: str | None = None
    bytes: int | None = None
    path: str | None = None
    artifact_id: uuid.UUID | None = None
    url: str | None = field(default=None, repr=False)

    @property
    def digest(self) -> str | None:
        """The SHA-256 of its content, if that is known, be it from the URL."""
        return self.sha256 or (pinned_digest(self.url) if self.url is not None else None)


@dataclass(frozen=True)
class AuditRecord:
    """An audit with what its answer needs from other tables."""

    audit: Audit
    project: str
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Title:
    """This tenant's artifact of a digest, and the bytes of its blob."""

    artifact_id: uuid.UUID
    bytes: int


@dataclass(frozen=True)
class Ground:
    """What the database says before an audit is made: its project, when it is created, and the titles by digest."""

    project_id: uuid.UUID
    default_policy: dict[str, Any]
    now: datetime
    queue_is_full: bool
    """as many audits of this tenant wait as may"""
    titles: Mapping[str, Title]


_WRITTEN: Final = (
    *("id", "project_id", "run_name", "state", "progress_stage", "depth", "callback_url", "auditor_version"),
    *("fingerprint", "rerun_of", "created_at", "version", "attempt", "progress_done", "progress_total"),
)
"""the columns of a new audit that the driver takes as they are"""


class AuditRepository:
    """Audits, their artifacts, jobs, events and reports, as one tenant sees them."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def get(self, audit_id: uuid.UUID) -> AuditRecord | None:
        """The audit, or None if this tenant has none of that id."""
        query = (
            select(Audit, Project.name)
            .join(Project, Project.id == Audit.project_id)
            .where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id)
        )
        row = (await self._session.execute(query)).one_or_none()
        return (await self.with_inputs([row]))[0] if row is not None else None

    async def ground(
        self, project: str, digests: Sequence[str], sent: Mapping[str, tuple[Blob, str | None]], most_waiting: int
    ) -> Ground | None:
        """What a new audit in this project needs to know; None if this tenant has no such project.

        Args:
            project: its name.
            digests: of all artifacts of the audit, sorted. Their blobs are let alone by removals from here on, until
                the transaction ends: look for them, or place them, after this.
            sent: by digest, those of them that came with the request, and the names that they were sent under. They
                get titles, where the tenant has none.
            most_waiting: as many audits as may wait; 0: any number.
        """
        asked: list[Statement] = [
            (sql.HOLD_BLOBS, {"digests": list(digests)}),
            (sql.PROJECT, {"tenant_id": self._tenant_id, "project": project, "most_waiting": most_waiting}),
        ]
        named = [digest for digest in digests if digest not in sent]
        if named:
            asked.append((sql.FIND_ARTIFACTS, {"tenant_id": self._tenant_id, "named": named}))
        if sent:
            columns = {
                "ids": [new_id() for _ in sent],
                "sent": list(sent),
                "bytes": [blob.bytes for blob, _ in sent.values()],
                "file_names": [file_name for _, file_name in sent.values()],
            }
            asked.append((sql.ADD_ARTIFACTS, {"tenant_id": self._tenant_id, **columns}))
        _, found, *titles = await rows_of_each(driver_of(self._session), asked)
        if not found:
            return None
        project_id, default_policy, now, queue_is_full = found[0]
        by_digest = {sha256: Title(artifact_id, size) for rows in titles for sha256, artifact_id, size in rows}
        return Ground(project_id, default_policy, now, queue_is_full, by_digest)

    async def version(self, audit_id: uuid.UUID) -> int | None:
        """Only the version of the audit: what a conditional GET needs."""
        query = select(Audit.version).where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id)
        return cast("int | None", await self._session.scalar(query))

    async def earlier(self, project_id: uuid.UUID, fingerprint: str) -> AuditRecord | None:
        """The newest audit of the same things in this project that did not fail and was not cancelled.

        Holds a lock on the fingerprint until the transaction ends, so that of two equal requests one sees the other.
        """
        same = {"tenant_id": self._tenant_id, "project_id": project_id, "fingerprint": fingerprint}
        lock = {"project_and_fingerprint": f"{project_id} {fingerprint}"}
        _, found = await rows_of_each(driver_of(self._session), [(sql.LOCK_FINGERPRINT, lock), (sql.EARLIER, same)])
        return await self.get(found[0][0]) if found else None

    async def lock(self, audit_id: uuid.UUID) -> tuple[AuditRecord, Sequence[Job]] | None:
        """The audit and its jobs, both locked: jobs first, as the queue does, against deadlocks."""
        owned = select(Audit.id).where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id)
        jobs = select(Job).where(Job.audit_id.in_(owned)).order_by(Job.id).with_for_update()
        locked_jobs = (await self._session.scalars(jobs)).all()
        audit = select(Audit).where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id).with_for_update()
        if await self._session.scalar(audit) is None:
            return None
        record = await self.get(audit_id)
        return (record, locked_jobs) if record is not None else None

    async def add(self, audit: Audit, inputs: Sequence[Input], job: Job, along: Sequence[Statement]) -> list[list[Row]]:
        """A new audit with its artifacts, its job, and the event that tells of it; and what is made along with them,
        whose rows it gives.

        `audit` has all that it will have in the database. Neither becomes an object of the session.
        """
        row = {name: getattr(audit, name) for name in _WRITTEN}
        row |= {name: Jsonb(getattr(audit, name)) for name in ("policy", "labels", "environment")}
        row["baseline"] = Jsonb(audit.baseline) if audit.baseline is not None else None
        rows = {
            "audit_id": audit.id,
            "tenant_id": self._tenant_id,
            "state": audit.state,
            "inputs": Jsonb([_source(given) for given in inputs]),
            "job_id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "max_attempts": job.max_attempts,
            "request_id": log_context.request_id(),
            "traceparent": log_context.traceparent(),
        }
        statements = [(sql.ADD, row | {"tenant_id": self._tenant_id}), (sql.ADD_ROWS, rows), *along]
        _, _, *answers = await rows_of_each(driver_of(self._session), statements)
        if audit.labels:
            terms = sorted(label_terms(audit.labels))
            await self._session.execute(ADD_TERMS, {"audit_id": audit.id, "terms": terms})
        return answers

    async def along(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of statements that would have been made along with a new audit."""
        return await rows_of_each(driver_of(self._session), statements)

    async def tell(self, audit: Audit, event: str) -> None:
        """Write an event of the audit."""
        data = {"state": audit.state or "queued", "attempt": audit.attempt or 0}
        self._session.add(Event(tenant_id=self._tenant_id, audit_id=audit.id, type=event, data=data))
        await self._session.flush()

    async def report_text(self, audit_id: uuid.UUID) -> str | None:
        """The stored report as the JSON text that the worker wrote."""
        query = (
            select(sql_cast(ReportRow.body, Text))
            .join(Audit, Audit.id == ReportRow.audit_id)
            .where(ReportRow.audit_id == audit_id, Audit.tenant_id == self._tenant_id)
        )
        return cast("str | None", await self._session.scalar(query))

    async def rename(self, audit: Audit, run_name: str | None, labels: dict[str, str]) -> None:
        """Give a locked audit this name and these labels, and the terms of the labels with them."""
        if (audit.run_name, audit.labels) == (run_name, labels):
            return
        old, new = label_terms(audit.labels), label_terms(labels)
        audit.run_name, audit.labels = run_name, labels
        audit.version += 1
        await self._session.flush()
        for statement, terms in ((DROP_TERMS, old - new), (ADD_TERMS, new - old)):
            if terms:
                await self._session.execute(statement, {"audit_id": audit.id, "terms": sorted(terms)})

    async def measured(self, audit_id: uuid.UUID) -> dict[str, Any] | None:
        """mAP50-95 of a succeeded audit with its interval, as a policy's baseline has them; None if there is none."""
        value = ReportRow.body[("validation", "metrics", "box", "map50_95")]
        rotated = ReportRow.body[("validation", "metrics", "obb", "map50_95")]
        interval = ReportRow.body[("validation", "ci95", "map50_95")]
        query = (
            select(value, rotated, interval)
            .join(Audit, Audit.id == ReportRow.audit_id)
            .where(ReportRow.audit_id == audit_id, Audit.tenant_id == self._tenant_id, Audit.state == "succeeded")
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else {"map50_95": row[0] if row[0] is not None else row[1], "ci95": row[2]}

    async def delete(self, audit_id: uuid.UUID) -> None:
        """Remove the audit with its report, events and jobs. Its artifacts are released, for others may use them."""
        uses = (
            select(AuditArtifact.artifact_id)
            .where(AuditArtifact.audit_id == audit_id, AuditArtifact.artifact_id.is_not(None))
            # In the order in which submitting locks them.
            .order_by(AuditArtifact.role.desc())
        )
        for artifact_id in (await self._session.scalars(uses)).all():
            released = update(Artifact).where(Artifact.id == artifact_id, Artifact.tenant_id == self._tenant_id)
            await self._session.execute(released.values(released_at=func.now()))
        await self._session.execute(delete(Audit).where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id))

    async def with_inputs(self, rows: Sequence[tuple[Audit, str]]) -> list[AuditRecord]:
        """Audits and the names of their projects as records."""
        query = (
            select(AuditArtifact, Artifact)
            .outerjoin(Artifact, Artifact.id == AuditArtifact.artifact_id)
            .where(AuditArtifact.audit_id.in_([audit.id for audit, _ in rows]))
            # `run` before `data`, as people read it.
            .order_by(AuditArtifact.role.desc())
        )
        inputs: dict[uuid.UUID, list[Input]] = defaultdict(list)
        for use, artifact in (await self._session.execute(query)) if rows else ():
            inputs[use.audit_id].append(_input(use, artifact))
        return [AuditRecord(audit, project, tuple(inputs[audit.id])) for audit, project in rows]


def _source(given: Input) -> dict[str, str | None]:
    """The columns of an input in `audit_artifacts`, as JSON has them: cheaper for the driver than arrays."""
    artifact_id = None if given.artifact_id is None else str(given.artifact_id)
    return {"role": given.role, "artifact_id": artifact_id, "path": given.path, "url": given.url}


def _input(use: AuditArtifact, artifact: Artifact | None) -> Input:
    role = cast("Role", use.role)
    if artifact is None:
        return Input(role, path=use.path, url=use.url)
    return Input(role, artifact.sha256, artifact.bytes, artifact_id=artifact.id)
