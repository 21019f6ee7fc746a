"""Resumable uploads, the limits of tenants, and an index for counting the audits that a tenant has waiting.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from runaudit_service.store import tenancy

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("received", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("received >= 0 AND received <= length", name=op.f("ck_uploads_received")),
        sa.CheckConstraint("(holder IS NULL) = (held_until IS NULL)", name=op.f("ck_uploads_held")),
        sa.CheckConstraint(
            "digest IS NULL OR (received = length AND holder IS NULL)", name=op.f("ck_uploads_complete")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_uploads_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_tenant_id", "uploads", ["tenant_id"])
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
    op.create_table(
        "upload_parts",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.CheckConstraint("bytes > 0", name=op.f("ck_upload_parts_bytes")),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name=op.f("fk_upload_parts_upload_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("upload_id", "start", name=op.f("pk_upload_parts")),
    )
    op.create_table(
        "tenant_limits",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_queued_audits", sa.BigInteger(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("requests_per_minute >= 0", name=op.f("ck_tenant_limits_requests_per_minute")),
        sa.CheckConstraint("max_queued_audits >= 0", name=op.f("ck_tenant_limits_max_queued_audits")),
        sa.CheckConstraint("max_stored_bytes >= 0", name=op.f("ck_tenant_limits_max_stored_bytes")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_limits_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_limits")),
    )
    op.create_index(
        "ix_audits_waiting",
        "audits",
        ["tenant_id"],
        postgresql_where=sa.text("state IN ('queued', 'fetching')"),
    )
    tenancy.protect(op, "uploads")
    tenancy.protect(op, "upload_parts", rows=tenancy.rows_of("uploads", "upload_id"))
    tenancy.protect(op, "tenant_limits", rights="SELECT")


def downgrade() -> None:
    op.drop_index("ix_audits_waiting", table_name="audits")
    op.drop_table("tenant_limits")
    op.drop_table("upload_parts")
    op.drop_table("uploads")
