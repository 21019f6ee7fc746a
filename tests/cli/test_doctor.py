"""`runaudit doctor`: settings with their secrets masked, isolation, and the service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runaudit_service.doctor import masked
from runaudit_service.store.settings import Settings
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.cli.command import runaudit
from tests.client.peer import Answer, peer, problem

PAGE = {"items": [], "next_page_token": ""}


def examined(cwd: Path, **environment: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    ended = runaudit("doctor", "--json", cwd=cwd, environment=environment)
    return ended.returncode, json.loads(ended.stdout)


def test_everything_is_listed_and_no_secret_is_shown(tmp_path: Path) -> None:
    secrets = {
        "RUNAUDIT_DATABASE_URL": "postgresql://ada:pass@word@db.example/runaudit",
        "RUNAUDIT_BROKER_URL": "redis://:hunter2@broker.example:6379/0",
        "RUNAUDIT_LEASE_SECONDS": "5",
    }
    code, found = examined(tmp_path, **secrets)
    assert code == 0
    settings = {one["variable"]: one for one in found["settings"]["settings"]}
    assert settings.keys() == {f"RUNAUDIT_{name.upper()}" for name in Settings.model_fields}
    assert settings["RUNAUDIT_DATABASE_URL"]["value"] == "postgresql://ada:***@db.example/runaudit"
    assert settings["RUNAUDIT_BROKER_URL"]["value"] == "redis://:***@broker.example:6379/0"
    assert settings["RUNAUDIT_LEASE_SECONDS"] | {"description": ""} == {
        "variable": "RUNAUDIT_LEASE_SECONDS",
        "value": "5.0",
        "default": "60",
        "is_set": True,
        "description": "",
    }
    assert all(one["description"] for one in settings.values())
    assert (settings["RUNAUDIT_WORK_DIR"]["value"], settings["RUNAUDIT_BLOB_SECRET_KEY"]["default"]) == ("", "")
    assert found["isolation"].keys() >= {"network", "writes"}
    assert found["extras"]["audit"]["installed"] and found["extras"]["service"]["installed"]
    assert "torch" in found["accelerators"]
    assert found["service"]["state"] == "not_configured"


def test_the_text_shows_the_same_and_a_service_that_answers(tmp_path: Path) -> None:
    with peer(Answer(body={"status": "ready"}), Answer(body=PAGE)) as server:
        ended = runaudit(
            "doctor",
            cwd=tmp_path,
            environment={
                "RUNAUDIT_BROKER_URL": "redis://:hunter2@broker.example/0",
                "RUNAUDIT_URL": server.url,
                "RUNAUDIT_API_KEY": "ra_secret",
            },
        )
    assert ended.returncode == 0
    assert "hunter2" not in ended.stdout and "ra_secret" not in ended.stdout
    assert re.search(r"RUNAUDIT_LEASE_SECONDS +60\.0 \(default\)", ended.stdout)
    assert re.search(r"state +ready", ended.stdout)


def test_a_setting_that_is_not_valid_and_a_key_that_is_not_taken(tmp_path: Path) -> None:
    with peer(Answer(body={}), problem(401, "unauthenticated")) as server:
        code, found = examined(
            tmp_path,
            RUNAUDIT_MAX_ATTEMPTS="many-s3cret",
            RUNAUDIT_URL=server.url,
            RUNAUDIT_API_KEY="ra_wrong",
        )
    assert code == 3
    assert "RUNAUDIT_MAX_ATTEMPTS" in found["settings"]["errors"][0]
    assert "[unauthenticated]" in found["service"]["detail"]
    assert not {"many-s3cret", "ra_wrong"} & set(re.findall(r"[\w-]+", json.dumps(found)))


def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    code, found = examined(tmp_path, RUNAUDIT_URL="http://127.0.0.1:9", RUNAUDIT_API_KEY="ra_secret")
    assert code == 3
    assert "[service_unreachable]" in found["service"]["detail"]


def test_a_module_in_the_working_folder_is_never_imported(tmp_path: Path) -> None:
    """The working folder may be a stranger's run."""
    for name in ("torch", "runaudit_service", "pydantic_settings"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('executed').write_text('')")
    script = Path(sys.executable).parent / "runaudit"
    ended = subprocess.run([script, "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "torch" in ended.stdout, ended.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:p:q@h", "redis://:***@h"),
        ("postgresql:///d?host=h&password=p:q&user=u", "postgresql:///d?host=h&password=***&user=u"),
        ("postgresql://h/d?sslpassword=p", "postgresql://h/d?sslpassword=***"),
        ("/a/folder", "/a/folder"),
        ("", ""),
    ],
)
def test_only_passwords_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def blob_store(cwd: Path, **environment: str) -> dict[str, str]:
    """What `runaudit doctor` asks this module, without all else that it looks at."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "runaudit_service.doctor"],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(ended.stdout)["blob_store"]
    return found


def test_a_folder_of_artifacts_is_looked_at_and_not_made(tmp_path: Path) -> None:
    assert blob_store(tmp_path)["state"] == "ready"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert blob_store(tmp_path, RUNAUDIT_BLOB_URL=str(tmp_path / "file"))["state"] == "error"


def test_a_bucket_of_artifacts_is_written_read_and_listed(bucket_server: BucketServer, tmp_path: Path) -> None:
    bucket = {"RUNAUDIT_BLOB_URL": bucket_server.url("doctor"), "AWS_ACCESS_KEY_ID": ACCESS_KEY}
    found = blob_store(tmp_path, **bucket, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    assert (found["kind"], found["state"]) == ("bucket", "ready")
    assert bucket_server.objects("doctor") == [], "the trial is left"
    ended = runaudit("doctor", cwd=tmp_path, environment=bucket | {"AWS_SECRET_ACCESS_KEY": "wr0ng"})
    assert ended.returncode == 3
    assert re.search(r"Artifact store\n  kind +bucket\n  place +s3://\S+\n  state +error\n  detail .*403", ended.stdout)
    assert "wr0ng" not in ended.stdout
