"""Webhooks: endpoints, callbacks, deliveries, attempts, and the trigger that writes an event's deliveries.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from runaudit_service.store import tenancy

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = "state IN ('pending', 'sending')"

# PostgreSQL has uuidv7() from 18 on only: the time in milliseconds in the first 48 bits, and version 7 instead of 4.
UUID7 = """
CREATE FUNCTION runaudit_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$
"""

# Writes the deliveries of one event, or only that to one callback, which was asked for after the event. The snapshot
# has whole rows, so that a new column of audits can be told without another migration; what may be large and is never
# told is left out. All receivers get the event under one message id.
WRITE_DELIVERIES = """
CREATE FUNCTION write_webhook_deliveries(told bigint, called_back text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries (
        id, tenant_id, endpoint_id, project_id, event_id, audit_id, message_id, type, url, target, occurred_at,
        snapshot, state, next_attempt_at, ended_at)
    SELECT
        runaudit_uuid7(), events.tenant_id, receivers.endpoint_id, receivers.project_id, events.id, audits.id,
        'msg_' || md5(audits.id::text || ' ' || events.id::text), events.type, receivers.url, receivers.target,
        events.created_at,
        jsonb_build_object(
            'audit', to_jsonb(audits) - '{environment,policy,callback_url}'::text[],
            'project', projects.name,
            'artifacts', (
                SELECT COALESCE(jsonb_agg(jsonb_build_object(
                    'role', uses.role, 'sha256', artifacts.sha256, 'bytes', artifacts.bytes, 'path', uses.path)
                    ORDER BY uses.role DESC), '[]'::jsonb)
                FROM audit_artifacts AS uses LEFT JOIN artifacts ON artifacts.id = uses.artifact_id
                WHERE uses.audit_id = audits.id)),
        CASE WHEN receivers.disabled THEN 'skipped' ELSE 'pending' END,
        CASE WHEN receivers.disabled THEN NULL ELSE now() END,
        CASE WHEN receivers.disabled THEN now() END
    FROM events
    JOIN audits ON audits.id = events.audit_id
    JOIN projects ON projects.id = audits.project_id
    CROSS JOIN LATERAL (
        SELECT endpoints.id AS endpoint_id, NULL::uuid AS project_id, NULL AS url, endpoints.id::text AS target,
            endpoints.disabled_at IS NOT NULL AS disabled
        FROM webhook_endpoints AS endpoints
        WHERE called_back IS NULL AND endpoints.tenant_id = events.tenant_id AND events.type = ANY(endpoints.events)
            AND (endpoints.project_id IS NULL OR endpoints.project_id = audits.project_id)
        UNION ALL
        SELECT NULL, audits.project_id, callbacks.url,
            'callback ' || events.tenant_id::text || ' ' || lower(substring(callbacks.url FROM '^[^/]*//[^/?]*')), false
        FROM webhook_callbacks AS callbacks
        WHERE callbacks.audit_id = audits.id AND callbacks.url = COALESCE(called_back, callbacks.url)
    ) AS receivers
    WHERE events.id = told
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM pg_notify('runaudit_deliveries', '');
    END IF;
END
$$
"""

DELIVER_EVENT = """
CREATE FUNCTION deliver_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM write_webhook_deliveries(NEW.id);
    RETURN NULL;
END
$$
"""

# When the transaction commits, so that the order in which it writes its rows does not matter.
TRIGGER = """
CREATE CONSTRAINT TRIGGER deliver_event AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.type IN ('audit.queued', 'audit.started', 'audit.succeeded', 'audit.failed', 'audit.cancelled'))
EXECUTE FUNCTION deliver_event()
"""


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("format", sa.Text(), server_default="standard", nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("format IN ('standard', 'slack', 'teams')", name=op.f("ck_webhook_endpoints_format")),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)", name=op.f("ck_webhook_endpoints_disabled")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_endpoints_tenant_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhook_endpoints_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(op.f("ix_webhook_endpoints_tenant_id"), "webhook_endpoints", ["tenant_id"], unique=False)
    op.create_table(
        "webhook_callbacks",
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["audits.id"], name=op.f("fk_webhook_callbacks_audit_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("audit_id", "url", name=op.f("pk_webhook_callbacks")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("audit_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("step", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'succeeded', 'failed', 'skipped')",
            name=op.f("ck_webhook_deliveries_state"),
        ),
        sa.CheckConstraint(
            f"({_OPEN}) = (next_attempt_at IS NOT NULL)", name=op.f("ck_webhook_deliveries_next_attempt")
        ),
        sa.CheckConstraint(f"({_OPEN}) = (ended_at IS NULL)", name=op.f("ck_webhook_deliveries_ended")),
        sa.CheckConstraint(
            "(endpoint_id IS NULL) = (url IS NOT NULL AND project_id IS NOT NULL)",
            name=op.f("ck_webhook_deliveries_receiver"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_deliveries_tenant_id")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhook_deliveries_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["target", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text(_OPEN),
    )
    op.create_index(
        "ix_webhook_deliveries_endpoint_id_created_at_id",
        "webhook_deliveries",
        ["endpoint_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_webhook_deliveries_ended_at",
        "webhook_deliveries",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_index(
        "uq_webhook_deliveries_event_id_endpoint_id",
        "webhook_deliveries",
        ["event_id", "endpoint_id"],
        unique=True,
        postgresql_where=sa.text("endpoint_id IS NOT NULL"),
    )
    op.create_index(
        "uq_webhook_deliveries_event_id_url",
        "webhook_deliveries",
        ["event_id", "url"],
        unique=True,
        postgresql_where=sa.text("endpoint_id IS NULL"),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_attempts_tenant_id")),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index("ix_webhook_attempts_delivery_id_id", "webhook_attempts", ["delivery_id", "id"], unique=False)
    tenancy.protect(op, "webhook_endpoints")
    tenancy.protect(op, "webhook_callbacks", rows=tenancy.rows_of("audits", "audit_id"), rights="SELECT, INSERT")
    tenancy.protect(op, "webhook_deliveries", rights="SELECT, INSERT, UPDATE")
    tenancy.protect(op, "webhook_attempts", rights="SELECT")
    op.execute(UUID7)
    op.execute(WRITE_DELIVERIES)
    op.execute(DELIVER_EVENT)
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER deliver_event ON events")
    op.execute("DROP FUNCTION deliver_event()")
    op.execute("DROP FUNCTION write_webhook_deliveries(bigint, text)")
    op.execute("DROP FUNCTION runaudit_uuid7()")
    for table in ("webhook_attempts", "webhook_deliveries", "webhook_callbacks", "webhook_endpoints"):
        op.drop_table(table)
