"""The committed OpenAPI document is what the service serves, and the service does what it says."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from runaudit_service.api import openapi
from runaudit_service.api.app import create_app
from runaudit_service.store.settings import Settings
from runaudit_service.store.webhooks import EVENT_TYPES
from tests.service.clients import Api
from tests.service.live import Live, live

COMMITTED = Path(__file__).parents[3] / "openapi" / "openapi.json"
# Headers that a client acts on. Two more come with every answer, so that the document's preface tells of them.
ACTED_ON = {
    *("retry-after", "location", "etag", "www-authenticate", "idempotency-replayed", "content-disposition"),
    *("upload-offset", "upload-length", "upload-complete"),
}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def undescribed(told: dict[str, Any], response: Any) -> set[str]:
    """Headers of an answer that a client should know of, and that the operation's responses don't tell."""
    described = {name.lower() for name in told[str(response.status_code)].get("headers", {})}
    return {name.lower() for name in response.headers} & ACTED_ON - described


def operations(app: FastAPI) -> list[dict[str, Any]]:
    return [operation for item in app.openapi()["paths"].values() for operation in item.values()]


def test_the_committed_document_is_the_services(app: FastAPI) -> None:
    again = "write it again: python -m runaudit_service.api.openapi > openapi/openapi.json"
    assert COMMITTED.read_text() == openapi.text(app), again


def test_the_document_is_served_without_a_key(api: Api) -> None:
    assert api.get("/openapi.json").json() == json.loads(COMMITTED.read_text())


def test_every_operation_is_described(app: FastAPI) -> None:
    ids = [operation["operationId"] for operation in operations(app)]
    assert len(ids) == len(set(ids))
    for operation in operations(app):
        assert operation["tags"] and operation["summary"] and operation["description"], operation["operationId"]


def test_every_error_is_a_problem(app: FastAPI) -> None:
    for operation in operations(app):
        for status, response in operation["responses"].items():
            if status >= "400":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"
                schema = response["content"][media_type]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (operation["operationId"], status)


def test_every_error_has_codes_with_an_example_each_and_the_page_of_errors_knows_them(app: FastAPI) -> None:
    page = (COMMITTED.parents[1] / "docs" / "errors.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE))
    examples = app.openapi()["components"]["examples"]
    told = set()
    for operation in operations(app):
        for status, response in operation["responses"].items():
            if status >= "400":
                codes = response["content"]["application/problem+json"]["examples"]
                assert codes, (operation["operationId"], status)
                for code, reference in codes.items():
                    assert reference == {"$ref": f"#/components/examples/{code}"}
                    value = examples[code]["value"]
                    assert (value["code"], value["status"]) == (code, int(status)), operation["operationId"]
                told |= set(codes)
    assert told == set(examples)
    # An audit that failed without a report answers by its own code, as 409.
    assert {code: str(value["value"]["status"]) for code, value in examples.items() if code != "run_not_found"} == {
        code: status for code, status in documented.items() if code in told and code != "run_not_found"
    }


def bodies(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that is sent, answered with 2xx, or told to a webhook, with a name for it."""
    for operation in (*operations(app), *(one["post"] for one in app.openapi()["webhooks"].values())):
        for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{operation['operationId']}: {media_type}", body
        for status, response in operation["responses"].items():
            for media_type, body in response.get("content", {}).items():
                if status < "400":
                    yield f"{operation['operationId']} {status}: {media_type}", body


def test_every_example_of_a_schema_fits_it(app: FastAPI) -> None:
    components = app.openapi()["components"]
    for name, schema in components["schemas"].items():
        validator = Draft202012Validator(schema | {"components": components})
        for example in schema.get("examples", ()):
            assert [error.message for error in validator.iter_errors(example)] == [], name


def test_every_body_has_an_example_that_fits_its_schema(app: FastAPI) -> None:
    document = app.openapi()
    for name, body in bodies(app):
        schema = body.get("schema", {})
        named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
        examples = [body["example"]] if "example" in body else [*body.get("examples", ()), *named.get("examples", ())]
        assert examples, f"{name} has no example: see runaudit_service.api.openapi_examples"
        validator = Draft202012Validator(schema | {"components": document["components"]})
        for example in examples:
            assert [error.message for error in validator.iter_errors(example)] == [], name


def test_every_reference_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    names = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()


