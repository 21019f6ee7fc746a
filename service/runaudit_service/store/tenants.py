"""`python -m runaudit_service.store.tenants TENANT NAME`: a key of a tenant, which is made if it is not there.

For operators: whoever may write into the database may make tenants, and nobody else. `runaudit keys create --tenant`
calls this. Tenants see nothing of one another.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, cast, get_args

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from runaudit_service.store.database import sync_engine
from runaudit_service.store.keys import Scope, add_key, ensure_tenant
from runaudit_service.store.settings import Settings, settings

LONGEST_NAME: Final = 200
URL_FILE: Final = "postgres/url"
"""where `runaudit serve` says how its own database is reached, below its data folder; mode 0600"""
WITHOUT_DATABASE: Final = (
    "set RUNAUDIT_DATABASE_URL, or RUNAUDIT_DATA_DIR to the folder of a `runaudit serve` that runs ({folder} is none)"
)
UNUSABLE: Final = 2
FAILED: Final = 3


def database_url(configured: Settings) -> str | None:
    """The database of the settings, else the one that a `runaudit serve` of this data folder runs."""
    if configured.database_url:
        return configured.database_url
    written = Path(configured.data_dir) / URL_FILE
    return written.read_text().strip() if written.is_file() else None


def create_key(url: str, tenant_name: str, key_name: str, scopes: tuple[Scope, ...]) -> str:
    """The text of a new key of that tenant, this once. Makes the tenant and its project `default` where needed."""
    engine = sync_engine(url, pool_size=1)
    try:
        with Session(engine) as session:
            text = add_key(session, ensure_tenant(session, tenant_name), key_name, scopes)
            session.commit()
            return text
    finally:
        engine.dispose()


def _name(text: str) -> str:
    if not (text.isprintable() and 1 <= len(text) <= LONGEST_NAME):
        raise argparse.ArgumentTypeError(f"a name has 1 to {LONGEST_NAME} printable characters")
    return text


def main() -> int:
    """The key goes to standard output alone."""
    parser = argparse.ArgumentParser(prog="runaudit keys create --tenant", description="Makes a tenant's key.")
    parser.add_argument("tenant", type=_name)
    parser.add_argument("name", type=_name, help="what the key is for")
    parser.add_argument("--scope", action="append", choices=get_args(Scope), help="without: all scopes")
    options = parser.parse_args()
    configured = settings()
    url = database_url(configured)
    if url is None:
        sys.stderr.write(WITHOUT_DATABASE.format(folder=configured.data_dir) + "\n")
        return UNUSABLE
    scopes = tuple(cast("list[Scope]", options.scope) or get_args(Scope))
    try:
        text = create_key(url, options.tenant, options.name, scopes)
    except DBAPIError as error:
        sys.stderr.write(f"the database can't be written to: {str(error.orig).strip()}\n")
        return FAILED
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
