"""Where an audit's artifacts are to be fetched from.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_artifacts", sa.Column("url", sa.Text(), nullable=True))
    op.drop_constraint(op.f("ck_audit_artifacts_artifact_or_path"), "audit_artifacts", type_="check")
    op.create_check_constraint(
        op.f("ck_audit_artifacts_one_source"), "audit_artifacts", "num_nonnulls(artifact_id, path, url) = 1"
    )


def downgrade() -> None:
    """What was not fetched by then can't be kept: its audits lose that artifact."""
    op.execute("DELETE FROM audit_artifacts WHERE url IS NOT NULL")
    op.drop_constraint(op.f("ck_audit_artifacts_one_source"), "audit_artifacts", type_="check")
    op.create_check_constraint(
        op.f("ck_audit_artifacts_artifact_or_path"), "audit_artifacts", "(artifact_id IS NULL) <> (path IS NULL)"
    )
    op.drop_column("audit_artifacts", "url")
