"""Runs the migrations on the connection that `runaudit_service.store.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from runaudit_service.store.models import Base

# Any constant will do, as long as every version of Runaudit takes the same one.
MIGRATION_LOCK = 0x72756E6175646974


def migrate(connection: Connection) -> None:
    """All in one transaction: a migration that fails half way leaves nothing behind."""
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        # Replicas that start together wait for each other here instead of racing to create the tables.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        context.run_migrations()


migrate(context.config.attributes["connection"])
