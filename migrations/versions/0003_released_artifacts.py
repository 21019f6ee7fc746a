"""When an artifact's audits were deleted, so that it can be removed; those that no audit uses now are released now.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("released_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE artifacts SET released_at = now() "
        "WHERE NOT EXISTS (SELECT FROM audit_artifacts WHERE artifact_id = artifacts.id)"
    )
    op.create_index(
        "ix_artifacts_released_at",
        "artifacts",
        ["released_at"],
        unique=False,
        postgresql_where=sa.text("released_at IS NOT NULL"),
    )
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_artifacts_sha256", table_name="artifacts")
    op.drop_index(
        "ix_artifacts_released_at", table_name="artifacts", postgresql_where=sa.text("released_at IS NOT NULL")
    )
    op.drop_column("artifacts", "released_at")
