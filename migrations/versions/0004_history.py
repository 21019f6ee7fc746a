"""What history is filtered by, in its order; how long projects keep audits; what a baseline measured.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("retention_days", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_projects_retention_days"), "projects", "retention_days > 0")
    op.add_column("audits", sa.Column("baseline", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_table(
        "audit_terms",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("audit_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name=op.f("fk_audit_terms_audit_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_audit_terms_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "term", "created_at", "audit_id", name=op.f("pk_audit_terms")),
    )
    op.execute(
        "INSERT INTO audit_terms (tenant_id, term, created_at, audit_id) "
        "SELECT DISTINCT tenant_id, 'cause:' || cause, created_at, id FROM audits, unnest(causes) AS cause "
        "UNION ALL SELECT tenant_id, 'label:' || key || ':' || value, created_at, id "
        "FROM audits, jsonb_each_text(labels)"
    )
    op.create_index(op.f("ix_audit_terms_audit_id"), "audit_terms", ["audit_id"], unique=False)
    op.drop_index("ix_audits_project_id", table_name="audits")
    op.create_index("ix_audits_project_id_created_at_id", "audits", ["project_id", "created_at", "id"], unique=False)
    op.create_index(
        "ix_audits_tenant_id_state_created_at_id", "audits", ["tenant_id", "state", "created_at", "id"], unique=False
    )
    for column in ("verdict", "framework"):
        op.create_index(
            f"ix_audits_tenant_id_{column}_created_at_id",
            "audits",
            ["tenant_id", column, "created_at", "id"],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_index(
        "ix_audits_rerun_of", "audits", ["rerun_of"], unique=False, postgresql_where=sa.text("rerun_of IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_audits_rerun_of", table_name="audits", postgresql_where=sa.text("rerun_of IS NOT NULL"))
    for column in ("framework", "verdict"):
        op.drop_index(
            f"ix_audits_tenant_id_{column}_created_at_id",
            table_name="audits",
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.drop_index("ix_audits_tenant_id_state_created_at_id", table_name="audits")
    op.drop_index("ix_audits_project_id_created_at_id", table_name="audits")
    op.create_index("ix_audits_project_id", "audits", ["project_id"], unique=False)
    op.drop_index(op.f("ix_audit_terms_audit_id"), table_name="audit_terms")
    op.drop_table("audit_terms")
    op.drop_column("audits", "baseline")
    op.drop_constraint(op.f("ck_projects_retention_days"), "projects", type_="check")
    op.drop_column("projects", "retention_days")
