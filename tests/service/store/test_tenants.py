"""Operators make tenants and their keys in the database itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from runaudit_service.store import tenants
from tests.service.clients import Api


def create(database_url: str, *arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    settings = {"RUNAUDIT_DATABASE_URL": database_url, "RUNAUDIT_DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, "-m", "runaudit.cli", "keys", "create", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_new_tenant_has_a_project_a_key_and_nothing_of_others(
    api: Api, client_of: Callable[[str | None], Api], postgres_url: str, tmp_path: Path
) -> None:
    audit = api.submit(b"mine").json()
    made = create(postgres_url, "first", "--tenant", "vision team", data_dir=tmp_path)
    assert made.returncode == 0, made.stderr
    other = client_of(made.stdout.strip())
    assert [project["name"] for project in other.get("/v1/projects").json()["items"]] == ["default"]
    assert other.get("/v1/audits").json()["items"] == []
    assert other.get(f"/v1/audits/{audit['id']}").status_code == 404
    assert other.submit(b"mine").status_code == 202
    again = tenants.create_key(postgres_url, "vision team", "reader", ("audits:read",))
    assert len(client_of(again).get("/v1/audits").json()["items"]) == 1
    assert client_of(again).get("/v1/keys").status_code == 403


def test_the_database_of_a_service_that_runs_here_is_found(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / tenants.URL_FILE).parent.mkdir()
    (tmp_path / tenants.URL_FILE).write_text(postgres_url + "\n")
    made = create("", "first", "--tenant", "found", "--scope", "audits:read", data_dir=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("ra_")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    nowhere = create("", "first", "--tenant", "t", data_dir=tmp_path)
    assert (nowhere.returncode, "RUNAUDIT_DATABASE_URL" in nowhere.stderr) == (2, True)
    away = create("postgresql://nobody@127.0.0.1:1/none", "first", "--tenant", "t", data_dir=tmp_path)
    assert (away.returncode, "can't be written to" in away.stderr) == (3, True)
    wrong = create("", "first", "--tenant", "t", "--scope", "root", data_dir=tmp_path)
    assert (wrong.returncode, "audits:read" in wrong.stderr) == (2, True)
