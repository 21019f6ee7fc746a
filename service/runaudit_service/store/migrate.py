"""The store's migrations, run from code: the same from a checkout and from an installed wheel, no alembic.ini."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from runaudit_service.store import hook_rows, limit_rows, upload_rows, webhooks  # noqa: F401  # rows that Base learns of
from runaudit_service.store.database import sync_engine
from runaudit_service.store.models import Base

HEAD = "head"
BASE = "base"


def script_folder() -> Path:
    """The folder of the migrations: `runaudit_service/migrations` in a wheel, `migrations/` in a checkout."""
    packaged = Path(__file__).resolve().parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "migrations"


def configuration() -> Config:
    """Alembic's configuration, which is nothing but the folder."""
    config = Config()
    # Config interpolates %, as configparser does.
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(database_url: str, revision: str = HEAD) -> None:
    """Bring the database up to `revision`, in one transaction; safe to call from several processes at once."""
    with _own_engine(database_url) as engine:
        upgrade_engine(engine, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Take the database down to `revision` (`base`: nothing left), in one transaction."""
    with _own_engine(database_url) as engine, engine.connect() as connection:
        command.downgrade(_on(connection), revision)
        connection.commit()


def upgrade_engine(engine: Engine, revision: str = HEAD) -> None:
    """As `upgrade`, on an engine that is there already."""
    with engine.connect() as connection:
        command.upgrade(_on(connection), revision)
        connection.commit()


def new_revision(engine: Engine, message: str, revision_id: str) -> None:
    """Write a migration file from the difference between the models and the database (for developers)."""
    with engine.connect() as connection:
        command.revision(_on(connection), message, autogenerate=True, rev_id=revision_id)


@lru_cache
def head_revision() -> str | None:
    """The newest revision that this installation knows."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None where no migration ever ran."""
    return MigrationContext.configure(connection).get_current_revision()


def at_head(engine: Engine) -> bool:
    """Whether the database is at the newest revision."""
    with engine.connect() as connection:
        return current_revision(connection) == head_revision()


def differences(engine: Engine) -> list[object]:
    """What the models have and the database lacks, or the other way round; empty where they agree."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def _on(connection: Connection) -> Config:
    config = configuration()
    config.attributes["connection"] = connection
    return config


@contextmanager
def _own_engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(database_url, pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()
