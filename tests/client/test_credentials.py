"""Where the client finds the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runaudit.client import CredentialsError, load_credentials


def written(folder: Path, content: object) -> dict[str, str]:
    (folder / "credentials.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return {"RUNAUDIT_DATA_DIR": str(folder)}


FILE = {"url": "http://127.0.0.1:8000", "key": "ra_file"}


def test_the_environment_comes_first(tmp_path: Path) -> None:
    environment = written(tmp_path, FILE) | {"RUNAUDIT_URL": "https://audit.example", "RUNAUDIT_API_KEY": "ra_env"}
    found = load_credentials(environment)
    assert (found.url, found.key) == ("https://audit.example", "ra_env")


def test_else_the_file_that_serve_writes(tmp_path: Path) -> None:
    environment = written(tmp_path, FILE)
    found = load_credentials(environment)
    assert (found.url, found.key) == (FILE["url"], FILE["key"])
    assert found.source == str(tmp_path / "credentials.json")


def test_the_default_folder_is_dot_runaudit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".runaudit").mkdir()
    written(tmp_path / ".runaudit", FILE)
    assert load_credentials({}).key == "ra_file"


def test_a_key_may_replace_that_of_the_file(tmp_path: Path) -> None:
    found = load_credentials(written(tmp_path, FILE) | {"RUNAUDIT_API_KEY": "ra_env"})
    assert (found.url, found.key) == (FILE["url"], "ra_env")


def test_the_key_of_the_file_is_not_sent_to_another_service(tmp_path: Path) -> None:
    environment = written(tmp_path, FILE)
    with pytest.raises(CredentialsError, match="RUNAUDIT_API_KEY"):
        load_credentials(environment | {"RUNAUDIT_URL": "https://elsewhere.example"})
    assert load_credentials(environment | {"RUNAUDIT_URL": FILE["url"] + "/"}).key == "ra_file"


def test_nothing_known_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="runaudit serve") as caught:
        load_credentials({"RUNAUDIT_DATA_DIR": str(tmp_path)})
    assert caught.value.error_code == "credentials_missing"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"url": 1, "key": "k"}', '"text"'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(CredentialsError, match=r"credentials\.json") as caught:
        load_credentials(written(tmp_path, content))
    assert caught.value.error_code == "credentials_unreadable"


def test_the_key_is_not_in_the_repr(tmp_path: Path) -> None:
    assert "ra_file" not in repr(load_credentials(written(tmp_path, FILE)))
