"""The OpenAPI document: FastAPI's, with the schemas of the bodies that the endpoints read themselves.

`python -m runaudit_service.api.openapi > openapi/openapi.json` writes the file that is committed.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from runaudit.reports.schema import Report
from runaudit_service.api.audits.schemas import AuditRequest
from runaudit_service.api.errors import Problem
from runaudit_service.api.hooks.schemas import GenericEvent, MlflowEvent
from runaudit_service.api.keys.schemas import KeyRequest, RotationRequest
from runaudit_service.api.openapi_examples import add_examples
from runaudit_service.api.openapi_more import add_body_problems, add_links, add_webhooks
from runaudit_service.api.projects.schemas import ProjectChange, ProjectRequest
from runaudit_service.api.uploads.schemas import UploadRequest
from runaudit_service.api.webhooks.schemas import BODIES as WEBHOOK_BODIES
from runaudit_service.store.settings import Settings

# The bodies that endpoints read themselves, after the caller is known.
_BODIES: Final = (
    *(AuditRequest, KeyRequest, RotationRequest, ProjectRequest, ProjectChange, UploadRequest),
    *(GenericEvent, MlflowEvent),
)
_TAGS: Final = [
    {"name": "audits", "description": "Runs in, verdicts out."},
    {"name": "uploads", "description": "Artifacts that come in by pieces, and those that are here already."},
    {"name": "keys", "description": "API keys; they need the scope `admin`."},
    {"name": "projects", "description": "Groups of audits with a default policy."},
    {"name": "webhooks", "description": "Who is told of audits, signed, and what was delivered."},
    {"name": "hooks", "description": "What other systems tell becomes audits."},
    {"name": "health", "description": "For load balancers and Prometheus; no key needed."},
]


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` tell all that the service does."""
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None or "Problem" not in app.openapi_schema["components"]["schemas"]:
            app.openapi_tags = _TAGS
            document = _without_default_errors(plain())
            _, extra = models_json_schema(
                [(model, "validation") for model in (*_BODIES, *WEBHOOK_BODIES, Problem, Report)],
                ref_template="#/components/schemas/{model}",
            )
            document["components"]["schemas"] |= extra["$defs"]
            document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
            add_body_problems(document)
            add_links(document)
            add_webhooks(document)
            add_examples(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign] # FastAPI's documented way


def _without_default_errors(document: dict[str, Any]) -> dict[str, Any]:
    """Drop the 422 that FastAPI adds to what has any parameter: ours are problems, listed where they can happen."""
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]
    for schema in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
    return document


def text(app: FastAPI) -> str:
    """The document as it is committed: one line a value, so that changes can be read."""
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    from runaudit_service.api.app import create_app

    sys.stdout.write(text(create_app(Settings(database_url="postgresql:///runaudit"))))
