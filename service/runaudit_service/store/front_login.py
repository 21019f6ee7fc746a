"""The API's login in PostgreSQL: it owns no table, and is a member of the API's role alone (store/tenancy.py).

With the owner's login the API works as that role too, but what gets hold of its session may go back to being the owner
(`SET ROLE NONE`), past row-level security. From this login there is no way back, and the API's process does not know
the owner's password.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from runaudit_service.store.database import libpq_url, sqlalchemy_url
from runaudit_service.store.tenancy import API_ROLE

USER: Final = "runaudit_front"
"""the login that `runaudit serve` makes in its own server"""
CONNECT_SECONDS: Final = 10
_RIGHTS: Final = """
SELECT rolsuper OR rolbypassrls,
    EXISTS (SELECT FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND pg_has_role(pg_roles.oid, relowner, 'MEMBER')),
    pg_has_role(pg_roles.oid, %(role)s, 'MEMBER')
FROM pg_roles WHERE rolname = %(user)s
"""


class LoginUnfitError(Exception):
    """The API's login can't be made, can't connect, or may do more or less than it should; the sentence says what."""


def ensure(owner_url: str, login_url: str) -> None:
    """Make the login that `login_url` names, with its password, unless it is there; and prove that it fits.

    Safe to call again, and from several processes at once. A login that connects already is left as it is, so that an
    administrator may have made it where the owner may not.

    Args:
        owner_url: the database, as the owner of its tables, migrated.
        login_url: the same database, as the API is to connect.

    Raises:
        LoginUnfitError: it can't be made, or is none for the API.
    """
    parts = sqlalchemy_url(login_url)
    user, password = parts.username, parts.password
    if not user or not password:
        raise LoginUnfitError("The URL of the API's login needs a user and a password.")
    if not _connects(login_url):
        try:
            _make(owner_url, user, password)
        except psycopg.Error as error:
            raise LoginUnfitError(f"The API's login {user} can't be made: {_said(error)}.") from error
    _prove(login_url, user)


def _make(owner_url: str, user: str, password: str) -> None:
    """A new role, or another password for the one of that name, if that is one of the API's: whose password is mistaken
    for it (the owner's, say) keeps its own. Raises LoginUnfitError."""
    with psycopg.connect(libpq_url(owner_url), autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
        # Only the verifier goes to the server: statements may be logged there.
        verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
        words = {"user": sql.Identifier(user), "verifier": sql.Literal(verifier), "role": sql.Identifier(API_ROLE)}
        try:
            # Both or neither: one without the role would be taken for somebody else's.
            with connection.transaction():
                connection.execute(sql.SQL("CREATE ROLE {user} LOGIN NOINHERIT PASSWORD {verifier}").format(**words))
                connection.execute(sql.SQL("GRANT {role} TO {user}").format(**words))
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            _require_fit(connection, user)
            connection.execute(sql.SQL("ALTER ROLE {user} PASSWORD {verifier}").format(**words))


def _connects(url: str) -> bool:
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=CONNECT_SECONDS):
            return True
    except psycopg.OperationalError:
        return False


def _prove(url: str, user: str) -> None:
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=CONNECT_SECONDS) as connection:
            _require_fit(connection, user)
    except psycopg.Error as error:
        raise LoginUnfitError(f"The API's login {user} can't connect: {_said(error)}.") from error


def _require_fit(connection: psycopg.Connection[Any], user: str) -> None:
    found = connection.execute(_RIGHTS, {"role": API_ROLE, "user": user}).fetchone()
    past_the_wall, owns, member = found or (True, True, False)
    if past_the_wall or owns:
        raise LoginUnfitError(
            f"The login {user} is none for the API: it owns tables, or row-level security does not hold for it."
        )
    if not member:
        raise LoginUnfitError(f"The login {user} is none for the API: GRANT {API_ROLE} TO it.")


def _said(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
