"""`python -m runaudit_service.store.prepare`: migrates the database, makes the API's login and the first key.

`runaudit serve` does the same for itself; docker-compose.yml has it as a step of its own, before all others.
"""

from __future__ import annotations

import sys

from sqlalchemy.orm import Session

from runaudit_service.store import front_login
from runaudit_service.store.database import sync_engine
from runaudit_service.store.keys import ensure_default
from runaudit_service.store.migrate import upgrade
from runaudit_service.store.settings import settings


def prepare(database_url: str, api_database_url: str = "") -> str | None:
    """Bring the database up to the newest revision; the first key if this made one, else None.

    Safe to call again, and from several processes at once.

    Args:
        database_url: as the owner of the tables.
        api_database_url: by the login that the API is to have; empty: it has none of its own.

    Raises:
        LoginUnfitError: that login can't be made, or is none for the API.
    """
    upgrade(database_url)
    if api_database_url:
        front_login.ensure(database_url, api_database_url)
    engine = sync_engine(database_url, pool_size=1)
    try:
        with Session(engine) as session:
            key = ensure_default(session)
            session.commit()
            return key
    finally:
        engine.dispose()


def main() -> int:
    """Prepare the database of RUNAUDIT_DATABASE_URL; the first key goes to standard output, this once."""
    configured = settings()
    if not configured.database_url:
        sys.stderr.write("RUNAUDIT_DATABASE_URL must be set; `runaudit serve` needs no such step\n")
        return 2
    try:
        key = prepare(configured.database_url, configured.api_database_url)
    except front_login.LoginUnfitError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    if key is not None:
        sys.stdout.write(f"API key (shown this once): {key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
