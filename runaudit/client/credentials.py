"""Where the service is and which key opens it: the environment, else the file that `runaudit serve` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runaudit.client.errors import CredentialsError


@dataclass(frozen=True)
class Credentials:
    """The service's base URL and an API key; `source` says where they came from. The key is left out of `repr`."""

    url: str
    key: str = field(repr=False)
    source: str


def load_credentials(environment: Mapping[str, str] = os.environ) -> Credentials:
    """RUNAUDIT_URL and RUNAUDIT_API_KEY, each of them else from credentials.json of RUNAUDIT_DATA_DIR (`.runaudit`).

    A key of the file is never sent to another URL than the file's: RUNAUDIT_URL alone is an error, unless it names
    the same service.

    Raises CredentialsError, which says what to set.
    """
    url, key = environment.get("RUNAUDIT_URL", ""), environment.get("RUNAUDIT_API_KEY", "")
    if url and key:
        return Credentials(url=url, key=key, source="RUNAUDIT_URL and RUNAUDIT_API_KEY")
    path = Path(environment.get("RUNAUDIT_DATA_DIR") or ".runaudit") / "credentials.json"
    if not path.is_file():
        raise CredentialsError(
            f"set RUNAUDIT_URL and RUNAUDIT_API_KEY, or start a service with `runaudit serve` ({path} is not there)"
        )
    stored = _read(path)
    if url and url.rstrip("/") != stored.url.rstrip("/"):
        raise CredentialsError(
            f"RUNAUDIT_URL is {url}, but the key in {path} is for another service: set RUNAUDIT_API_KEY too"
        )
    return Credentials(url=stored.url, key=key or stored.key, source=stored.source)


def _read(path: Path) -> Credentials:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        url, key = content["url"], content["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CredentialsError(
            f'{path} can\'t be read: it should hold {{"url", "key"}}', code="credentials_unreadable"
        ) from error
    if not isinstance(url, str) or not isinstance(key, str):
        raise CredentialsError(f"{path}: url and key should be text", code="credentials_unreadable")
    return Credentials(url=url, key=key, source=str(path))
