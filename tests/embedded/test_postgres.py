"""PostgreSQL from the wheel: as root and not, below folders that its account can't enter, under long and odd paths."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from runaudit_service.embedded import postgres
from runaudit_service.embedded.part import stop
from tests.conftest import wait_until


@contextmanager
def running(server: postgres.Postgres, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    part = server.part(log)
    process = part.start()
    try:
        wait_until(server.ready, what=f"PostgreSQL being ready ({log.read_text()})")
        yield process
    finally:
        assert stop(process, part)
        server.remove_socket_dir()


def test_it_keeps_its_data_and_its_password(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    server = postgres.prepare(folder)
    with running(server, tmp_path / "log"):
        server.create_database()
        server.create_database()
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    again = postgres.prepare(folder)
    assert again.password == server.password
    with running(again, tmp_path / "log"), psycopg.connect(again.url()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_nobody_else_reads_the_password_or_comes_in_without_it(tmp_path: Path) -> None:
    server = postgres.prepare(tmp_path / "postgres")
    assert stat.S_IMODE((tmp_path / "postgres" / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    assert list(server.socket_dir.iterdir()) == []
    with running(server, tmp_path / "log"):
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace(server.password, "guess"))


@pytest.mark.parametrize("name", ["a space, a comma", 'a "quote"', "é", "x" * 120])
def test_it_starts_below_any_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    server = postgres.prepare(tmp_path / name)
    assert len(os.fsencode(server.socket_dir / postgres.SOCKET_NAME)) <= postgres.LONGEST_SOCKET_PATH
    with running(server, tmp_path / "log"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the account")
def test_root_gives_its_rights_up_but_reaches_folders_that_only_root_may_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = postgres.prepare(tmp_path / "postgres")
    with running(server, tmp_path / "log") as process:
        fields = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert "0" not in fields["Uid"].split()
        assert "0" not in fields["Gid"].split()
        assert fields["Groups"].strip() == ""
        read_and_search, override = 1 << 2, 1 << 1
        assert int(fields["CapEff"], 16) in {0, read_and_search, override}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_it_ends_with_the_process_that_started_it_even_when_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from runaudit_service.embedded import postgres\n"
        f"folder = Path({str(tmp_path)!r}); server = postgres.prepare(folder / 'postgres')\n"
        "process = server.part(folder / 'log').start()\n"
        "while not server.ready(): time.sleep(0.1)\n"
        "print(process.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        assert Path(f"/proc/{process_id}").exists()
        parent.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    wait_until(lambda: not Path(f"/proc/{process_id}").exists(), seconds=10, what="PostgreSQL ending")
    assert "database system is shut down" in (tmp_path / "log").read_text()
    assert time.monotonic() - begun < 10
