"""Events that nobody is to be told of cost their audit no look at who is.

Each event wrote its deliveries by one statement over seven tables, run as the transaction committed, also where the
tenant has no endpoint and the audit no callback: most of what PostgreSQL spent on a small audit that was handed in.

Revision: 0011, after 0010.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# `write_webhook_deliveries` looks again, at which of them want this event; whoever adds a callback at this moment holds
# the lock of the audit, and so either is seen here or sees the event.
TELL_IF_ANYONE_LISTENS = """
CREATE OR REPLACE FUNCTION deliver_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoints WHERE tenant_id = NEW.tenant_id)
        OR EXISTS (SELECT FROM webhook_callbacks WHERE audit_id = NEW.audit_id)
    THEN
        PERFORM write_webhook_deliveries(NEW.id);
    END IF;
    RETURN NULL;
END
$$
"""
TELL = """
CREATE OR REPLACE FUNCTION deliver_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM write_webhook_deliveries(NEW.id);
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute(TELL_IF_ANYONE_LISTENS)


def downgrade() -> None:
    op.execute(TELL)
