"""The settings as JSON, with secrets masked, and whether the artifact store works.

A process of its own, so that the command line needs no service extra.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from pydantic import ValidationError

from runaudit_service.store.blobs import BlobStoreError, open_blobs
from runaudit_service.store.settings import Settings, mistakes

PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):[^/\s]*@")
PASSWORD_IN_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password=)[^&\s]*")
"""libpq and redis take one there too"""


def masked(text: str) -> str:
    """`text` without the password of any URL in it. A password may hold `@`: all up to the last one is taken."""
    return PASSWORD_IN_QUERY.sub(r"\1***", PASSWORD_IN_URL.sub(r"\1:***@", text))


def listing() -> list[dict[str, Any]]:
    """Each setting: `variable`, `value` and `default` as text, whether it `is_set`, and its `description`.

    Raises ValidationError if the environment's values are not valid.
    """
    current = Settings()
    prefix = str(Settings.model_config.get("env_prefix", ""))
    return [
        {
            "variable": f"{prefix}{name}".upper(),
            "value": _shown(getattr(current, name)),
            "default": _shown(field.default),
            "is_set": name in current.model_fields_set,
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: Any) -> str:
    """A setting's value for a person; what is not set is empty, whatever type it would have."""
    return "" if value is None else masked(str(value))


def blob_store() -> dict[str, str]:
    """`kind` (folder or bucket), `place`, and `state`: `ready` or `error`, with a `detail`."""
    settings = Settings()
    bucket = settings.bucket
    known = (
        {"kind": "folder", "place": str(settings.blob_dir)}
        if bucket is None
        else {"kind": "bucket", "place": settings.blob_url}
    )
    try:
        open_blobs(settings).check()
    except (BlobStoreError, OSError) as error:
        return known | {"state": "error", "detail": str(error.__cause__ or error)}
    return known | {"state": "ready", "detail": "it can be read and written"}


def main() -> None:
    try:
        answer: dict[str, Any] = {"settings": listing(), "blob_store": blob_store()}
    except ValidationError as error:
        answer = {"errors": mistakes(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
