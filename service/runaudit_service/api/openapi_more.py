"""What the OpenAPI document tells beside calls and bodies: which calls an answer leads to, and the webhooks we send."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from runaudit_service.api.errors import responses
from runaudit_service.store.webhooks import EVENT_TYPES

# Calls whose answer has an `id`, and the path parameter that takes it.
_MAKERS: Final = {
    "create_audit": "audit_id",
    "rerun_audit": "audit_id",
    "create_upload": "upload_id",
    "create_key": "key_id",
    "create_project": "project_id",
    "create_webhook": "webhook_id",
}
_SIGNATURE: Final = [
    ("webhook-id", "the same for all attempts at one message: tells repeats apart"),
    ("webhook-timestamp", "seconds since 1970 of this attempt; refuse what is older than five minutes"),
    (
        "webhook-signature",
        "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; two for a day after a rotation",
    ),
]
_TOLD: Final = {
    "audit.queued": "An audit was handed in, or waits again.",
    "audit.started": "A worker began with an audit.",
    "audit.succeeded": "An audit ended with a report; its verdict is in `data.verdict`.",
    "audit.failed": "An audit ended without a report; `data.error` says why.",
    "audit.cancelled": "An audit was cancelled.",
    "ping": "Someone asked whether the endpoint answers.",
}


def add_links(document: dict[str, Any]) -> None:
    """Say which calls take the id that a call has just answered (OpenAPI links, for people and for fuzzers)."""
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for operation in operations:
        parameter = _MAKERS.get(operation["operationId"])
        if parameter is None:
            continue
        links = {
            f"{taker['operationId']}_of_it": {
                "operationId": taker["operationId"],
                "parameters": {parameter: "$response.body#/id"},
            }
            for taker in operations
            if _ids(taker) == [parameter]
        }
        for status, answer in operation["responses"].items():
            if status in ("200", "201", "202"):
                answer["links"] = links


def add_body_problems(document: dict[str, Any]) -> None:
    """Whatever reads a body may be sent too much of it, or nothing more of it for too long."""
    told = responses(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    for operation in (operation for item in document["paths"].values() for operation in item.values()):
        if "requestBody" in operation:
            known = {str(status): dict(answer) for status, answer in told.items()} | operation["responses"]
            operation["responses"] = dict(sorted(known.items()))


def add_webhooks(document: dict[str, Any]) -> None:
    """Describe the events that endpoints and callbacks are told of."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
        for name, said in _SIGNATURE
    ]
    document["webhooks"] = {
        event: {
            "post": {
                "operationId": f"told_of_{event.replace('.', '_')}",
                "tags": ["webhooks"],
                "summary": _TOLD[event],
                "description": "Signed by the Standard Webhooks specification with the endpoint's secret, or the "
                "project's for a `callback_url`. Anything but 2xx is tried again, for three days.",
                "parameters": headers,
                "requestBody": {"required": True, "content": {"application/json": {"schema": _event(event)}}},
                "responses": {
                    "2XX": {"description": "Taken"},
                    "410": {"description": "The endpoint is gone, and is disabled"},
                },
            }
        }
        for event in EVENT_TYPES
    }


def _event(event: str) -> dict[str, Any]:
    data = {"type": "object"} if event == "ping" else {"$ref": "#/components/schemas/AuditBody"}
    return {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": event},
            "timestamp": {"type": "string", "format": "date-time", "description": "when it happened"},
            "data": data,
        },
    }


def _ids(operation: dict[str, Any]) -> list[str]:
    return [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
