"""Valkey from the wheel: private, on loopback only, and it keeps what it was told."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import redis

from runaudit_service.embedded import valkey
from runaudit_service.embedded.part import stop
from tests.conftest import wait_until


def test_it_wants_its_password_and_keeps_bells_over_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    server = valkey.prepare(folder)
    part = server.part(tmp_path / "log")
    assert server.password not in " ".join(part.command)
    assert stat.S_IMODE((folder / "valkey.conf").stat().st_mode) == 0o600
    process = part.start()
    try:
        wait_until(server.ready)
        client = redis.Redis.from_url(server.url)
        client.lpush("cpu", "a bell")
        assert client.config_get("bind") == {"bind": valkey.HOST}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port).ping()
        client.close()
    finally:
        assert stop(process, part)

    again = valkey.prepare(folder)
    assert again.password != server.password
    part = again.part(tmp_path / "log")
    process = part.start()
    try:
        wait_until(again.ready)
        client = redis.Redis.from_url(again.url)
        assert client.lrange("cpu", 0, -1) == [b"a bell"]
        client.close()
    finally:
        assert stop(process, part)
