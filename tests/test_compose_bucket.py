"""docker-compose.bucket.yml: whoever touches artifacts gets the bucket, and nobody else its secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from runaudit_service.store.settings import Settings

ROOT = Path(__file__).parents[1]
BASE, BUCKET = (
    yaml.safe_load((ROOT / name).read_text()) for name in ("docker-compose.yml", "docker-compose.bucket.yml")
)


def test_each_part_that_has_the_volume_of_artifacts_gets_the_bucket() -> None:
    mount = re.compile(r"blobs:/data")
    parts = {name for name, service in BASE["services"].items() if any(map(mount.match, service.get("volumes", [])))}
    assert set(BUCKET["services"]) == parts


@pytest.mark.parametrize("name", BUCKET["services"])
def test_the_settings_can_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("swordfish\n")
    service = BUCKET["services"][name]
    given = {
        "RUNAUDIT_BLOB_URL": "s3://runs/blobs?endpoint=https://minio.example:9000",
        "RUNAUDIT_BLOB_ACCESS_KEY": "AKID",
        "RUNAUDIT_BLOB_SECRET_KEY_FILE": str(tmp_path / "secret"),
    }
    assert given.keys() <= service["environment"].keys()
    for variable, value in (BASE["services"][name]["environment"] | service["environment"] | given).items():
        if not str(value).startswith(("/run/secrets/", "${")):
            monkeypatch.setenv(variable, str(value))
    configured = Settings()
    assert configured.bucket is not None and configured.bucket.bucket == "runs"
    assert configured.bucket_key is not None and configured.bucket_key.secret_key == "swordfish"
    if name in {"worker-cpu", "worker-gpu"}:
        assert configured.blob_cache.is_relative_to("/jobs"), "a worker's other folders are read-only"


def test_the_secret_is_a_file_and_the_network_not_made_here() -> None:
    assert set(BUCKET["secrets"]) == {"blob_secret_key"}
    assert "/secrets/" in BUCKET["secrets"]["blob_secret_key"]["file"]
    assert all(service["secrets"] == ["blob_secret_key"] for service in BUCKET["services"].values())
    assert BUCKET["networks"]["bucket"]["external"] is True
