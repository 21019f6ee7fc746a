"""Examples for the OpenAPI document: of each body that has none of its own, and of the problems of each call.

The problems are by operation, with their codes: a client that wants to tell them apart finds here which there are.
"""

from __future__ import annotations

import json
from typing import Any, Final

from runaudit_service.api.errors import PROBLEM_TYPE
from runaudit_service.api.webhooks.schemas import WEBHOOK_EXAMPLE

JSON_TYPE: Final = "application/json"
_AUDIT: Final = "019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10"
_BASELINE: Final = "019abf1c-20aa-7d0f-9d7e-51c7a4f3e0d2"
_WEBHOOK: Final = WEBHOOK_EXAMPLE["id"]
_MOMENT: Final = "2026-11-24T08:15:00.000000Z"

# code: (status, a detail as it may come)
PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "malformed_body": (400, "The body is no JSON: EOF while parsing an object at line 1 column 1."),
    "multipart_malformed": (400, "The multipart body ends before its last boundary."),
    "unauthenticated": (401, "This API key is unknown, revoked or expired."),
    "signature_invalid": (401, "The signature is none of this project's secret."),
    "insufficient_scope": (403, "This call needs a key with the scope audits:write."),
    "artifact_not_found": (404, "There is no artifact with this digest."),
    "audit_not_found": (404, f"There is no audit {_AUDIT}."),
    "delivery_not_found": (404, "There is no delivery with this id."),
    "figure_not_found": (404, "The report has no figure 'losses.png'."),
    "key_not_found": (404, "There is no key with this id."),
    "project_not_found": (404, "There is no project 'road-signs'."),
    "upload_not_found": (404, "There is no upload with this id."),
    "webhook_not_found": (404, "There is no webhook with this id."),
    "not_acceptable": (406, "Reports are given as application/json, text/html, text/markdown."),
    "report_format_unknown": (406, "There is no format 'pdf'; there are json, html, markdown, junit, sarif."),
    "body_timed_out": (408, "Nothing of the body came for 30 s."),
    "audit_already_ended": (409, "The audit has ended already: it is succeeded."),
    "audit_not_ended": (409, "There is no report yet: the audit has not ended."),
    "audit_running": (409, "The audit is running. Cancel it first."),
    "cancelled": (409, "There is no report: the audit was cancelled."),
    "run_not_found": (409, "There is no report: the audit failed. The archive holds no run folder."),
    "delivery_being_sent": (409, "The delivery is being sent at this moment."),
    "idempotency_key_in_flight": (409, "The first request with this Idempotency-Key has not been answered yet."),
    "key_not_active": (409, "The key is revoked or expired. Make a new one."),
    "last_admin_key": (409, "It is the last key with the scope admin. Make another one first."),
    "project_exists": (409, "There is a project 'road-signs' already."),
    "report_missing": (409, f"Audit {_AUDIT} has no report: only audits that succeeded are compared."),
    "too_many_keys": (409, "There are 1000 keys already. Revoke some."),
    "too_many_projects": (409, "There are 1000 projects already."),
    "too_many_webhooks": (409, "There are 100 webhooks already. Delete some."),
    "upload_busy": (409, "Another request writes to this upload. Ask for its offset in a few seconds."),
    "upload_incomplete": (409, "The upload is not complete: 1048576 bytes are missing."),
    "upload_offset_mismatch": (409, "The upload stands at 524288, not at 0."),
    "webhook_disabled": (409, 'The webhook is disabled. Enable it first: PATCH it with {"enabled": true}.'),
    "version_outdated": (412, "The audit is of another version than If-Match names."),
    "artifact_too_large": (413, "An artifact may have 21474836480 bytes at most."),
    "body_too_large": (413, "The JSON of a request may have 1048576 bytes at most."),
    "upload_too_long": (413, "The upload was announced with 1048576 bytes, and more came."),
    "unsupported_media_type": (415, "Send application/json."),
    "address_not_allowed": (422, "This URL leads to an address that is not public."),
    "artifact_ambiguous": (422, "Name one source of the run."),
    "artifact_empty": (422, "The part artifact is empty."),
    "artifact_missing": (422, "Send the run as the file part artifact, or name it."),
    "baseline_not_found": (422, "The baseline is no audit that succeeded."),
    "data_ambiguous": (422, "Name one source of the data."),
    "data_path_not_allowed": (422, "The path is not below the data roots."),
    "data_path_not_found": (422, "There is no folder and no data.yaml at this path."),
    "idempotency_key_invalid": (422, "An Idempotency-Key has 1 to 255 visible ASCII characters."),
    "idempotency_key_reused": (422, "This Idempotency-Key was used with another request."),
    "invalid_request": (422, "/depth: Input should be 'curves', 'standard' or 'deep'"),
    "last_event_id_invalid": (422, "Last-Event-ID is the id of an event of this stream, a number."),
    "model_version_without_run": (422, "The model version names no run, and no artifacts of one."),
    "multipart_duplicate_part": (422, "The part artifact may come once."),
    "multipart_unknown_part": (422, "There is no part 'run'; the parts are artifact, data and request."),
    "page_token_invalid": (422, "The page token is damaged. Begin again without one."),
    "source_not_configured": (422, "This service fetches nothing from s3://."),
    "too_many_labels": (422, "An audit has at most 32 labels."),
    "upload_digest_mismatch": (422, "The bytes have another SHA-256 than was announced."),
    "url_not_allowed": (422, "Only URLs of https are used here."),
    "queued_audits_quota": (429, "10000 audits of this tenant wait already."),
    "rate_limited": (429, "This tenant has made its 60000 requests of a minute."),
    "too_many_streams": (429, "This key holds 64 streams open already. Close one, or poll with If-None-Match."),
    "database_unavailable": (503, "The database does not answer. Try again in a few seconds."),
    "not_ready": (503, "Not ready: broker."),
    "storage_full": (507, "There is no room left for artifacts."),
    "storage_quota": (507, "The tenant's artifacts would take more room than it may use."),
}
# What any call with this status may answer.
_COMMON: Final = (
    *("malformed_body", "unauthenticated", "insufficient_scope", "body_timed_out", "body_too_large"),
    *("unsupported_media_type", "invalid_request", "rate_limited", "database_unavailable"),
    *("storage_full", "storage_quota"),
)
_REPORT: Final = ("audit_not_found", "audit_not_ended", "cancelled", "run_not_found")
_SOURCES: Final = (
    *("artifact_not_found", "project_not_found", "upload_not_found", "idempotency_key_in_flight", "upload_incomplete"),
    *("artifact_too_large", "artifact_missing", "artifact_ambiguous", "data_ambiguous", "data_path_not_allowed"),
    *("data_path_not_found", "url_not_allowed", "address_not_allowed", "source_not_configured"),
    *("baseline_not_found", "idempotency_key_invalid", "idempotency_key_reused", "queued_audits_quota"),
)
# Beside the common ones; of a status that a call does not have, nothing is told.
_OF_CALLS: Final[dict[str, tuple[str, ...]]] = {
    "list_audits": ("page_token_invalid",),
    "create_audit": (
        *_SOURCES,
        *("multipart_malformed", "multipart_duplicate_part", "multipart_unknown_part", "artifact_empty"),
    ),
    "get_audit": ("audit_not_found",),
    "delete_audit": ("audit_not_found", "audit_running"),
    "change_audit": ("audit_not_found", "version_outdated", "too_many_labels"),
    "cancel_audit": ("audit_not_found", "audit_already_ended"),
    "rerun_audit": ("audit_not_found", "queued_audits_quota"),
    "follow_audit": ("audit_not_found", "last_event_id_invalid", "too_many_streams"),
    "get_audit_report": (*_REPORT, "report_format_unknown", "not_acceptable"),
    "get_audit_figure": (*_REPORT, "figure_not_found"),
    "compare_audits": ("audit_not_found", "report_missing"),
    "create_upload": ("artifact_too_large",),
    "get_upload_offset": ("upload_not_found",),
    "append_to_upload": (
        *("upload_not_found", "upload_offset_mismatch", "upload_busy", "upload_too_long", "upload_digest_mismatch"),
    ),
    "has_artifact": ("artifact_not_found",),
    "create_key": ("too_many_keys",),
    "rotate_key": ("key_not_found", "key_not_active"),
    "revoke_key": ("key_not_found", "last_admin_key"),
    "create_project": ("project_exists", "too_many_projects"),
    "change_project": ("project_not_found", "project_exists"),
    "rotate_project_secret": ("project_not_found",),
    "receive_mlflow": (
        *("signature_invalid", "model_version_without_run", "source_not_configured", "queued_audits_quota"),
    ),
    "receive_event": _SOURCES,
    "create_webhook": ("project_not_found", "too_many_webhooks", "url_not_allowed"),
    "change_webhook": ("webhook_not_found", "project_not_found", "url_not_allowed"),
    "delete_webhook": ("webhook_not_found",),
    "ping_webhook": ("webhook_not_found", "webhook_disabled"),
    "rotate_webhook_secret": ("webhook_not_found",),
    "list_webhook_deliveries": ("webhook_not_found", "page_token_invalid"),
    "redeliver": ("webhook_not_found", "delivery_not_found", "delivery_being_sent", "webhook_disabled"),
    "redeliver_since": ("webhook_not_found", "webhook_disabled"),
    "list_callback_deliveries": ("audit_not_found",),
    "redeliver_callback": ("delivery_not_found", "delivery_being_sent"),
}
# Common ones that a call never answers with.
_NEVER: Final = {
    "receive_mlflow": {"unauthenticated"},
    "get_readiness": {"database_unavailable"},
}
_OF_READINESS: Final = ("not_ready",)

