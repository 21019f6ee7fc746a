"""Settings that would quietly do something else than they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runaudit_service.store.settings import Settings


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "https://store.example/", "file://host/path"])
def test_blobs_are_kept_in_a_folder_and_nowhere_else(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a folder"):
        Settings(blob_url=url)


@pytest.mark.parametrize("url", ["/var/blobs", "file:///var/blobs"])
def test_a_folder_of_blobs(url: str) -> None:
    configured = Settings(blob_url=url)
    assert configured.blob_dir == Path("/var/blobs")
    assert configured.staging_dir == Path("/var/blobs/uploads")
    assert Settings(blob_url=url, upload_dir=Path("/fast")).staging_dir == Path("/fast")
