"""The service's data folder: its lock, its key, and the credentials for clients."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from runaudit_service.embedded import folder


def test_credentials_are_private_json_with_url_and_key(tmp_path: Path) -> None:
    path = folder.publish_credentials(tmp_path, "http://127.0.0.1:1", "ra_key")
    assert path == tmp_path / "credentials.json"
    assert json.loads(path.read_text()) == {"url": "http://127.0.0.1:1", "key": "ra_key"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folder.forget_credentials(tmp_path)
    folder.forget_credentials(tmp_path)
    assert not path.exists()


def test_credentials_without_a_known_key_name_none(tmp_path: Path) -> None:
    assert json.loads(folder.publish_credentials(tmp_path, "http://h", None).read_text()) == {"url": "http://h"}


def test_the_key_is_kept_privately(tmp_path: Path) -> None:
    assert folder.kept_key(tmp_path) is None
    folder.keep_key(tmp_path, "ra_key")
    assert folder.kept_key(tmp_path) == "ra_key"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_folder_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    with folder.exclusive(data_dir):
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        with pytest.raises(folder.FolderInUseError, match=f"process {os.getpid()}"), folder.exclusive(data_dir):
            pass
    with folder.exclusive(data_dir):
        pass
