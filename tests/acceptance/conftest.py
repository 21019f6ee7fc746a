"""One real service for all acceptance tests, with all that `runaudit serve` starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runaudit.client import Client
from tests.acceptance.inputs import small_data
from tests.embedded.service import Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The running service."""
    with serving(tmp_path_factory.mktemp("served") / "data") as service:
        yield service


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[Client]:
    """A client of the service with all scopes."""
    credentials = served.credentials
    with Client(credentials["url"], credentials["key"]) as opened:
        yield opened


@pytest.fixture(scope="session")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set that fits the example runs."""
    return small_data(tmp_path_factory.mktemp("data") / "shapes")