_KEY: Final[dict[str, Any]] = {
    "id": "019abf3d-90c2-7a44-8f0e-0c5d1b2e3f40",
    "name": "training pipeline",
    "scopes": ["audits:read", "audits:write"],
    "created_at": _MOMENT,
    "last_used_at": None,
    "expires_at": "2027-11-24T00:00:00.000000Z",
    "revoked_at": None,
    "previous_expires_at": None,
}
_PROJECT: Final[dict[str, Any]] = {
    "id": "019abf3d-b7e1-7c90-a2d4-9e8f7a6b5c4d",
    "name": "road-signs",
    "default_policy": {"min_map50_95": 0.5},
    "retention_days": 365,
    "created_at": _MOMENT,
}
_REPORT_BODY: Final[dict[str, Any]] = {
    "schema_version": "1",
    "verdict": "fail",
    "headline": "The learning rate made training diverge at epoch 3.",
    "run": {
        "framework": "ultralytics",
        "task": "detect",
        "status": "interrupted",
        "epochs_run": 9,
        "args": {"lr0": 1.0},
    },
    "findings": [
        {
            "rank": 1,
            "cause": "learning_rate",
            "severity": "critical",
            "title": "The learning rate is too high",
            "explanation": "The training loss rose to a hundred times its least value within three epochs.",
            "evidence": [
                {"name": "train loss at epoch 3", "value": 412.5, "threshold": 4.1, "source": "results.csv:4"},
            ],
            "impact": {"direction": "lowers", "grade": "none"},
            "remedies": [
                {"title": "Lower lr0", "why": "It is a hundred times the default.", "patch": {"lr0": 0.01}},
            ],
            "figures": ["losses.svg"],
        }
    ],
    "checks": [
        {"cause": "learning_rate", "outcome": "failed", "reason": "The loss diverged at epoch 3.", "n": 9},
        {"cause": "overfitting", "outcome": "inconclusive", "reason": "Nine epochs are too few to tell."},
    ],
    "policy": [],
    "validation": None,
    "dataset": None,
    "curves": None,
    "provenance": {"runaudit_version": "0.1.0", "not_available": {"validation": "The depth is curves."}},
}
_COMPARISON: Final[dict[str, Any]] = {
    "verdict": {"before": "fail", "after": "pass"},
    "metrics": [
        {
            "metric": "map50_95",
            "before": 0.41,
            "before_ci95": [0.38, 0.44],
            "after": 0.52,
            "after_ci95": [0.49, 0.55],
            "difference": 0.11,
            "difference_ci95": [0.068, 0.152],
            "change": "better",
        }
    ],
    "classes": [],
    "causes_gone": [
        {"cause": "learning_rate", "before": "critical", "after": None, "title": "The learning rate is too high"}
    ],
    "causes_new": [],
    "causes_changed": [],
    "arguments": [{"name": "lr0", "before": 1.0, "after": 0.01}],
    "policy": [],
    "notes": [],
}
_HOOKED: Final = {"outcome": "queued", "audit_id": _AUDIT, "detail": "Audit of version 7 of road-signs."}
_IGNORED: Final = {"outcome": "ignored", "audit_id": None, "detail": "Only new model versions are audited."}
_NEW_WEBHOOK: Final = WEBHOOK_EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
_SECRET: Final = {"signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "previous_expires_at": None}

REQUESTS: Final[dict[tuple[str, str], Any]] = {
    ("create_audit", "multipart/form-data"): {
        "artifact": "<the bytes of run.zip>",
        "request": {"run_name": "yolo11n-batch32", "labels": {"branch": "main"}},
    },
    ("append_to_upload", "application/octet-stream"): "<the bytes from Upload-Offset on>",
    ("create_key", JSON_TYPE): {"name": "training pipeline", "scopes": ["audits:read", "audits:write"]},
    ("rotate_key", JSON_TYPE): {"grace_seconds": 3600},
    ("create_project", JSON_TYPE): {"name": "road-signs", "default_policy": {"min_map50_95": 0.5}},
    ("change_project", JSON_TYPE): {"retention_days": 365},
}
"""by operation and media type"""
ANSWERS: Final[dict[tuple[str, str], Any]] = {
    ("get_audit_report", JSON_TYPE): _REPORT_BODY,
    ("get_audit_report", "text/html"): "<!doctype html><html lang=en><title>yolo11n-batch32 failed</title>...",
    ("get_audit_report", "text/markdown"): "# fail: The learning rate made training diverge at epoch 3.\n",
    ("get_audit_report", "application/xml"): '<testsuites><testsuite name="runaudit">...</testsuite></testsuites>',
    ("get_audit_report", "application/sarif+json"): '{"version": "2.1.0", "runs": [...]}',
    ("get_audit_figure", "image/svg+xml"): '<svg xmlns="http://www.w3.org/2000/svg">...</svg>',
    ("compare_audits", JSON_TYPE): _COMPARISON,
    ("list_keys", JSON_TYPE): {"items": [_KEY], "next_page_token": ""},
    ("create_key", JSON_TYPE): _KEY | {"key": "ra_..."},
    ("rotate_key", JSON_TYPE): _KEY | {"key": "ra_...", "previous_expires_at": "2026-11-24T09:15:00.000000Z"},
    ("list_projects", JSON_TYPE): {"items": [_PROJECT], "next_page_token": ""},
    ("create_project", JSON_TYPE): _PROJECT | _SECRET,
    ("change_project", JSON_TYPE): _PROJECT,
    ("rotate_project_secret", JSON_TYPE): _PROJECT | _SECRET | {"previous_expires_at": "2026-11-25T08:15:00.000000Z"},
    ("receive_mlflow", JSON_TYPE): _HOOKED,
    ("receive_event", JSON_TYPE): _HOOKED,
    ("rotate_webhook_secret", JSON_TYPE): _NEW_WEBHOOK | {"previous_secret_expires_at": "2026-11-25T08:15:00.000000Z"},
    ("redeliver_since", JSON_TYPE): {"redelivered": 12},
    ("get_liveness", JSON_TYPE): {"status": "alive"},
    ("get_readiness", JSON_TYPE): {"status": "ready"},
    ("get_metrics", "text/plain"): 'runaudit_queue_jobs{queue="gpu",state="queued"} 3.0\n',
}
"""by operation and media type, of 2xx"""
_LISTS: Final = {
    **{"list_audits": "AuditBody", "list_webhooks": "WebhookBody"},
    **dict.fromkeys(("list_webhook_deliveries", "list_callback_deliveries"), "DeliveryBody"),
}


def add_examples(document: dict[str, Any]) -> None:
    """Give every body of the document an example, and every problem its codes."""
    schemas = document["components"]["schemas"]
    schemas["NewWebhookBody"]["examples"] = [_NEW_WEBHOOK]
    for schema in schemas.values():
        if "examples" in schema:
            schema["examples"] = [_with_nulls(example, schema, schemas) for example in schema["examples"]]
    document["components"]["examples"] = {code: {"value": _problem(code)} for code in sorted(PROBLEMS)}
    for operation in (one for item in document["paths"].values() for one in item.values()):
        name = operation["operationId"]
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
            _put(body, REQUESTS.get((name, media_type)))
        for status, answer in operation["responses"].items():
            if status >= "400":
                answer["content"] = {PROBLEM_TYPE: _problems(operation, int(status), answer["content"][PROBLEM_TYPE])}
                continue
            for media_type, body in answer.get("content", {}).items():
                example = ANSWERS.get((name, media_type))
                if name in _LISTS:
                    example = {"items": schemas[_LISTS[name]]["examples"][:1], "next_page_token": ""}
                _put(body, _IGNORED if example is _HOOKED and status == "200" else example)
    audit = schemas["AuditBody"]["examples"][0]
    for event, item in document["webhooks"].items():
        (body,) = item["post"]["requestBody"]["content"].values()
        data = {"webhook_id": _WEBHOOK} if event == "ping" else _audit_at(audit, event)
        _put(body, {"type": event, "timestamp": _MOMENT, "data": data})


def codes_of(operation: dict[str, Any], status: int) -> list[str]:
    """The codes of the problems that a call answers with this status."""
    name = operation["operationId"]
    own = _OF_READINESS if name == "get_readiness" else _OF_CALLS.get(name, ())
    never = _NEVER.get(name, set())
    return [code for code in (*_COMMON, *own) if PROBLEMS[code][0] == status and code not in never]


def _problems(operation: dict[str, Any], status: int, content: dict[str, Any]) -> dict[str, Any]:
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes_of(operation, status)}
    return content | {"examples": examples}


