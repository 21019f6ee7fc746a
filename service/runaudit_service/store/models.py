"""The rows: tenants, projects, keys, artifacts, audits, jobs, reports and events."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid6 import uuid7

from runaudit_service.store import log_context

AUDIT_STATES = ("queued", "fetching", "running", "succeeded", "failed", "cancelled")
TERMINAL_STATES = ("succeeded", "failed", "cancelled")
JOB_KINDS = ("fetch", "audit", "deliver", "sweep")
JOB_STATES = ("queued", "running", "succeeded", "failed", "cancelled")
QUEUES = ("cpu", "gpu", "egress")
TERMINAL_EVENTS = ("audit.succeeded", "audit.failed", "audit.cancelled")


def new_id() -> uuid.UUID:
    """A UUIDv7: ordered by time of creation, so keyset pages and B-trees stay local."""
    return uuid.UUID(int=uuid7().int)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Names constraints by convention, so that Alembic can drop what it made; all times carry their zone."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        str: Text,
        int: BigInteger,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class Tenant(Base):
    """An owner of projects. The embedded default has one, `default`."""

    __tablename__ = "tenants"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Project(Base):
    """A named group of audits with a default policy and a secret that signs its callbacks.

    `retention_days`: audits that ended longer ago are deleted; NULL keeps them for ever.
    """

    __tablename__ = "projects"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("retention_days > 0", name="retention_days"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str]
    default_policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    signing_secret: Mapped[str | None]
    previous_signing_secret: Mapped[str | None]
    previous_signing_secret_expires_at: Mapped[datetime | None]
    retention_days: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiKey(Base):
    """A bearer key. Only its hash is kept; `lookup` is the public part by which it is found.

    After a rotation `previous_hash` is that of the secret before, good until `previous_expires_at`.
    """

    __tablename__ = "api_keys"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), index=True)
    name: Mapped[str]
    lookup: Mapped[str] = mapped_column(unique=True)
    secret_hash: Mapped[str]
    previous_hash: Mapped[str | None]
    previous_expires_at: Mapped[datetime | None]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Artifact(Base):
    """A tenant's title to a blob. The blob itself is shared by digest; the role is that of its use in an audit.

    `released_at` is when an audit that used it was last deleted; `removal` then looks whether others do, after a while.
    A title that is made for no audit has to be released at once, or it would stay for ever.
    """

    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("tenant_id", "sha256"),
        Index("ix_artifacts_released_at", "released_at", postgresql_where=text("released_at IS NOT NULL")),
        Index("ix_artifacts_sha256", "sha256"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    sha256: Mapped[str]
    bytes: Mapped[int]
    file_name: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    released_at: Mapped[datetime | None]


class Audit(Base):
    """One examination of one run artifact, with its data. `version` grows with each change that a client can see.

    `baseline` is what the policy's baseline audit measured, taken when this audit was handed in, so that it may be
    deleted meanwhile. The indexes that end in (created_at, id) hold what history may be filtered by, in its order.
    """

    __tablename__ = "audits"
    __table_args__ = (
        CheckConstraint(_one_of("state", AUDIT_STATES), name="state"),
        CheckConstraint("(state IN ('succeeded','failed','cancelled')) = (ended_at IS NOT NULL)", name="ended"),
        Index("ix_audits_tenant_id_created_at_id", "tenant_id", text("created_at DESC"), text("id DESC")),
        Index("ix_audits_project_id_created_at_id", "project_id", "created_at", "id"),
        Index("ix_audits_tenant_id_state_created_at_id", "tenant_id", "state", "created_at", "id"),
        Index(
            "ix_audits_tenant_id_verdict_created_at_id",
            "tenant_id",
            "verdict",
            "created_at",
            "id",
            postgresql_where=text("verdict IS NOT NULL"),
        ),
        Index(
            "ix_audits_tenant_id_framework_created_at_id",
            "tenant_id",
            "framework",
            "created_at",
            "id",
            postgresql_where=text("framework IS NOT NULL"),
        ),
        Index("ix_audits_tenant_id_fingerprint", "tenant_id", "fingerprint"),
        # What a tenant has waiting is counted against its quota, however long its history.
        Index("ix_audits_waiting", "tenant_id", postgresql_where=text("state IN ('queued', 'fetching')")),
        # An audit that is deleted is looked for among those that name it.
        Index("ix_audits_rerun_of", "rerun_of", postgresql_where=text("rerun_of IS NOT NULL")),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("projects.id"))
    run_name: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="queued")
    verdict: Mapped[str | None]
    headline: Mapped[str | None]
    causes: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    framework: Mapped[str | None]
    depth: Mapped[str] = mapped_column(server_default="standard")
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    baseline: Mapped[dict[str, Any] | None]
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    environment: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    callback_url: Mapped[str | None]
    fingerprint: Mapped[str]
    auditor_version: Mapped[str]
    progress_stage: Mapped[str] = mapped_column(server_default="queued")
    progress_done: Mapped[int] = mapped_column(server_default=text("0"))
    progress_total: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[dict[str, Any] | None]
    rerun_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("audits.id", ondelete="SET NULL"))
    cancel_requested_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class AuditTerm(Base):
    """Something that an audit can be found by and has several of: `cause:overfitting`, `label:branch:main`.

    The primary key holds the audits of a term in the order of history, so that a page of the rarest and of the most
    frequent one cost the same. Whoever writes `causes` or `labels` of an audit writes these rows with them.
    """

    __tablename__ = "audit_terms"
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    term: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    audit_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class AuditArtifact(Base):
    """What an audit looks at, by role: an artifact, a data set's path below the data roots, or a URL.

    A URL is there until the artifact is fetched from it. It may hold a token: no answer, event or log shows it.
    """

    __tablename__ = "audit_artifacts"
    __table_args__ = (
        CheckConstraint(_one_of("role", ("run", "data")), name="role"),
        CheckConstraint("num_nonnulls(artifact_id, path, url) = 1", name="one_source"),
    )
    audit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    artifact_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("artifacts.id"), index=True)
    path: Mapped[str | None]
    url: Mapped[str | None]


class Job(Base):
    """A piece of work in the queue of record. A claim gives a lease and a fence; a later fence voids earlier ones.

    `request_id` and `traceparent` (W3C Trace Context) are those of the request that asked for it, so that what a worker
    says of it can be found by them.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(_one_of("kind", JOB_KINDS), name="kind"),
        CheckConstraint(_one_of("queue", QUEUES), name="queue"),
        CheckConstraint(_one_of("state", JOB_STATES), name="state"),
        CheckConstraint(
            "(state = 'running') = (lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)", name="lease"
        ),
        Index("ix_jobs_due", "queue", "run_after", "id", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_leased", "lease_expires_at", postgresql_where=text("state = 'running'")),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    audit_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    queue: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None] = mapped_column(default=log_context.request_id)
    traceparent: Mapped[str | None] = mapped_column(default=log_context.traceparent)
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(Integer, server_default=text("3"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    run_after: Mapped[datetime] = mapped_column(server_default=func.now())
    deadline_at: Mapped[datetime | None]
    last_error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class ReportRow(Base):
    """The report of a succeeded audit, as text: key order is part of what a person compares."""

    __tablename__ = "reports"
    audit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True)
    schema_version: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    fence: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotencyKey(Base):
    """A client's name for one request of one API key, and the answer that a retry gets.

    Without an answer (`status` is NULL) the request is in flight: `holder` names it, and it holds the key until
    `expires_at`, which it moves on as long as it lives.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_expires_at", "expires_at"),)
    api_key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[uuid.UUID | None]
    fingerprint: Mapped[str | None]
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    body: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]


class Event(Base):
    """What happened to an audit, in order: the source of server-sent events and webhooks."""

    __tablename__ = "events"
    __table_args__ = (
        Index(
            "uq_events_terminal",
            "audit_id",
            unique=True,
            postgresql_where=text(_one_of("type", TERMINAL_EVENTS)),
        ),
        Index("ix_events_audit_id_id", "audit_id", "id"),
    )
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    tenant_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tenants.id"))
    audit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("audits.id", ondelete="CASCADE"))
    type: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
