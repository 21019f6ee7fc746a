"""The rows of audits, for one tenant: no query here can see another tenant's."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString, cast

from psycopg.types.json import Jsonb
from sqlalchemy import Text, delete, func, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession

from runaudit_service.api.audits.schemas import Role
from runaudit_service.api.direct import driver_of, row_of
from runaudit_service.store import log_context
from runaudit_service.store.blobs import Blob
from runaudit_service.store.models import Artifact, Audit, AuditArtifact, Event, Job, Project, ReportRow, new_id
from runaudit_service.store.remote_source import pinned_digest
from runaudit_service.store.removal import HOLD_BLOB
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


# The statements of submitting, for the driver itself (api/direct.py): pipelines submit all day long.
_PROJECT: Final = "SELECT id, default_policy FROM projects WHERE tenant_id = %(tenant_id)s AND name = %(name)s"
_HOLD_BLOB: Final = str(HOLD_BLOB).replace(":sha256", "%(sha256)s")
_ARTIFACT: Final = "SELECT id, bytes FROM artifacts WHERE tenant_id = %(tenant_id)s AND sha256 = %(sha256)s"
_ADD_ARTIFACT: Final = """
    INSERT INTO artifacts AS known (id, tenant_id, sha256, bytes, file_name)
    VALUES (%(id)s, %(tenant_id)s, %(sha256)s, %(bytes)s, %(file_name)s)
    ON CONFLICT (tenant_id, sha256) DO UPDATE SET file_name = coalesce(known.file_name, excluded.file_name)
    RETURNING id
"""
_LOCK_FINGERPRINT: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(project_and_fingerprint)s, 0))"
_EARLIER: Final = """
    SELECT id FROM audits
    WHERE tenant_id = %(tenant_id)s AND project_id = %(project_id)s AND fingerprint = %(fingerprint)s
      AND state NOT IN ('failed', 'cancelled') AND cancel_requested_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT 1
"""
_ADD: Final = """
    INSERT INTO audits (
        id, tenant_id, project_id, run_name, state, progress_stage, depth, policy, baseline, labels, environment,
        callback_url, auditor_version, fingerprint, rerun_of
    ) VALUES (
        %(id)s, %(tenant_id)s, %(project_id)s, %(run_name)s, %(state)s, %(state)s, %(depth)s, %(policy)s, %(baseline)s,
        %(labels)s, %(environment)s, %(callback_url)s, %(auditor_version)s, %(fingerprint)s, %(rerun_of)s
    ) RETURNING created_at, version, attempt, progress_done, progress_total
"""
_DATABASES_OWN: Final = ("created_at", "version", "attempt", "progress_done", "progress_total")
# Apart from the audit itself, for row-level security shows these rows to whoever sees their audit already.
_ADD_ROWS: Final = """
    WITH inputs AS (
        INSERT INTO audit_artifacts (audit_id, role, artifact_id, path, url)
        SELECT %(audit_id)s, given.* FROM unnest(
            %(roles)s::text[], %(artifact_ids)s::uuid[], %(paths)s::text[], %(urls)s::text[]
        ) AS given
    ), work AS (
        INSERT INTO jobs (id, audit_id, kind, queue, max_attempts, request_id, traceparent)
        VALUES (
            %(job_id)s, %(audit_id)s, %(kind)s, %(queue)s, %(max_attempts)s, %(request_id)s, %(traceparent)s
        )
    )
    INSERT INTO events (tenant_id, audit_id, type, data) VALUES (
        %(tenant_id)s, %(audit_id)s, 'audit.queued', jsonb_build_object('state', %(state)s::text, 'attempt', 0)
    )
