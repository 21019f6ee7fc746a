"""An authority for the servers of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.outside import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority.make(folder, "localhost", "files.example.org", "127.0.0.1")
