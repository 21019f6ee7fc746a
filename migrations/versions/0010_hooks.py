"""Messages of inbound hooks that have been seen, and model versions that wait for a verdict.

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runaudit_service.store import tenancy

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hook_deliveries",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_hook_deliveries_project_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_hook_deliveries_tenant_id")),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["audits.id"], name=op.f("fk_hook_deliveries_audit_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("project_id", "delivery_id", name=op.f("pk_hook_deliveries")),
    )
    op.create_index("ix_hook_deliveries_audit_id", "hook_deliveries", ["audit_id"])
    op.create_index("ix_hook_deliveries_received_at", "hook_deliveries", ["received_at"])
    op.create_table(
        "model_version_verdicts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'succeeded', 'failed')", name=op.f("ck_model_version_verdicts_state")),
        sa.CheckConstraint(
            "(state = 'waiting') = (next_attempt_at IS NOT NULL)", name=op.f("ck_model_version_verdicts_next_attempt")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_model_version_verdicts_tenant_id")),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["audits.id"], name=op.f("fk_model_version_verdicts_audit_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version_verdicts")),
    )
    op.create_index("ix_model_version_verdicts_audit_id", "model_version_verdicts", ["audit_id"])
    op.create_index(
        "ix_model_version_verdicts_due",
        "model_version_verdicts",
        ["next_attempt_at"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    tenancy.protect(op, "hook_deliveries")
    tenancy.protect(op, "model_version_verdicts", rights="SELECT, INSERT")


def downgrade() -> None:
    op.drop_table("model_version_verdicts")
    op.drop_table("hook_deliveries")
