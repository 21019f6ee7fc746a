"""What happens to audits: submitted, cancelled, run again, deleted. Flushes only; the endpoint commits and rings.

Submitting has two steps: `plan` and `plan_again` find out what is to be, so that it can be answered, and `write` writes
it, along with what else the endpoint has to write, its answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit import __version__
from runaudit_service.api.audits.ids import no_audit
from runaudit_service.api.audits.repository import AuditRecord, AuditRepository, Ground, Input, Title
from runaudit_service.api.audits.schemas import AuditRequest, Role
from runaudit_service.api.direct import Row, Statement
from runaudit_service.api.errors import ConflictError, InvalidRequestError, NotFoundError
from runaudit_service.api.limits.book import Limits
from runaudit_service.api.limits.quotas import QueuedAuditsQuotaError
from runaudit_service.api.webhooks.callbacks import call_back
from runaudit_service.store import log_context
from runaudit_service.store.blobs import Blob, BlobStore
from runaudit_service.store.fingerprint import fingerprint
from runaudit_service.store.models import TERMINAL_STATES, Audit, Job, new_id
from runaudit_service.store.queue import FETCH_QUEUE, QUEUE_OF_DEPTH, Queue
from runaudit_service.store.remote_source import pinned_digest


@dataclass(frozen=True)
class Stored:
    """An artifact of this request whose bytes are here, and the name that it was sent under."""

    blob: Blob
    file_name: str | None


@dataclass(frozen=True)
class Submitted:
    """An audit that was asked for, with the job to do it, to be written; without a job, it was there before."""

    record: AuditRecord
    job: Job | None = None

    @property
    def queue(self) -> Queue | None:
        """The bell to ring after the commit."""
        return None if self.job is None else cast("Queue", self.job.queue)


class AuditService:
    """The life of audits, for one tenant, inside the transaction of `session`."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID, blobs: BlobStore, max_attempts: int) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._blobs = blobs
        self._max_attempts = max_attempts
        self._audits = AuditRepository(session, tenant_id)

    async def get(self, audit_id: uuid.UUID) -> AuditRecord:
        """Raises NotFoundError."""
        record = await self._audits.get(audit_id)
        if record is None:
            raise no_audit(audit_id)
        return record

    async def plan(
        self, order: AuditRequest, stored: dict[Role, Stored], path: str | None, limits: Limits
    ) -> Submitted:
        """A new audit of what was sent or named; `path` is the checked path of the data set, if it has one.

        The caller puts the blobs of `stored` in their place after this, within the same transaction.

        The same run, data and options, audited before by this version in this project, give that audit again, unless
        `force`. What has a path, or a URL that names no digest, is never the same: its content may have changed.
        Raises NotFoundError, InvalidRequestError, and QueuedAuditsQuotaError.
        """
        ground = await self._ground(order.project, _digests(order, stored), limits, stored)
        inputs = await self._inputs(order, stored, path, ground.titles)
        policy = order.policy.model_dump(mode="json", exclude_defaults=True) if order.policy else ground.default_policy
        baseline = await self._baseline(policy)
        audit = _new_audit(
            ground,
            run_name=order.run_name,
            depth=order.depth,
            policy=policy,
            labels=order.labels,
            environment=order.environment,
            callback_url=order.callback_url,
            auditor_version=__version__,
            fingerprint=_fingerprint(inputs, order.depth, policy, order.environment),
            **baseline,
        )
        if not order.force and all(given.digest is not None for given in inputs):
            earlier = await self._audits.earlier(ground.project_id, audit.fingerprint)
            if earlier is not None:
                if order.callback_url is not None:
                    await call_back(self._session, earlier.audit, order.callback_url)
                return Submitted(earlier)
        return self._queued(audit, order.project, inputs, ground, limits)

    async def plan_again(self, audit_id: uuid.UUID, limits: Limits) -> Submitted:
        """A new audit of the same artifacts with the same options. Raises NotFoundError and QueuedAuditsQuotaError."""
        record = await self.get(audit_id)
        digests = sorted({given.sha256 for given in record.inputs if given.sha256 is not None})
        ground = await self._ground(record.project, digests, limits)
        old = record.audit
        audit = _new_audit(
            ground,
            run_name=old.run_name,
            depth=old.depth,
            policy=old.policy,
            labels=old.labels,
            environment=old.environment,
            callback_url=old.callback_url,
            auditor_version=__version__,
            fingerprint=_fingerprint(record.inputs, old.depth, old.policy, old.environment),
            rerun_of=old.id,
            # As it was measured then: the baseline itself may have been deleted since.
            **({} if old.baseline is None else {"baseline": old.baseline}),
        )
        return self._queued(audit, record.project, record.inputs, ground, limits)

    async def write(self, submitted: Submitted, along: Sequence[Statement] = ()) -> list[list[Row]]:
        """Write what was planned, and what is to be written along with it, whose rows it gives."""
        audit = submitted.record.audit
        if submitted.job is None:
            return await self._audits.along(along)
        rows = await self._audits.add(audit, submitted.record.inputs, submitted.job, along)
        log_context.note(audit_id=audit.id, job_id=submitted.job.id)
        if audit.callback_url is not None:
            await call_back(self._session, audit, audit.callback_url)
        return rows

    async def cancel(self, audit_id: uuid.UUID) -> AuditRecord:
        """Cancel at once what no worker holds; else ask the worker, which looks when it renews its lease.

        Raises NotFoundError, and ConflictError if the audit has ended.
        """
        record, jobs = await self._lock(audit_id)
        audit, now = record.audit, datetime.now(UTC)
        if audit.state in TERMINAL_STATES:
            raise ConflictError(f"The audit has ended already: it is {audit.state}.", code="audit_already_ended")
        if any(job.state == "running" for job in jobs):
            if audit.cancel_requested_at is None:
                audit.cancel_requested_at = now
                audit.version += 1
            await self._session.flush()
            return record
        for job in jobs:
            if job.state == "queued":
                job.state, job.ended_at = "cancelled", now
        audit.state, audit.ended_at, audit.cancel_requested_at = "cancelled", now, audit.cancel_requested_at or now
        audit.progress_stage = "cancelled"
        audit.version += 1
        await self._audits.tell(audit, "audit.cancelled")
        return record

    async def delete(self, audit_id: uuid.UUID) -> None:
        """Remove an audit that waits or has ended. Raises NotFoundError, and ConflictError while it runs."""
        record, jobs = await self._lock(audit_id)
        if record.audit.state in ("fetching", "running") or any(job.state == "running" for job in jobs):
            raise ConflictError("The audit is running. Cancel it first.", code="audit_running")
        await self._audits.delete(audit_id)

    async def report(self, audit_id: uuid.UUID) -> str:
        """The report's JSON text. Raises NotFoundError, and ConflictError if there is no report (yet)."""
        record = await self.get(audit_id)
        audit = record.audit
        if audit.state == "failed":
            error = audit.error or {}
            reason = error.get("detail", "The audit failed.")
            raise ConflictError(f"There is no report: {reason}", code=error.get("code", "audit_failed"))
        if audit.state == "cancelled":
            raise ConflictError("There is no report: the audit was cancelled.", code="cancelled")
        text = await self._audits.report_text(audit_id)
        if text is None:
            raise ConflictError("There is no report yet: the audit has not ended.", code="audit_not_ended")
        return text

    def _queued(self, audit: Audit, project: str, inputs: Sequence[Input], ground: Ground, limits: Limits) -> Submitted:
        if ground.queue_is_full:
            raise QueuedAuditsQuotaError(limits.max_queued_audits)
        fetches = any(given.url is not None for given in inputs)
        queue = FETCH_QUEUE if fetches else QUEUE_OF_DEPTH[audit.depth]
        audit.state = audit.progress_stage = "fetching" if fetches else "queued"
        job = Job(id=new_id(), kind="fetch" if fetches else "audit", queue=queue, max_attempts=self._max_attempts)
        # As it would be read: `run` before `data`.
        record = AuditRecord(audit, project, tuple(sorted(inputs, key=lambda given: given.role, reverse=True)))
        return Submitted(record, job)

    async def _lock(self, audit_id: uuid.UUID) -> tuple[AuditRecord, Sequence[Job]]:
        locked = await self._audits.lock(audit_id)
        if locked is None:
            raise no_audit(audit_id)
        return locked

    async def _ground(
        self, project: str, digests: Sequence[str], limits: Limits, stored: Mapping[Role, Stored] | None = None
    ) -> Ground:
        """Raises NotFoundError."""
        sent: dict[str, tuple[Blob, str | None]] = {}
        # Deletions release an audit's titles in this order, too. What was sent in both roles has its name as the run.
        for _, one in sorted((stored or {}).items(), reverse=True):
            sent.setdefault(one.blob.sha256, (one.blob, one.file_name))
        ground = await self._audits.ground(project, digests, sent, limits.max_queued_audits)
        if ground is None:
            raise NotFoundError(f"There is no project {project!r}.", code="project_not_found", place="/project")
        return ground

    async def _inputs(
        self, order: AuditRequest, stored: dict[Role, Stored], path: str | None, titles: Mapping[str, Title]
    ) -> list[Input]:
        inputs = []
        for role, digest in _named(order).items():
            if role in stored:
                inputs.append(_titled(role, stored[role].blob.sha256, titles))
            elif digest is not None:
                inputs.append(await self._known(role, digest, titles))
        for role, url in _urls(order).items():
            if url is not None:
                inputs.append(await self._to_be_fetched(role, url, titles))
        if path is not None:
            inputs.append(Input("data", path=path))
        return inputs

    async def _to_be_fetched(self, role: Role, url: str, titles: Mapping[str, Title]) -> Input:
        """A URL; or, if it names the digest of an artifact that this tenant has here already, that."""
        wanted = Input(role, url=url)
        if wanted.digest is None or wanted.digest not in titles or not await self._blobs.look(wanted.digest):
            return wanted
        return _titled(role, wanted.digest, titles)

    async def _known(self, role: Role, digest: str, titles: Mapping[str, Title]) -> Input:
        if digest not in titles or not await self._blobs.look(digest):
            raise NotFoundError(
                f"There is no artifact {digest}. Upload it as a part of the request.",
                code="artifact_not_found",
                place="/artifact_sha256" if role == "run" else "/data/sha256",
            )
        return _titled(role, digest, titles)

    async def _baseline(self, policy: dict[str, Any]) -> dict[str, Any]:
        """What the policy's baseline measured, as `Audit` keeps it: nothing without one. Raises InvalidRequestError."""
        written = policy.get("baseline_audit")
        if written is None:
            return {}
        try:
            measured = await self._audits.measured(uuid.UUID(str(written)))
        except ValueError:
            measured = None
        if measured is None:
            raise InvalidRequestError(
                "The baseline is no audit that succeeded.", code="baseline_not_found", place="/policy/baseline_audit"
            )
        return {"baseline": measured}


