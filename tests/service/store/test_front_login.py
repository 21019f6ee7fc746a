"""The API's own login: made once, fit for nothing but the API's role, and refused where it could see past the wall."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from runaudit_service.embedded.postgres import Postgres
from runaudit_service.store.front_login import LoginUnfitError, ensure
from runaudit_service.store.tenancy import API_ROLE, OVERVIEW_ROLE


def with_login(url: str, user: str, password: str) -> str:
    """The same database, as another one."""
    return f"postgresql://{user}:{quote(password, safe='')}@{url.partition('@')[2]}"


@pytest.fixture
def user(postgres_server: Postgres) -> Iterator[str]:
    """A name that no login has yet; what was made of it is gone afterwards."""
    name = f"front_{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP ROLE IF EXISTS "{name}"')


def test_it_becomes_the_apis_role_and_nothing_else(postgres_url: str, user: str) -> None:
    url = with_login(postgres_url, user, "p'w@:/ %41")
    ensure(postgres_url, url)
    ensure(postgres_url, url)
    with psycopg.connect(url, options=f"-c role={API_ROLE}") as connection:
        assert connection.execute("SELECT count(*) FROM projects").fetchone() == (0,)
        connection.execute(f"SET LOCAL ROLE {OVERVIEW_ROLE}")
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    with psycopg.connect(url, options=f"-c role={API_ROLE}") as connection:
        # Its way out of the role leads to a login that may touch nothing.
        connection.execute("SET ROLE NONE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM projects")
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SET ROLE runaudit")


def test_another_password_takes_the_place_of_the_one_before(postgres_url: str, user: str) -> None:
    ensure(postgres_url, with_login(postgres_url, user, "first"))
    ensure(postgres_url, with_login(postgres_url, user, "second"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(with_login(postgres_url, user, "first"))


def test_the_owner_is_no_login_for_the_api(postgres_url: str) -> None:
    with pytest.raises(LoginUnfitError, match="row-level security"):
        ensure(postgres_url, postgres_url)


def test_a_login_without_the_role_is_refused(postgres_server: Postgres, postgres_url: str, user: str) -> None:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE \"{user}\" LOGIN PASSWORD 'x'")
    with pytest.raises(LoginUnfitError, match=f"GRANT {API_ROLE}"):
        ensure(postgres_url, with_login(postgres_url, user, "x"))


def test_a_url_without_password_and_an_owner_that_may_make_no_login_are_told(postgres_url: str, user: str) -> None:
    ensure(postgres_url, with_login(postgres_url, user, "x"))
    with pytest.raises(LoginUnfitError, match="user and a password"):
        ensure(postgres_url, f"postgresql://{postgres_url.partition('@')[2]}")
    with pytest.raises(LoginUnfitError, match="can't be made"):
        ensure(with_login(postgres_url, user, "x"), with_login(postgres_url, f"{user}_2", "x"))


@pytest.mark.parametrize("kind", ["SUPERUSER", "NOSUPERUSER"])
def test_no_other_login_loses_its_password_to_a_mistaken_url(
    postgres_server: Postgres, postgres_url: str, user: str, kind: str
) -> None:
    """Such as the owner's, by which all workers connect, under a password that is not its own."""
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE \"{user}\" LOGIN {kind} PASSWORD 'kept'")
    with pytest.raises(LoginUnfitError, match=f"login {user} is none for the API"):
        ensure(postgres_url, with_login(postgres_url, user, "mistaken"))
    psycopg.connect(with_login(postgres_url, user, "kept")).close()
