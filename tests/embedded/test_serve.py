"""`runaudit serve` from start to end: it serves, mends itself, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

import httpx

from tests.conftest import wait_until
from tests.embedded.service import Served, command_line, descendants, serving

PARTS = {"postgres", "valkey", "api", "reaper", "sender", "worker", "egress"}


def is_ready(served: Served) -> bool:
    try:
        return httpx.get(served.credentials["url"] + "/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def processes_of(data_dir: Path) -> list[str]:
    """Command lines that still name the folder, whoever their parent is by now."""
    lines = (command_line(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [line for line in lines if str(data_dir) in line]


def test_it_serves_mends_itself_and_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir) as served:
        assert stat.S_IMODE((data_dir / "credentials.json").stat().st_mode) == 0o600
        url, key = served.credentials["url"], served.credentials["key"]
        assert served.said().count(key) == 1
        assert url in served.said()
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/audits", headers=headers).status_code == 200
        assert httpx.get(f"{url}/v1/audits").status_code == 401
        first = served.processes()
        owners_password = (data_dir / "postgres" / "password").read_text()
        assert owners_password in Path(f"/proc/{first['reaper']}/environ").read_text()
        assert owners_password not in Path(f"/proc/{first['api']}/environ").read_text(), (
            "the API has a login of its own"
        )
        assert set(first) == PARTS

        for process in first.values():
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: set(served.processes()) == PARTS and is_ready(served), seconds=40, what="mending")
        assert not set(first.values()) & set(served.processes().values())
        assert httpx.get(f"{url}/v1/audits", headers=headers).status_code == 200
        assert "it starts again" in served.said()

        everything = descendants(served.process.pid)
        assert served.interrupt() == 0
        assert not any(Path(f"/proc/{process}").exists() for process in everything)
        assert processes_of(data_dir) == []
        assert not (data_dir / "credentials.json").exists()
        order = [line.split()[0] for line in served.said().splitlines() if " stopped (" in line]
        assert order == ["api", "worker-1", "worker-egress", "sender", "reaper", "valkey", "postgres"]

    with serving(data_dir) as again:
        assert again.credentials["key"] == key
        assert key not in again.said()
        assert httpx.get(again.credentials["url"] + "/v1/audits", headers=headers).status_code == 200
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(40) == 0
    assert processes_of(data_dir) == []


def test_killing_the_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir) as served:
        everything = descendants(served.process.pid)
        assert len(everything) >= len(PARTS)
        served.process.kill()
        served.process.wait()
        wait_until(lambda: not processes_of(data_dir), what="the parts ending")
        wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in everything), what="all ending")
    with serving(data_dir) as again:
        assert is_ready(again)


def test_a_second_service_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(data_dir) as first, serving(tmp_path / "other", "--data-dir", str(data_dir), wait=False) as second:
        assert second.process.wait(20) == 3
        assert f"is in use by another `runaudit serve` (process {first.process.pid})" in second.said()
        assert is_ready(first)


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with serving(tmp_path / "data", "--port", port, wait=False) as served:
            assert served.process.wait(20) == 3
            assert f"can't listen on 127.0.0.1:{port}" in served.said()
            assert "postgres started" not in served.said()


def test_given_servers_are_used_instead_of_own_ones(tmp_path: Path, empty_postgres_url: str, valkey_url: str) -> None:
    given = {"RUNAUDIT_DATABASE_URL": empty_postgres_url, "RUNAUDIT_BROKER_URL": valkey_url}
    with serving(tmp_path / "data", "--workers", "2", environment=given) as served:
        assert is_ready(served)
        assert set(served.processes()) == PARTS - {"postgres", "valkey"}
        assert "worker-2 started" in served.said()
        assert not (tmp_path / "data" / "postgres").exists()


def test_it_stops_while_it_is_still_starting(tmp_path: Path) -> None:
    with serving(tmp_path / "data", wait=False) as served:
        wait_until(lambda: "worker-1 started" in served.said(), seconds=40)
        assert served.interrupt() == 0
    assert processes_of(tmp_path / "data") == []