def _new_audit(ground: Ground, **columns: Any) -> Audit:
    """An audit as it is at first."""
    at_first = {"version": 1, "attempt": 0, "progress_done": 0, "progress_total": 0}
    return Audit(id=new_id(), project_id=ground.project_id, created_at=ground.now, **at_first, **columns)


def _titled(role: Role, sha256: str, titles: Mapping[str, Title]) -> Input:
    return Input(role, sha256, titles[sha256].bytes, artifact_id=titles[sha256].artifact_id)


def _named(order: AuditRequest) -> dict[Role, str | None]:
    """The digests that a request names, by role."""
    return {"run": order.artifact_sha256, "data": order.data.sha256 if order.data else None}


def _urls(order: AuditRequest) -> dict[Role, str | None]:
    """The URLs that a request names, by role."""
    return {"run": order.artifact_url, "data": order.data.url if order.data else None}


def _digests(order: AuditRequest, stored: dict[Role, Stored]) -> list[str]:
    """The digests of all artifacts of a request, sent or named."""
    pinned = [pinned_digest(url) for url in _urls(order).values() if url is not None]
    named = [digest for digest in (*_named(order).values(), *pinned) if digest is not None]
    return sorted({*named, *(sent.blob.sha256 for sent in stored.values())})


def _fingerprint(inputs: Sequence[Input], depth: str, policy: dict[str, Any], environment: dict[str, Any]) -> str:
    """What makes two audits the same. A URL without a digest stands for itself, until it is fetched."""
    told_apart = [(given.role, given.digest or "", given.path or _unpinned(given) or "") for given in inputs]
    return fingerprint(told_apart, depth, policy, environment)


def _unpinned(given: Input) -> str | None:
    return given.url if given.digest is None else None
