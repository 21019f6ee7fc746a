"""From the messages of other systems to requests for audits: pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue, ValidationError

from runaudit_service.api.audits.schemas import MAX_LABELS, AuditRequest
from runaudit_service.api.errors import InvalidRequestError, invalid_body
from runaudit_service.api.hooks.schemas import GenericEvent, ModelVersion

NAME_CHARACTERS: Final = 200
LABEL_CHARACTERS: Final = 256
_LABEL_KEY_CHARACTERS: Final = 63
# What `test_webhook` of MLflow sends, whatever the server holds (mlflow/webhooks/types.py).
_EXAMPLE: Final = ("example_model", "abcd1234abcd5678")
_NOT_OF_A_KEY: Final = re.compile(r"[^A-Za-z0-9_./-]")
_DATA_TAGS: Final = {"runaudit.data_sha256": "sha256", "runaudit.data_path": "path", "runaudit.data_url": "url"}
_DEPTH_TAG: Final = "runaudit.depth"


def is_test(version: ModelVersion) -> bool:
    """Whether this is the example that MLflow sends when a person tests a webhook."""
    return (version.name, version.run_id) == _EXAMPLE


def order_of_version(version: ModelVersion, project: str) -> AuditRequest:
    """The audit of the run behind a model version: all artifacts of that run, else what the version's source names.

    Tags that the version was created with say where its data set is (`runaudit.data_sha256`, `runaudit.data_path` or
    `runaudit.data_url`) and how deep to look (`runaudit.depth`). Raises InvalidRequestError.
    """
    source = f"runs:/{version.run_id}" if version.run_id else version.source
    if not source or source.startswith("models:"):
        raise InvalidRequestError(
            "The model version names no run, and no artifacts of one.", code="model_version_without_run", place="/data"
        )
    data = {key: version.tags[tag] for tag, key in _DATA_TAGS.items() if tag in version.tags}
    labels = {"mlflow.model": version.name, "mlflow.version": version.version, "mlflow.run": version.run_id or ""}
    return _request(
        {
            "project": project,
            "run_name": _name(f"{version.name} {version.version}"),
            "artifact_url": source,
            **({"data": data} if data else {}),
            **({"depth": version.tags[_DEPTH_TAG]} if _DEPTH_TAG in version.tags else {}),
            "labels": _labels(labels),
        }
    )


def order_of_event(event: GenericEvent) -> AuditRequest:
    """The audit that a message of any system asks for. Raises InvalidRequestError."""
    known = event.model_dump(exclude_none=True, exclude=set(event.model_extra or ()) | {"labels", "run_name"})
    others = {
        key: value
        for key, value in (event.model_extra or {}).items()
        if isinstance(value, str | int | float) and key not in event.labels
    }
    name = {"run_name": _name(event.run_name)} if event.run_name else {}
    # Labels that were meant as such come first: there is room for a number of them only.
    return _request(known | name | {"labels": _labels(event.labels | others)})


def _request(fields: Mapping[str, Any]) -> AuditRequest:
    try:
        return AuditRequest.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise invalid_body(error) from None


def _name(text: str | None) -> str | None:
    """A name of a run as it may be stored: printable, and not too long."""
    shown = _printable(text or "")[:NAME_CHARACTERS].strip()
    return shown or None


def _labels(values: Mapping[str, JsonValue]) -> dict[str, str]:
    """Labels of names and values that were made elsewhere; what a label can't hold is replaced or cut."""
    labels: dict[str, str] = {}
    for key, value in values.items():
        name = _NOT_OF_A_KEY.sub("_", key)[:_LABEL_KEY_CHARACTERS]
        text = value if isinstance(value, str) else json.dumps(value)
        if name and name not in labels and len(labels) < MAX_LABELS:
            labels[name] = _printable(text)[:LABEL_CHARACTERS]
    return labels


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