@pytest.fixture(scope="module")
def running(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(postgres_url, valkey_url, tmp_path_factory.mktemp("live")) as api:
        # Something for the generated requests to find.
        httpx.post(f"{api.url}/v1/audits", files={"artifact": ("run.zip", b"run")}, headers=api.headers)
        yield api


def operation_labels() -> list[str]:
    paths = json.loads(COMMITTED.read_text())["paths"]
    return [f"{method.upper()} {path}" for path, item in paths.items() for method in item]


def test_headers_that_clients_act_on_are_described(api: Api, settings: Settings, runner: asyncio.Runner) -> None:
    """Those of answers that generated requests don't get."""

    def told(operation: str) -> dict[str, Any]:
        (found,) = (one["responses"] for one in operations(api.app) if one["operationId"] == operation)
        return dict(found)

    key = {"Idempotency-Key": "described"}
    audit = api.post("/v1/audits", files={"artifact": ("run.zip", b"described")}, headers=key)
    again = api.post("/v1/audits", files={"artifact": ("run.zip", b"described")}, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    place = audit.headers["Location"]
    known = {"If-None-Match": audit.headers["ETag"]}
    generic = {"artifact_url": "https://files.example.org/described.zip"}
    upload = api.post("/v1/uploads", json={"length": 4})
    piece = {"headers": {"Upload-Offset": "2"}, "content": b"xx"}
    exhausted = Api(create_app(settings.model_copy(update={"requests_per_minute": 1})), runner, None)
    exhausted.http.headers = api.http.headers
    exhausted.get(place)
    for operation, status, response in (
        ("create_audit", 202, audit),
        ("create_audit", 202, again),
        ("get_audit", 200, api.get(place)),
        ("get_audit", 304, api.get(place, headers=known)),
        ("get_audit", 401, api.with_key(None).get(place)),
        ("get_audit", 429, exhausted.get(place)),
        ("change_audit", 200, api.request("PATCH", place, json={"run_name": "x"})),
        ("rerun_audit", 202, api.post(f"{place}/rerun")),
        ("receive_event", 202, api.post("/v1/hooks/generic", json=generic, headers={"Idempotency-Key": "e"})),
        ("receive_event", 202, api.post("/v1/hooks/generic", json=generic, headers={"Idempotency-Key": "e"})),
        ("create_upload", 201, upload),
        ("append_to_upload", 409, api.request("PATCH", upload.headers["Location"], **piece)),
        ("get_upload_offset", 200, api.request("HEAD", upload.headers["Location"])),
        ("has_artifact", 200, api.request("HEAD", f"/v1/artifacts/{hashlib.sha256(b'described').hexdigest()}")),
    ):
        assert response.status_code == status, (operation, response.text)
        assert not undescribed(told(operation), response), operation
    away = Api(create_app(settings.model_copy(update={"broker_url": "redis://127.0.0.1:1"})), runner, None)
    assert not undescribed(told("get_readiness"), away.get("/readyz"))
    preface = api.app.openapi()["info"]["description"]
    assert all(f"`{name}`" in preface for name in ("RateLimit", "RateLimit-Policy", "X-Request-ID"))


@pytest.mark.slow  # some hundred generated requests, good and bad, over sockets
@pytest.mark.parametrize("label", operation_labels())
def test_the_service_does_what_the_document_says(running: Live, label: str) -> None:
    document = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    method, path = label.split()
    operation = document[path][method]
    told = json.loads(COMMITTED.read_text())["paths"][path][method.lower()]["responses"]

    @given(operation.as_strategy())
    @hypothesis_settings(
        max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def call(case: schemathesis.Case) -> None:
        response = case.call_and_validate(headers=running.headers, checks=CHECKS)
        assert not undescribed(told, response)
        if response.status_code >= 400 and method != "HEAD":
            problem = response.json()
            assert problem["code"] in told[str(response.status_code)]["content"]["application/problem+json"]["examples"]

    call()


def test_links_lead_to_operations_that_take_the_id(app: FastAPI) -> None:
    known = {operation["operationId"]: operation for operation in operations(app)}
    links = [
        link
        for one in known.values()
        for answer in one["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    for link in links:
        (parameter,) = link["parameters"]
        assert parameter in {one["name"] for one in known[link["operationId"]]["parameters"]}
    assert {"get_audit", "rotate_key", "change_project", "append_to_upload", "ping_webhook"} <= {
        link["operationId"] for link in links
    }


def test_every_event_that_is_sent_is_described(app: FastAPI) -> None:
    described = app.openapi()["webhooks"]
    assert set(described) == set(EVENT_TYPES)
    for event, item in described.items():
        schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"]["type"] == {"const": event}


@pytest.mark.slow  # sequences of calls over sockets
def test_sequences_of_calls_end_in_no_server_error(running: Live) -> None:
    """From a POST along the document's links to the calls that take its id."""
    document = schemathesis.openapi.from_url(f"{running.url}/openapi.json")

    class Sequences(document.exclude(path_regex="/events$").as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"headers": running.headers}

        def validate_response(self, response: Any, case: schemathesis.Case, **_: Any) -> None:
            case.validate_response(response, checks=[not_a_server_error], headers=running.headers)

    Sequences.run(
        settings=hypothesis_settings(
            max_examples=4,
            stateful_step_count=6,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
    )
