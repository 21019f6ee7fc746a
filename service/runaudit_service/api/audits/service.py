"""What happens to audits: submitted, cancelled, run again, deleted. Flushes only; the endpoint commits and rings."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from runaudit import __version__
from runaudit_service.api.audits.repository import AuditRecord, AuditRepository, Input
from runaudit_service.api.audits.schemas import AuditRequest, Role
from runaudit_service.api.errors import ConflictError, InvalidRequestError, NotFoundError
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
    """An audit that was asked for. `queue` is the bell to ring after the commit; None: it was there before."""

    record: AuditRecord
    queue: Queue | None


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
            raise _no_audit(audit_id)
        return record

    async def submit(self, order: AuditRequest, stored: dict[Role, Stored], path: str | None) -> Submitted:
        """A new audit of what was sent or named; `path` is the checked path of the data set, if it has one.

        The caller puts the blobs of `stored` in their place after this, within the same transaction.

        The same run, data and options, audited before by this version in this project, give that audit again, unless
        `force`. What has a path, or a URL that names no digest, is never the same: its content may have changed.
        Raises NotFoundError.
        """
        project_id, default_policy = await self._project(order.project)
        await self._audits.hold_blobs(_digests(order, stored))
        inputs = await self._inputs(order, stored, path)
        policy = order.policy.model_dump(mode="json", exclude_defaults=True) if order.policy else default_policy
        baseline = await self._baseline(policy)
        audit = Audit(
            id=new_id(),
            project_id=project_id,
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
            earlier = await self._audits.earlier(project_id, audit.fingerprint)
            if earlier is not None:
                if order.callback_url is not None:
                    await call_back(self._session, earlier.audit, order.callback_url)
                return Submitted(earlier, None)
        return await self._queue(audit, order.project, inputs)

    async def rerun(self, audit_id: uuid.UUID) -> Submitted:
        """A new audit of the same artifacts with the same options. Raises NotFoundError."""
        record = await self.get(audit_id)
        await self._audits.hold_blobs(given.sha256 for given in record.inputs if given.sha256 is not None)
        old = record.audit
        audit = Audit(
            id=new_id(),
            project_id=old.project_id,
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
        return await self._queue(audit, record.project, record.inputs)

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

    async def _queue(self, audit: Audit, project: str, inputs: Sequence[Input]) -> Submitted:
        fetches = any(given.url is not None for given in inputs)
        queue = FETCH_QUEUE if fetches else QUEUE_OF_DEPTH[audit.depth]
        if fetches:
            audit.state = audit.progress_stage = "fetching"
        job = Job(id=new_id(), kind="fetch" if fetches else "audit", queue=queue, max_attempts=self._max_attempts)
        await self._audits.add(audit, inputs, job)
        log_context.note(audit_id=audit.id, job_id=job.id)
        if audit.callback_url is not None:
            await call_back(self._session, audit, audit.callback_url)
        # As it would be read: `run` before `data`.
        record = AuditRecord(audit, project, tuple(sorted(inputs, key=lambda given: given.role, reverse=True)))
        return Submitted(record, queue)

    async def _lock(self, audit_id: uuid.UUID) -> tuple[AuditRecord, Sequence[Job]]:
        locked = await self._audits.lock(audit_id)
        if locked is None:
            raise _no_audit(audit_id)
        return locked

    async def _project(self, name: str) -> tuple[uuid.UUID, dict[str, Any]]:
        """Its id and default policy. Raises NotFoundError."""
        project = await self._audits.project(name)
        if project is None:
            raise NotFoundError(f"There is no project {name!r}.", code="project_not_found", place="/project")
        return project

    async def _inputs(self, order: AuditRequest, stored: dict[Role, Stored], path: str | None) -> list[Input]:
        inputs = []
        for role, digest in _named(order).items():
            if role in stored:
                inputs.append(await self._audits.add_artifact(role, stored[role].blob, stored[role].file_name))
            elif digest is not None:
                inputs.append(await self._known(role, digest))
        for role, url in _urls(order).items():
            if url is not None:
                inputs.append(await self._to_be_fetched(role, url))
        if path is not None:
            inputs.append(Input("data", path=path))
        return inputs

    async def _to_be_fetched(self, role: Role, url: str) -> Input:
        """A URL; or, if it names the digest of an artifact that this tenant has here already, that."""
        wanted = Input(role, url=url)
        found = await self._audits.artifact(wanted.digest) if wanted.digest is not None else None
        if found is None or found.sha256 is None or not await self._blobs.look(found.sha256):
            return wanted
        return replace(found, role=role)

    async def _known(self, role: Role, digest: str) -> Input:
        found = await self._audits.artifact(digest)
        if found is None or not await self._blobs.look(digest):
            raise NotFoundError(
                f"There is no artifact {digest}. Upload it as a part of the request.",
                code="artifact_not_found",
                place="/artifact_sha256" if role == "run" else "/data/sha256",
            )
        return replace(found, role=role)

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


def _no_audit(audit_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(f"There is no audit {audit_id}.", code="audit_not_found")
