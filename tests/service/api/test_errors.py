"""Every failure is a problem document with its own code, whatever part of the request or the service it is in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from runaudit_service.api.app import create_app
from runaudit_service.store import queue
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, claim, code_of

FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def part(name: str, content: bytes, file_name: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
    return b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--b--\r\n"
RUN = part("artifact", b"run", "run.zip")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (RUN, 400, "multipart_malformed"),
        (b"", 400, "multipart_malformed"),
        (b"not multipart at all", 400, "multipart_malformed"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--b\r\n" + b"X: y\r\n" * 20 + b"\r\nx\r\n" + END, 400, "multipart_malformed"),
        (b"--b\r\nX: " + b"y" * 10_000 + b"\r\n\r\nx\r\n" + END, 400, "multipart_malformed"),
        (RUN + RUN + END, 422, "multipart_duplicate_part"),
        (part("request", b"{}") + part("request", b"{}") + RUN + END, 422, "multipart_duplicate_part"),
        (RUN + part("surprise", b"x") + END, 422, "multipart_unknown_part"),
        (part("artifact", b"", "run.zip") + END, 422, "artifact_empty"),
        (RUN + part("data", b"", "data.zip") + END, 422, "artifact_empty"),
        (part("data", b"x", "data.zip") + END, 422, "artifact_missing"),
        (END, 422, "artifact_missing"),
        (RUN + part("request", b'{"artifact_sha256": "%s"}' % (b"0" * 64)) + END, 422, "artifact_ambiguous"),
        (RUN + part("data", b"x", "d") + part("request", b'{"data": {"path": "x"}}') + END, 422, "data_ambiguous"),
        (RUN + part("request", b"{") + END, 400, "malformed_body"),
        (RUN + part("request", b"[]") + END, 422, "invalid_request"),
        (RUN + part("request", b"[" * 100_000) + END, 400, "malformed_body"),
        (RUN + part("request", b" " * (1 << 20) + b"{}") + END, 413, "body_too_large"),
        (part("artifact", b"x" * ((1 << 20) + 1), "run.zip") + END, 413, "artifact_too_large"),
    ],
)
def test_a_wrong_form_is_told(api: Api, settings: Settings, body: bytes, status: int, code: str) -> None:
    response = api.post("/v1/audits", content=body, headers=FORM)
    assert (response.status_code, code_of(response)) == (status, code)
    assert files_below(settings.blob_dir) == []


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_artifact_of_exactly_the_limit_is_taken(api: Api) -> None:
    assert api.submit(b"x" * (1 << 20)).status_code == 202


def test_what_follows_the_last_boundary_is_ignored(api: Api) -> None:
    assert api.post("/v1/audits", content=b"preamble\r\n" + RUN + END + b"epilogue", headers=FORM).status_code in (
        202,
        400,
    )
    assert api.post("/v1/audits", content=RUN + END + b"epilogue", headers=FORM).status_code == 202


def test_any_cut_of_the_stream_gives_the_same(api: Api) -> None:
    body = part("request", b'{"run_name": "cut"}') + part("artifact", bytes(range(256)) + b"\r\n--", "r") + END

    async def in_pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    digests = set()
    for size in (1, 2, 3, 7, 50, 1000):
        response = api.post("/v1/audits", content=in_pieces(size), headers=FORM)
        assert response.json()["run_name"] == "cut"
        digests.add(response.json()["artifacts"][0]["sha256"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("text/plain", 415, "unsupported_media_type"),
        ("", 415, "unsupported_media_type"),
        ("multipart/form-data", 415, "unsupported_media_type"),
        ("multipart/form-data; boundary=" + "b" * 300, 400, "multipart_malformed"),
        ("application/json", 400, "malformed_body"),
    ],
)
def test_a_body_of_the_wrong_type_is_told(api: Api, kind: str, status: int, code: str) -> None:
    response = api.post("/v1/audits", content=b"x", headers={"Content-Type": kind} if kind else {})
    assert (response.status_code, code_of(response)) == (status, code)


def test_json_has_a_limit(api: Api) -> None:
    response = api.post("/v1/keys", content=b" " * (1 << 21), headers={"Content-Type": "application/json"})
    assert (response.status_code, code_of(response)) == (413, "body_too_large")


def test_an_unknown_path_and_method(api: Api) -> None:
    assert code_of(api.get("/v1/nothing")) == "not_found"
    response = api.request("PUT", "/v1/audits")
    assert (response.status_code, code_of(response)) == (405, "method_not_allowed")
    assert response.headers["Allow"]


def test_the_request_id_is_in_the_answer(api: Api) -> None:
    own = api.get("/v1/nothing", headers={"X-Request-ID": "train-7.a"})
    assert own.json()["request_id"] == own.headers["X-Request-ID"] == "train-7.a"
    for strange in ("a b", "x" * 65, "a\tb"):
        response = api.get("/v1/nothing", headers={"X-Request-ID": strange})
        assert re.fullmatch(r"[0-9a-f]{32}", response.json()["request_id"])


def test_an_unexpected_failure_tells_nothing_of_the_inside(api: Api, engine: Engine) -> None:
    """A stored report that is none: no worker of ours writes it, and so nothing expects it."""
    audit_id = api.submit().json()["id"]
    queue.succeed(engine, claim(engine, audit_id), queue.Result("pass", "", [], None, "1", '{"secret": 1}'))
    place = f"/v1/audits/{audit_id}/report?format=markdown"
    response = api.get(place, headers={"X-Request-ID": "this-one"})
    assert (response.status_code, code_of(response)) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.json()["request_id"] == response.headers["X-Request-ID"] == "this-one"


def test_a_database_that_is_away(settings: Settings, runner: asyncio.Runner) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"})
    with Api(create_app(away), runner, "ra_" + "0" * 12 + "_" + "0" * 49) as api:
        for method, path in (("GET", "/v1/audits"), ("GET", "/metrics")):
            response = api.request(method, path)
            assert (response.status_code, code_of(response)) == (503, "database_unavailable")
            assert int(response.headers["Retry-After"]) > 0
        assert api.get("/healthz").status_code == 200


def test_answers_are_not_kept_by_caches(api: Api) -> None:
    response = api.get("/v1/projects")
    assert response.headers["Cache-Control"] == "no-store, private"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
