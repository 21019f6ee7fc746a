"""The secret before the present one, of keys and projects; and which request asked for a job.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = {
    "api_keys": {"previous_hash": sa.Text, "previous_expires_at": lambda: sa.DateTime(timezone=True)},
    "projects": {
        "previous_signing_secret": sa.Text,
        "previous_signing_secret_expires_at": lambda: sa.DateTime(timezone=True),
    },
    "jobs": {"request_id": sa.Text, "traceparent": sa.Text},
}
# Projects that were made before they had secrets get one: 32 random bytes, as store/signing.py makes them. Two UUIDs of
# version 4 have 244 random bits, and the built-in way to random bytes is an extension that not every server has.
SECRETS = """
UPDATE projects SET signing_secret =
    'whsec_' || encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64')
WHERE signing_secret IS NULL
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind(), nullable=True))
    op.execute(SECRETS)


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
