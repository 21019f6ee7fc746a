"""`python -m runaudit_service.store.limits TENANT`: shows and changes what one tenant may do. For the operator."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from runaudit_service.store.database import sync_engine
from runaudit_service.store.limit_rows import TenantLimits
from runaudit_service.store.models import Tenant
from runaudit_service.store.settings import Settings, settings
from runaudit_service.store.tenants import WITHOUT_DATABASE, database_url

NAMES: Final = ("requests_per_minute", "max_queued_audits", "max_stored_bytes")


def change(session: Session, tenant: Tenant, changes: dict[str, int | None]) -> dict[str, int | None]:
    """The tenant's own limits after `changes`; None is the setting's."""
    row = session.get(TenantLimits, tenant.id)
    if row is None and any(value is not None for value in changes.values()):
        row = TenantLimits(tenant_id=tenant.id)
        session.add(row)
    if row is None:
        return dict.fromkeys(NAMES)
    for name, value in changes.items():
        setattr(row, name, value)
    session.flush()
    return {name: getattr(row, name) for name in NAMES}


def main(arguments: list[str] | None = None) -> int:
    """Print the limits in force, one a line; replicas of the API heed a change within half a minute."""
    parser = argparse.ArgumentParser(prog="python -m runaudit_service.store.limits", description=__doc__)
    parser.add_argument("tenant", help="its name; `runaudit serve` makes one, `default`")
    for name in NAMES:
        what = Settings.model_fields[name].description
        parser.add_argument(f"--{name.replace('_', '-')}", type=_limit, metavar="N", help=f"{what}, or `default`")
    given = vars(parser.parse_args(arguments))
    configured = settings()
    url = database_url(configured)
    if url is None:
        parser.error(WITHOUT_DATABASE.format(folder=configured.data_dir))
    engine = sync_engine(url, pool_size=1)
    try:
        with Session(engine) as session:
            tenant = session.scalar(select(Tenant).where(Tenant.name == given["tenant"]))
            if tenant is None:
                parser.error(f"there is no tenant {given['tenant']!r}")
            changes = {name: given[name] for name in NAMES if given[name] is not None}
            own = change(session, tenant, {name: None if value < 0 else value for name, value in changes.items()})
            session.commit()
    finally:
        engine.dispose()
    for name, value in own.items():
        in_force = getattr(configured, name) if value is None else value
        sys.stdout.write(f"{name} {in_force}{' (the setting)' if value is None else ''}\n")
    return 0


def _limit(text: str) -> int:
    """A number from 0 on; -1 for the setting's."""
    if text == "default":
        return -1
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a whole number from 0 on (0: no limit), or `default`")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
