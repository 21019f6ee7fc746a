"""Audits over HTTP: taken in, told of, listed, ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from runaudit.client.retry import Retry
from runaudit.errors import RunauditError
from runaudit_service.api import errors, idempotency
from runaudit_service.store import queue
from runaudit_service.store.bell import Bell
from runaudit_service.store.models import Audit, Event, Job, Project
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, claim, code_of
from tests.service.conftest import Owner

AUDIT_KEYS = {
    "id", "project", "run_name", "state", "verdict", "headline", "progress", "created_at", "started_at", "ended_at",
    "attempt", "labels", "artifacts", "error", "rerun_of", "links",
}  # fmt: skip
REPORT: dict[str, Any] = {
    "schema_version": "1",
    "verdict": "inconclusive",
    "headline": "Nothing could be checked.",
    "run": {"framework": "ultralytics", "task": "detect", "status": "finished"},
    "findings": [],
    "checks": [],
    "policy": [],
    "validation": None,
    "dataset": None,
    "curves": None,
    "provenance": {"runaudit_version": "0"},
}


def succeed(engine: Engine, audit_id: str, **result: Any) -> None:
    """A worker audits it."""
    facts: dict[str, Any] = {
        "verdict": "inconclusive",
        "headline": REPORT["headline"],
        "causes": ["overfitting"],
        "framework": "ultralytics",
        "schema_version": "1",
        "report": json.dumps(REPORT),
    }
    assert queue.succeed(engine, claim(engine, audit_id), queue.Result(**facts | result))


def rows(engine: Engine, audit_id: str) -> tuple[Audit, list[Job], list[str]]:
    with Session(engine, expire_on_commit=False) as session:
        audit = session.get_one(Audit, uuid.UUID(audit_id))
        jobs = list(session.scalars(select(Job).where(Job.audit_id == audit.id)))
        events = session.scalars(select(Event.type).where(Event.audit_id == audit.id).order_by(Event.id))
        return audit, jobs, list(events)


def test_a_run_is_taken_in(api: Api, engine: Engine, settings: Settings) -> None:
    content = b"PK run"
    response = api.submit(content, run_name="exp", labels={"branch": "main"}, policy={"min_map50_95": 0.5})
    assert response.status_code == 202
    body = response.json()
    assert body.keys() == AUDIT_KEYS
    assert uuid.UUID(body["id"]).version == 7
    assert response.headers["Location"] == f"/v1/audits/{body['id']}" == body["links"]["self"]
    assert int(response.headers["Retry-After"]) > 0
    digest = hashlib.sha256(content).hexdigest()
    assert body["artifacts"] == [{"role": "run", "sha256": digest, "bytes": len(content)}]
    assert (body["state"], body["verdict"], body["error"], body["attempt"]) == ("queued", None, None, 0)
    assert body["progress"] == {"stage": "queued", "fraction": 0.0, "done": 0, "total": 0}
    assert body["created_at"].endswith("Z") and datetime.fromisoformat(body["created_at"])
    assert (settings.blob_dir / digest[:2] / digest).read_bytes() == content
    audit, jobs, events = rows(engine, body["id"])
    assert audit.policy == {"min_map50_95": 0.5}
    assert [(job.kind, job.queue, job.state, job.max_attempts) for job in jobs] == [("audit", "gpu", "queued", 3)]
    assert events == ["audit.queued"]


def test_curves_wait_for_no_gpu(api: Api, engine: Engine) -> None:
    _, jobs, _ = rows(engine, api.submit(depth="curves").json()["id"])
    assert [job.queue for job in jobs] == ["cpu"]


def test_the_bell_is_rung_after_the_commit(api: Api, valkey_url: str) -> None:
    bell = Bell(valkey_url)
    before = bell.waiting("cpu") or 0
    api.submit(depth="curves")
    assert bell.waiting("cpu") == before + 1
    bell.close()


@pytest.mark.parametrize("order", [("artifact", "data", "request"), ("request", "data", "artifact")])
def test_parts_may_come_in_any_order(api: Api, order: tuple[str, ...]) -> None:
    parts = {
        "artifact": ("../../run.zip", b"the run", "application/zip"),
        "data": ("data.tar", b"the data", "application/x-tar"),
        "request": (None, b'{"run_name": "ordered"}', "application/json"),
    }
    response = api.post("/v1/audits", files=[(name, parts[name]) for name in order])
    assert response.status_code == 202
    assert [artifact["role"] for artifact in response.json()["artifacts"]] == ["run", "data"]
    assert response.json()["run_name"] == "ordered"


def test_an_artifact_is_named_by_its_digest(api: Api) -> None:
    first = api.submit(b"once", run_name="first").json()
    digest = first["artifacts"][0]["sha256"]
    again = api.post("/v1/audits", json={"artifact_sha256": digest, "data": {"sha256": digest}})
    assert again.status_code == 202
    assert [artifact["sha256"] for artifact in again.json()["artifacts"]] == [digest, digest]


def test_the_same_again_is_the_earlier_audit(api: Api, engine: Engine) -> None:
    first = api.submit(b"same", policy={"min_map50": 0.1})
    again = api.submit(b"same", policy={"min_map50": 0.1})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert api.submit(b"same", policy={"min_map50": 0.2}).status_code == 202
    assert api.submit(b"same", policy={"min_map50": 0.1}, depth="curves").status_code == 202
    assert api.submit(b"same", policy={"min_map50": 0.1}, force=True).status_code == 202
    succeed(engine, first.json()["id"])
    assert api.submit(b"same", policy={"min_map50": 0.1}).status_code == 200


def test_a_failed_audit_is_done_again(api: Api, engine: Engine) -> None:
    first = api.submit(b"will fail").json()["id"]
    queue.fail(engine, claim(engine, first), {"code": "archive_unreadable", "detail": "The archive is cut off."})
    again = api.submit(b"will fail")
    assert (again.status_code, again.json()["id"] != first) == (202, True)


def test_data_is_read_by_path_below_the_roots(api: Api, tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "coco"
    folder.mkdir(parents=True)
    for written in (str(folder), "coco"):
        response = api.submit(data={"path": written})
        assert response.status_code == 202
        assert response.json()["artifacts"][1] == {"role": "data", "sha256": None, "bytes": None, "path": str(folder)}


def test_paths_outside_the_roots_are_refused_alike(api: Api, tmp_path: Path) -> None:
    inside = tmp_path / "sets"
    inside.mkdir()
    (tmp_path / "secret").mkdir()
    (inside / "link").symlink_to(tmp_path / "secret")
    details = set()
    for path in ("/etc", "/nowhere/at/all", "../secret", "link", str(inside / ".." / "secret")):
        response = api.submit(data={"path": path})
        assert code_of(response) == "data_path_not_allowed"
        details.add(response.json()["detail"])
    assert len(details) == 1
    for path in ("missing", "a" * 300, "b/" * 2000):
        assert code_of(api.submit(data={"path": path})) == "data_path_not_found", len(path)


@pytest.mark.parametrize(
    ("request_body", "status", "code"),
    [
        ({"artifact_url": "ftp://example.org/run.zip"}, 422, "url_not_allowed"),
        ({"artifact_url": "https://example.org/run.zip", "artifact_sha256": "0" * 64}, 422, "artifact_ambiguous"),
        ({"upload_id": "1"}, 404, "upload_not_found"),
        ({"artifact_sha256": "0" * 64, "data": {"url": "s3://bucket/data.zip"}}, 422, "source_not_configured"),
        ({"artifact_sha256": "0" * 64, "callback_url": "https://10.0.0.1/"}, 422, "url_not_allowed"),
        ({"artifact_sha256": "0" * 64}, 404, "artifact_not_found"),
        ({"artifact_sha256": "0" * 64, "project": "none"}, 404, "project_not_found"),
        ({}, 422, "artifact_missing"),
        ({"artifact_sha256": "xyz"}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "data": {}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "data": {"sha256": "0" * 64, "path": "x"}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "labels": {"a b": "x"}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "labels": {"a": "x" * 257}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "labels": {f"a{i}": "x" for i in range(33)}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "run_name": "a\0b"}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "environment": {"a": ["\0"]}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "environment": {"a\0": 1}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "environment": {"log": "x" * 300_000}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "policy": {"min_map50_95": 2}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "policy": {"min_class_map50_95": {"a\0": 1}}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "policy": {"unknown": 1}}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "surprise": 1}, 422, "invalid_request"),
        ({"artifact_sha256": "0" * 64, "depth": "deepest"}, 422, "invalid_request"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(api: Api, request_body: dict[str, Any], status: int, code: str) -> None:
    response = api.post("/v1/audits", json=request_body)
    assert (response.status_code, code_of(response)) == (status, code)


def test_every_mistake_has_its_pointer(api: Api) -> None:
    response = api.post("/v1/audits", json={"policy": {"min_map50_95": 2}, "labels": {"a/b": 1}, "depth": "x"})
    pointers = {error["pointer"] for error in response.json()["errors"]}
    assert pointers == {"/policy/min_map50_95", "/labels/a~1b", "/depth"}


def test_backslashes_before_u0000_are_not_nul(api: Api) -> None:
    environment = {"log": "the text \\u0000 in a log", "windows": "C:\\u0000"}
    assert api.submit(environment=environment).status_code == 202


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_numbers_that_json_lacks_are_refused(api: Api, number: bytes) -> None:
    body = b'{"artifact_sha256": "%s", "environment": {"loss": %s}}' % (b"0" * 64, number)
    response = api.post("/v1/audits", content=body, headers={"Content-Type": "application/json"})
    assert code_of(response) in ("invalid_request", "malformed_body")


def test_a_baseline_must_be_an_audit_that_succeeded(api: Api, engine: Engine) -> None:
    baseline = api.submit(b"baseline").json()["id"]
    policy = {"baseline_audit": baseline, "max_regression": 0.01}
    assert code_of(api.submit(b"new", policy=policy)) == "baseline_not_found"
    succeed(engine, baseline)
    assert api.submit(b"new", policy=policy).status_code == 202


def test_what_a_baseline_measured_reaches_the_worker_though_it_is_deleted(
    api: Api, engine: Engine, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    baseline = api.submit(b"baseline").json()["id"]
    measured = {"metrics": {"box": {"map50_95": 0.5}}, "ci95": {"map50_95": [0.45, 0.55]}}
    succeed(engine, baseline, report=json.dumps(REPORT | {"validation": measured}))
    policy = {"baseline_audit": baseline, "max_regression": 0.01}
    stranger = client_of(new_owner().key)
    assert code_of(stranger.submit(b"new", policy=policy)) == "baseline_not_found"
    audit_id = api.submit(b"new", policy=policy).json()["id"]
    assert api.delete(f"/v1/audits/{baseline}").status_code == 204
    assert code_of(api.submit(b"newer", policy=policy)) == "baseline_not_found"
    assert claim(engine, audit_id).baseline == {"map50_95": 0.5, "ci95": [0.45, 0.55]}
    assert claim(engine, api.post(f"/v1/audits/{audit_id}/rerun").json()["id"]).baseline is not None


def test_the_projects_policy_holds_without_one_of_ones_own(api: Api, owner: Owner, engine: Engine) -> None:
    with Session(engine) as session:
        session.get_one(Project, owner.project.id).default_policy = {"min_map50": 0.9}
        session.commit()
    audit, _, _ = rows(engine, api.submit().json()["id"])
    assert audit.policy == {"min_map50": 0.9}


def test_an_audit_is_told_with_an_entity_tag(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    first = api.get(f"/v1/audits/{audit_id}")
    assert (first.status_code, "Retry-After" in first.headers) == (200, True)
    tag = first.headers["ETag"]
    unchanged = api.get(f"/v1/audits/{audit_id}", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", tag)
    claimed = claim(engine, audit_id)
    queue.renew(engine, claimed, stage="validate", done=3, total=12)
    changed = api.get(f"/v1/audits/{audit_id}", headers={"If-None-Match": tag})
    assert changed.json()["progress"] == {"stage": "validate", "fraction": 0.25, "done": 3, "total": 12}
    assert changed.json()["state"] == "running"
    result = queue.Result("pass", "All is well.", [], "yolov5", "1", json.dumps(REPORT))
    queue.succeed(engine, claimed, result)
    ended = api.get(f"/v1/audits/{audit_id}")
    assert (ended.json()["verdict"], ended.json()["progress"]["fraction"]) == ("pass", 1.0)
    assert "Retry-After" not in ended.headers


def test_a_long_poll_returns_when_the_audit_ends(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    claimed = claim(engine, audit_id)
    timer = threading.Timer(0.5, lambda: queue.fail(engine, claimed, {"code": "run_not_found", "detail": "No run."}))
    timer.start()
    started = time.monotonic()
    response = api.get(f"/v1/audits/{audit_id}?wait=30")
    timer.join()
    assert 0.4 < time.monotonic() - started < 25
    assert (response.json()["state"], response.json()["error"]["code"]) == ("failed", "run_not_found")


def test_a_long_poll_ends_with_its_time(api: Api) -> None:
    audit_id = api.submit().json()["id"]
    started = time.monotonic()
    response = api.get(f"/v1/audits/{audit_id}?wait=0.6")
    assert time.monotonic() - started > 0.5
    assert (response.status_code, response.json()["state"]) == (200, "queued")


def test_waiting_holds_no_connection(api: Api, app: FastAPI, runner: asyncio.Runner, engine: Engine) -> None:
    """More long polls than the pool has connections, and the service still answers."""
    audit_id = api.submit().json()["id"]

    async def wait_and_look() -> tuple[int, int, list[int]]:
        waits = [asyncio.create_task(api.http.get(f"/v1/audits/{audit_id}?wait=20")) for _ in range(40)]
        await asyncio.sleep(1)
        held = app.state.resources.database.engine.pool.checkedout()
        answer = await asyncio.wait_for(api.http.get("/v1/projects"), 10)
        await asyncio.to_thread(succeed, engine, audit_id)
        return held, answer.status_code, [response.status_code for response in await asyncio.gather(*waits)]

    held, status, answers = runner.run(wait_and_look())
    assert held <= 1
    assert (status, set(answers)) == (200, {200})


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon"])
def test_a_wait_out_of_range_is_refused(api: Api, wait: str) -> None:
    response = api.get(f"/v1/audits/{uuid.uuid4()}?wait={wait}")
    assert (response.status_code, code_of(response)) == (422, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == "?wait"


def test_the_report_is_what_the_worker_wrote(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    place = f"/v1/audits/{audit_id}/report"
    assert code_of(api.get(place)) == "audit_not_ended"
    succeed(engine, audit_id)
    report = api.get(place)
    assert (report.headers["content-type"], report.text) == ("application/json", json.dumps(REPORT))
    assert api.get(place, headers={"Accept": "image/png, */*;q=0.1"}).headers["content-type"] == "application/json"


def test_a_failed_audit_has_its_error_for_a_report(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    queue.fail(engine, claim(engine, audit_id), {"code": "results_unreadable", "detail": "No epoch can be read."})
    response = api.get(f"/v1/audits/{audit_id}/report")
    assert (response.status_code, code_of(response)) == (409, "results_unreadable")
    assert "No epoch can be read." in response.json()["detail"]


@pytest.mark.parametrize("lost", ["failed", "given up", "reaped"])
def test_a_failed_audit_s_problem_names_the_request_that_asked_for_it(api: Api, engine: Engine, lost: str) -> None:
    """As any problem does: it is what the logs of API and worker are searched by."""
    asked = {"X-Request-ID": f"asked-{lost.replace(' ', '-')}"}
    parts = {"artifact": ("run.zip", uuid.uuid4().bytes)}
    place = api.post("/v1/audits", files=parts, headers=asked).headers["Location"]
    problem = RunauditError("The worker is no more.").problem()
    with Session(engine) as session:
        session.execute(update(Job).where(Job.audit_id == place.rpartition("/")[2]).values(max_attempts=1))
        session.commit()
    held = claim(engine, place.rpartition("/")[2])
    if lost == "failed":
        assert queue.fail(engine, held, problem)
    elif lost == "given up":
        assert queue.retry_later(engine, held, problem, 0).failed == 1
    else:
        with Session(engine) as session:
            over = update(Job).where(Job.id == held.job_id).values(lease_expires_at=datetime.now(UTC) - timedelta(1))
            session.execute(over)
            session.commit()
        assert queue.reap(engine, problem).failed == 1
    error = api.get(place).json()["error"]
    assert error == problem | {"request_id": asked["X-Request-ID"]}
    errors.Problem.model_validate(error)


def test_a_waiting_audit_is_cancelled_at_once(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    response = api.post(f"/v1/audits/{audit_id}/cancel")
    assert (response.status_code, response.json()["state"]) == (202, "cancelled")
    _, jobs, events = rows(engine, audit_id)
    assert [job.state for job in jobs] == ["cancelled"]
    assert events == ["audit.queued", "audit.cancelled"]
    assert code_of(api.post(f"/v1/audits/{audit_id}/cancel")) == "audit_already_ended"
    assert code_of(api.get(f"/v1/audits/{audit_id}/report")) == "cancelled"


def test_a_running_audit_is_cancelled_by_its_worker(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    claimed = claim(engine, audit_id)
    for _ in range(2):
        response = api.post(f"/v1/audits/{audit_id}/cancel")
        assert (response.status_code, response.json()["state"]) == (202, "running")
    assert queue.renew(engine, claimed).cancel_requested
    assert queue.cancel(engine, claimed)
    audit, _, events = rows(engine, audit_id)
    assert audit.state == "cancelled"
    assert events.count("audit.cancelled") == 1


def test_an_audit_is_run_again(api: Api, engine: Engine) -> None:
    old = api.submit(b"again", run_name="exp", policy={"min_map50": 0.3}, labels={"a": "b"}, depth="curves").json()
    response = api.post(f"/v1/audits/{old['id']}/rerun")
    assert response.status_code == 202
    new = response.json()
    assert response.headers["Location"] == f"/v1/audits/{new['id']}"
    assert (new["rerun_of"], new["artifacts"], new["labels"]) == (old["id"], old["artifacts"], old["labels"])
    audit, jobs, events = rows(engine, new["id"])
    assert (audit.policy, audit.depth, [job.queue for job in jobs]) == ({"min_map50": 0.3}, "curves", ["cpu"])
    assert events == ["audit.queued"]


def test_an_audit_is_deleted_unless_it_runs(api: Api, engine: Engine) -> None:
    audit_id = api.submit().json()["id"]
    claimed = claim(engine, audit_id)
    response = api.delete(f"/v1/audits/{audit_id}")
    assert (response.status_code, code_of(response)) == (409, "audit_running")
    queue.succeed(engine, claimed, queue.Result("pass", "", [], "yolov5", "1", json.dumps(REPORT)))
    assert api.delete(f"/v1/audits/{audit_id}").status_code == 204
    assert code_of(api.get(f"/v1/audits/{audit_id}")) == "audit_not_found"
    assert code_of(api.delete(f"/v1/audits/{audit_id}")) == "audit_not_found"


def test_an_id_that_is_none_is_unknown(api: Api) -> None:
    assert code_of(api.get("/v1/audits/not-an-id")) == "audit_not_found"


@pytest.mark.parametrize("sort", ["-created_at", "created_at"])
def test_pages_follow_each_other_without_gap_or_repetition(api: Api, sort: str) -> None:
    made = [api.submit(str(index).encode()).json()["id"] for index in range(7)]
    seen, token = [], ""
    for _ in range(4):
        page = api.get("/v1/audits", params={"page_size": 2, "page_token": token, "sort": sort}).json()
        seen += [audit["id"] for audit in page["items"]]
        token = page["next_page_token"]
        if not token:
            break
    assert (seen, token) == (made if sort == "created_at" else made[::-1], "")


def test_the_history_is_filtered(api: Api, owner: Owner, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Project(tenant_id=owner.tenant.id, name="other"))
        session.commit()
    first = api.submit(b"1", labels={"branch": "main", "gpu": "a:b"}).json()
    second = api.submit(b"2", project="other", labels={"branch": "dev"}).json()
    third = api.submit(b"3").json()
    succeed(engine, first["id"], verdict="fail", causes=["learning_rate", "data_leakage"], framework="yolov5")
    succeed(engine, second["id"], verdict="pass", causes=[], framework="ultralytics")

    def listed(**filters: Any) -> set[str]:
        response = api.get("/v1/audits", params=filters)
        assert response.status_code == 200, response.text
        return {audit["id"] for audit in response.json()["items"]}

    one, two, three = first["id"], second["id"], third["id"]
    assert listed() == {one, two, three}
    assert listed(project="other") == {two}
    assert listed(state="queued") == {three}
    assert listed(state=["queued", "succeeded"]) == {one, two, three}
    assert listed(verdict=["fail"]) == {one}
    assert listed(cause=["data_leakage", "overfitting"]) == {one}
    assert listed(framework="ultralytics") == {two}
    assert listed(label="branch:main") == {one}
    assert listed(label=["branch:main", "gpu:a:b"]) == {one}
    assert listed(label=["branch:main", "gpu:other"]) == set()
    assert listed(created_after=first["created_at"]) == {two, three}
    assert listed(created_before=third["created_at"]) == {one, two}
    assert listed(page_size=100_000) == {one, two, three}


@pytest.mark.parametrize(
    "query",
    ["page_size=0", "page_size=x", "state=running&state=x", "verdict=maybe", "cause=bad", "framework=darknet",
     "label=nocolon", "label=a:b%00", "created_after=yesterday", "created_after=2026-01-01T00:00:00", "sort=verdict",
     "created_after=0001-01-01T00:00:00%2B14:00", "created_before=9999-12-31T23:59:59-14:00", "project=%00",
     "unknown=1"],
)  # fmt: skip
def test_a_wrong_filter_is_refused(api: Api, query: str) -> None:
    response = api.get(f"/v1/audits?{query}")
    assert (response.status_code, code_of(response)) == (422, "invalid_request")


def test_a_page_token_is_good_for_its_own_list_only(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    for index in range(3):
        api.submit(str(index).encode())
    token = api.get("/v1/audits?page_size=1").json()["next_page_token"]
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    stranger = client_of(new_owner().key)
    for response in (
        api.get("/v1/audits", params={"page_token": token, "state": "queued"}),
        api.get("/v1/audits", params={"page_token": token, "sort": "created_at"}),
        api.get("/v1/audits", params={"page_token": forged}),
        api.get("/v1/audits", params={"page_token": "?"}),
        api.get("/v1/audits", params={"page_token": "A" * 300}),
        stranger.get("/v1/audits", params={"page_token": token}),
    ):
        assert (response.status_code, code_of(response)) == (422, "page_token_invalid")
    assert api.get("/v1/audits", params={"page_token": token, "page_size": 2}).status_code == 200


def test_the_same_key_and_payload_is_done_once(api: Api, engine: Engine) -> None:
    parts = {"artifact": ("run.zip", b"idempotent"), "request": (None, '{"force": true}')}
    headers = {"Idempotency-Key": '"retry-1"'}
    first = api.post("/v1/audits", files=parts, headers=headers)
    again = api.post("/v1/audits", files=parts, headers={"Idempotency-Key": "retry-1"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    other = api.post("/v1/audits", files={"artifact": ("run.zip", b"another")}, headers=headers)
    assert (other.status_code, code_of(other)) == (422, "idempotency_key_reused")


def test_a_key_in_flight_is_a_conflict(api: Api, runner: asyncio.Runner, engine: Engine) -> None:
    async def overlap() -> tuple[int, str, str, int]:
        gate = asyncio.Event()

        async def slow_body() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="r"\r\n\r\nslow'
            await gate.wait()
            yield b"\r\n--b--\r\n"

        headers = {"Idempotency-Key": "slow", "Content-Type": "multipart/form-data; boundary=b"}
        first = asyncio.create_task(api.http.post("/v1/audits", content=slow_body(), headers=headers))
        await until_held(engine, "slow")
        second = await api.http.post("/v1/audits", json={}, headers={"Idempotency-Key": "slow"})
        gate.set()
        return second.status_code, code_of(second), second.headers["Retry-After"], (await first).status_code

    assert runner.run(overlap()) == (409, "idempotency_key_in_flight", str(errors.RETRY_SECONDS), 202)


def test_the_client_s_patience_outlasts_the_hold_of_a_killed_api() -> None:
    assert (Retry().attempts - 1) * errors.RETRY_SECONDS > idempotency.LEASE.total_seconds()


def upload_that_waits(gate: asyncio.Event) -> Any:
    """The body of a form whose end comes once the gate is open."""

    async def body() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{"force": true}\r\n'
        yield b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="r"\r\n\r\nslow'
        await gate.wait()
        yield b"\r\n--b--\r\n"

    return body()


async def until_held(engine: Engine, key: str) -> None:
    """Wait until a request holds this Idempotency-Key."""
    held = text("SELECT FROM idempotency_keys WHERE key = :key AND status IS NULL AND expires_at > now()")
    with engine.connect() as connection:
        while connection.execute(held, {"key": key}).first() is None:
            await asyncio.sleep(0.02)


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def test_an_upload_holds_its_key_however_long_it_takes(
    api: Api, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LEASE", timedelta(seconds=2))

    async def overlap() -> tuple[set[str], int]:
        gate = asyncio.Event()
        key = {"Idempotency-Key": "longer"}
        first = asyncio.create_task(api.http.post("/v1/audits", content=upload_that_waits(gate), headers=FORM | key))
        codes = set()
        for _ in range(10):
            await asyncio.sleep(0.35)
            codes.add(code_of(await api.http.post("/v1/audits", json={}, headers=key)))
        gate.set()
        return codes, (await first).status_code

    assert runner.run(overlap()) == ({"idempotency_key_in_flight"}, 202)


def test_a_request_that_lost_its_key_to_a_retry_does_nothing(
    api: Api, runner: asyncio.Runner, engine: Engine, owner: Owner
) -> None:
    """As after a pause of the whole machine: the hold ran out, and the retry was let in and answered."""

    async def overlap() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        gate, open_gate = asyncio.Event(), asyncio.Event()
        open_gate.set()
        key = {"Idempotency-Key": "lost"}

        def post(body: Any) -> Any:
            return api.http.post("/v1/audits", content=body, headers=FORM | key)

        first = asyncio.create_task(post(upload_that_waits(gate)))
        await until_held(engine, "lost")
        with engine.begin() as connection:
            connection.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))
        second = await post(upload_that_waits(open_gate))
        gate.set()
        return await first, second, await post(upload_that_waits(open_gate))

    first, second, third = runner.run(overlap())
    assert (first.status_code, code_of(first)) == (409, "idempotency_key_in_flight")
    assert (second.status_code, third.status_code, third.content) == (202, 202, second.content)
    assert len(api.get("/v1/audits").json()["items"]) == 1


def test_a_hold_that_ran_out_and_that_nobody_took_is_still_good(
    api: Api, runner: asyncio.Runner, engine: Engine
) -> None:
    """Another request of the same API key clears away what ran out."""

    async def overlap() -> int:
        gate = asyncio.Event()
        headers = FORM | {"Idempotency-Key": "cleared"}
        first = asyncio.create_task(api.http.post("/v1/audits", content=upload_that_waits(gate), headers=headers))
        await until_held(engine, "cleared")
        with engine.begin() as connection:
            connection.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))
        await api.http.post("/v1/audits", json={}, headers={"Idempotency-Key": "another"})
        gate.set()
        return (await first).status_code

    assert runner.run(overlap()) == 202


def test_a_failed_request_lets_go_of_its_key(api: Api) -> None:
    headers = {"Idempotency-Key": "corrected"}
    assert code_of(api.post("/v1/audits", json={}, headers=headers)) == "artifact_missing"
    assert api.post("/v1/audits", files={"artifact": ("r", b"right now")}, headers=headers).status_code == 202


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a b", '"open'])
def test_a_key_of_the_wrong_form_is_refused(api: Api, key: str) -> None:
    response = api.post("/v1/audits", json={}, headers={"Idempotency-Key": key})
    assert (response.status_code, code_of(response)) == (422, "idempotency_key_invalid")
