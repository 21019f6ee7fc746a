"""Settings that would quietly do something else than they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from runaudit_service.store.bucket_address import BucketAddress, BucketKey
from runaudit_service.store.settings import Settings, mistakes


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "https://store.example/", "file://host/path"])
def test_blobs_are_kept_in_a_folder_or_a_bucket_and_nowhere_else(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a folder"):
        Settings(blob_url=url)


def test_a_bucket_of_blobs(tmp_path: Path) -> None:
    url = "s3://runs-1/audits/blobs/?endpoint=https://minio.example:9000/&region=eu-central-1"
    configured = Settings(blob_url=url, data_dir=tmp_path)
    assert configured.bucket == BucketAddress("runs-1", "audits/blobs", "https://minio.example:9000", "eu-central-1")
    assert (configured.blob_dir, configured.blob_cache) == (tmp_path / "blobs", tmp_path / "copies")
    assert configured.bucket_key is None, "AWS' own variables"
    assert Settings(blob_url="s3://runs").bucket == BucketAddress("runs", "", "", "us-east-1")
    secret = SecretStr("swordfish")
    with_key = Settings(blob_url="s3://runs", blob_access_key="AKID", blob_secret_key=secret)
    assert with_key.bucket_key == BucketKey("AKID", "swordfish")
    assert "swordfish" not in f"{with_key!r} {with_key.bucket_key!r}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://", "must be s3://bucket/prefix"),
        ("s3://AKID:swordfish@bucket/prefix", "keys are named elsewhere"),
        ("s3://bucket/a/../b", "the prefix"),
        ("s3://bucket/a b", "the prefix"),
        ("s3://bucket/a#b", "must be s3://bucket/prefix"),
        ("s3://bucket/a?secret_key=swordfish", "only"),
        ("s3://bucket/a?region=", "the region"),
        ("s3://bucket/a?endpoint=ftp://host", "the endpoint"),
        ("s3://bucket/a?endpoint=https://AKID:swordfish@host", "the endpoint"),
        ("s3://bucket/a?endpoint=https://host/path", "the endpoint"),
        ("s3://bucket/a?endpoint=https://host:port", "the endpoint"),
    ],
)
def test_a_bucket_that_is_not_understood(url: str, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(blob_url=url)
    (sentence,) = mistakes(raised.value)
    assert told in sentence
    assert "swordfish" not in sentence


@pytest.mark.parametrize("url", ["/var/blobs", "file:///var/blobs"])
def test_a_folder_of_blobs(url: str) -> None:
    configured = Settings(blob_url=url)
    assert configured.blob_dir == Path("/var/blobs")
    assert configured.staging_dir == Path("/var/blobs/uploads")
    assert Settings(blob_url=url, upload_dir=Path("/fast")).staging_dir == Path("/fast")


def test_a_secret_may_lie_in_a_file_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://a:b@c/d\n")
    (tmp_path / "token").write_text(" of MLflow \r\n")
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL", "")
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("RUNAUDIT_MLFLOW_TRACKING_TOKEN_FILE", str(tmp_path / "token"))
    configured = Settings()
    assert configured.database_url == "postgresql://a:b@c/d"
    assert configured.mlflow_tracking_token is not None
    assert configured.mlflow_tracking_token.get_secret_value() == " of MLflow "
    monkeypatch.setenv("RUNAUDIT_DATABASE_URL", "postgresql://given")
    assert Settings().database_url == "postgresql://given"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_secret_that_can_not_be_read_is_told_by_its_variable(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    monkeypatch.setenv("RUNAUDIT_BROKER_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(ValidationError) as raised:
        Settings()
    (sentence,) = mistakes(raised.value)
    assert sentence.startswith("RUNAUDIT_BROKER_URL_FILE: the file can't be read")