"""


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

    async def project(self, name: str) -> tuple[uuid.UUID, dict[str, Any]] | None:
        """The id of this tenant's project of a name, and its default policy."""
        return cast("tuple[uuid.UUID, dict[str, Any]] | None", await self._row(_PROJECT, name=name))

    async def version(self, audit_id: uuid.UUID) -> int | None:
        """Only the version of the audit: what a conditional GET needs."""
        query = select(Audit.version).where(Audit.id == audit_id, Audit.tenant_id == self._tenant_id)
        return cast("int | None", await self._session.scalar(query))

    async def earlier(self, project_id: uuid.UUID, fingerprint: str) -> AuditRecord | None:
        """The newest audit of the same things in this project that did not fail and was not cancelled.

        Holds a lock on the fingerprint until the transaction ends, so that of two equal requests one sees the other.
        """
        await self._row(_LOCK_FINGERPRINT, project_and_fingerprint=f"{project_id} {fingerprint}")
        found = await self._row(_EARLIER, project_id=project_id, fingerprint=fingerprint)
        return await self.get(found[0]) if found is not None else None

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

    async def hold_blobs(self, digests: Iterable[str]) -> None:
        """Have removals let these blobs alone until the transaction ends. Before looking for them, or placing them."""
        for digest in digests:
            await self._row(_HOLD_BLOB, sha256=digest)

    async def artifact(self, sha256: str) -> Input | None:
        """This tenant's artifact of a digest, without a role yet (`run` is put in)."""
        found = await self._row(_ARTIFACT, sha256=sha256)
        return Input("run", sha256, found[1], artifact_id=found[0]) if found is not None else None

    async def add_artifact(self, role: Role, blob: Blob, file_name: str | None) -> Input:
        """This tenant's title to a blob; the one it has already, if it has."""
        made = await self._row(_ADD_ARTIFACT, id=new_id(), sha256=blob.sha256, bytes=blob.bytes, file_name=file_name)
        return Input(role, blob.sha256, blob.bytes, artifact_id=made[0] if made is not None else None)

    async def add(self, audit: Audit, inputs: Sequence[Input], job: Job) -> None:
        """A new audit with its artifacts, its job, and the event that tells of it. `audit` gets what the database adds.

        Neither becomes an object of the session.
        """
        audit.tenant_id = self._tenant_id
        audit.state = audit.progress_stage = audit.state or "queued"
        written = ("id", "tenant_id", "project_id", "run_name", "state", "depth", "callback_url", "auditor_version")
        row = {name: getattr(audit, name) for name in (*written, "fingerprint", "rerun_of")}
        row |= {name: Jsonb(getattr(audit, name)) for name in ("policy", "labels", "environment")}
        row["baseline"] = Jsonb(audit.baseline) if audit.baseline is not None else None
        rows = {
            "audit_id": audit.id,
            "tenant_id": self._tenant_id,
            "state": audit.state,
            "roles": [given.role for given in inputs],
            "artifact_ids": [given.artifact_id for given in inputs],
            "paths": [given.path for given in inputs],
            "urls": [given.url for given in inputs],
            "job_id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "max_attempts": job.max_attempts,
            "request_id": log_context.request_id(),
            "traceparent": log_context.traceparent(),
        }
        connection = driver_of(self._session)
        async with connection.pipeline():
            made = await connection.execute(_ADD, row)
            await connection.execute(_ADD_ROWS, rows)
        # Here all of it has been answered.
        added = await made.fetchone()
        for name, value in zip(_DATABASES_OWN, added or (), strict=True):
            setattr(audit, name, value)
        if audit.labels:
            terms = sorted(label_terms(audit.labels))
            await self._session.execute(ADD_TERMS, {"audit_id": audit.id, "terms": terms})

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

    async def _row(self, statement: LiteralString, **parameters: Any) -> tuple[Any, ...] | None:
        return await row_of(driver_of(self._session), statement, {"tenant_id": self._tenant_id, **parameters})


def _input(use: AuditArtifact, artifact: Artifact | None) -> Input:
    role = cast("Role", use.role)
    if artifact is None:
        return Input(role, path=use.path, url=use.url)
    return Input(role, artifact.sha256, artifact.bytes, artifact_id=artifact.id)