def _problem(code: str) -> dict[str, Any]:
    status, detail = PROBLEMS[code]
    return {
        "type": f"https://runaudit.dev/problems/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "019abf3e6d5f7c1e8b1a2f6f0a3f9b11",
    }


def _audit_at(audit: dict[str, Any], event: str) -> dict[str, Any]:
    """The example audit as it is at an event."""
    state = {"audit.queued": "queued", "audit.started": "running"}.get(event, event.removeprefix("audit."))
    if state == "succeeded":
        return audit
    open_ = state in ("queued", "running")
    error = None
    if state == "failed":
        error = {
            "type": "https://runaudit.dev/problems/run_not_found",
            "title": "The input can't be read",
            "status": 422,
            "detail": "The archive holds no run folder.",
            "code": "run_not_found",
            "request_id": "019abf3e6d5f7c1e8b1a2f6f0a3f9b11",
        }
    changed = {
        "state": state,
        "verdict": None,
        "headline": None,
        "error": error,
        "progress": {"stage": state, "fraction": 0.0, "done": 0, "total": 0},
        "attempt": 0 if state == "queued" else 1,
    }
    times = {"started_at": None if state == "queued" else audit["started_at"], "ended_at": None if open_ else _MOMENT}
    return audit | changed | times


def _with_nulls(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example of a model with its nulls, which FastAPI leaves out of the document."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if isinstance(example, list):
        return [_with_nulls(one, schema.get("items", {}), schemas) for one in example]
    if not isinstance(example, dict):
        return example
    known = {
        name: _with_nulls(one, schema.get("properties", {}).get(name, {}), schemas) for name, one in example.items()
    }
    return known | {name: None for name in schema.get("required", ()) if name not in example}


def _put(body: dict[str, Any], example: Any) -> None:
    """The example, unless the body has one already; a copy, so that the document's parts are its own."""
    if example is not None and not {"example", "examples"} & set(body):
        body["example"] = json.loads(json.dumps(example))
