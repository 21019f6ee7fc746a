"""The second wall between tenants: what the API's role sees of a table, whatever the query says."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from runaudit_service.embedded import postgres
from runaudit_service.store import migrate, tenancy
from runaudit_service.store.database import sqlalchemy_url
from runaudit_service.store.models import Base
from tests.service.conftest import Owner

WITHOUT_TENANT = {"alembic_version"}
"""tables with nothing in them that belongs to anyone"""
MEND = (
    "Call `tenancy.protect(op, {table!r})` in the migration that makes the table (docs/architecture.md, Tenants); "
    "if no row of it belongs to anyone, add it to WITHOUT_TENANT in this test and say why."
)


@pytest.fixture
def api_engine(postgres_url: str) -> Iterator[Engine]:
    """As the API connects."""
    made = create_engine(sqlalchemy_url(postgres_url), connect_args={"options": f"-c role={tenancy.API_ROLE}"})
    yield made
    made.dispose()


def tables(engine: Engine) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    with engine.connect() as connection:
        return sorted(set(connection.execute(text(query)).scalars()) - WITHOUT_TENANT)


def unguarded(engine: Engine) -> list[str]:
    """The tables that the API's role could read whole, or that it can't read at all."""
    query = text(
        "SELECT relname, relrowsecurity, has_table_privilege(:role, oid, 'SELECT') AS readable, ARRAY("
        "  SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = pg_class.oid AND polroles @> ARRAY["
        "    (SELECT oid FROM pg_roles WHERE rolname = :role)]) AS conditions "
        "FROM pg_class WHERE relname = ANY(:tables)"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"role": tenancy.API_ROLE, "tables": tables(engine)}).all()
    return [
        row.relname
        for row in rows
        if not (row.relrowsecurity and row.readable and row.conditions)
        or any(tenancy.TENANT_SETTING not in one and "EXISTS" not in one for one in row.conditions)
    ]


def test_every_table_is_behind_the_wall(engine: Engine) -> None:
    missing = unguarded(engine)
    assert not missing, " ".join(MEND.format(table=table) for table in missing)
    assert set(tables(engine)) >= set(Base.metadata.tables)


def test_a_table_that_nobody_thought_of_is_found_and_can_not_be_read(engine: Engine, api_engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE forgotten (tenant_id uuid)"))
    try:
        assert unguarded(engine) == ["forgotten"]
        with api_engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("SELECT * FROM forgotten"))
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE forgotten"))


def test_without_a_tenant_nothing_is_seen_and_with_one_only_its_own(
    engine: Engine, api_engine: Engine, new_owner: Callable[..., Owner]
) -> None:
    mine, others = new_owner(), new_owner()
    with api_engine.connect() as connection:
        for table in tables(engine):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    with api_engine.begin() as connection:
        connection.execute(text("SELECT set_config(:name, :value, true)"), _set(mine))
        assert connection.execute(text("SELECT tenant_id FROM projects")).scalars().all() == [mine.tenant.id]
        assert connection.execute(text("SELECT id FROM tenants")).scalars().all() == [mine.tenant.id]
        named = connection.execute(text("SELECT id FROM projects WHERE id = :id"), {"id": others.project.id})
        assert named.all() == []
        changed = connection.execute(text("UPDATE projects SET name = 'x' WHERE tenant_id = :id"), _id(others))
        assert changed.rowcount == 0
    with api_engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM projects")).scalar_one() == 0, "the tenant outlived"


def test_a_row_can_not_be_put_into_anothers_hands(
    engine: Engine, api_engine: Engine, new_owner: Callable[..., Owner]
) -> None:
    mine, others = new_owner(), new_owner()
    with api_engine.begin() as connection:
        connection.execute(text("SELECT set_config(:name, :value, true)"), _set(mine))
        with pytest.raises(ProgrammingError, match="row-level security"):
            connection.execute(
                text("INSERT INTO projects (id, tenant_id, name) VALUES (:new, :id, 'p')"),
                _id(others) | {"new": uuid.uuid4()},
            )


def test_the_role_can_not_be_left(api_engine: Engine) -> None:
    with api_engine.connect() as connection:
        connection.execute(text("RESET ROLE"))
        assert connection.execute(text("SELECT current_user")).scalar_one() == tenancy.API_ROLE


def test_the_overview_sees_all_tenants_and_changes_none(
    engine: Engine, api_engine: Engine, new_owner: Callable[..., Owner]
) -> None:
    two = {new_owner().tenant.id, new_owner().tenant.id}
    with api_engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {tenancy.OVERVIEW_ROLE}"))
        assert two <= set(connection.execute(text("SELECT tenant_id FROM projects")).scalars())
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("DELETE FROM projects"))


def _set(owner: Owner) -> dict[str, str]:
    return {"name": tenancy.TENANT_SETTING, "value": str(owner.tenant.id)}


def _id(owner: Owner) -> dict[str, uuid.UUID]:
    return {"id": owner.tenant.id}


def test_a_database_user_that_may_not_create_roles_is_enough_once_they_are_there(
    postgres_server: postgres.Postgres, migrated_template: str, engine: Engine
) -> None:
    """As on a server of someone else: no superuser, no right to create roles; an administrator made them."""
    admin = create_engine(sqlalchemy_url(postgres_server.url("postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE ROLE plain LOGIN PASSWORD 'plain' NOCREATEROLE"))
        connection.execute(text("CREATE DATABASE of_plain OWNER plain"))
    url = sqlalchemy_url(postgres_server.url("of_plain")).set(username="plain", password="plain")
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with pytest.raises(ProgrammingError, match="runaudit_api"):
            migrate.upgrade(plain)
        with admin.connect() as connection:
            connection.execute(text("GRANT runaudit_api TO plain"))
        migrate.upgrade(plain)
        ours = create_engine(url, connect_args={"options": f"-c role={tenancy.API_ROLE}"})
        with ours.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM projects")).scalar_one() == 0
            connection.execute(text(f"SET LOCAL ROLE {tenancy.OVERVIEW_ROLE}"))
            assert connection.execute(text("SELECT count(*) FROM projects")).scalar_one() == 0
        ours.dispose()
    finally:
        with admin.connect() as connection:
            connection.execute(text("DROP DATABASE of_plain WITH (FORCE)"))
            connection.execute(text("DROP ROLE plain"))
        admin.dispose()
