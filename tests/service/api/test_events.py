"""The stream of events, over real HTTP: replayed, then live, to the end."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from runaudit_service.store import queue
from tests.service.clients import Api, claim, code_of
from tests.service.live import Live, live

RESULT = queue.Result("fail", "It overfits.", ["overfitting"], "ultralytics", "1", "{}")


@dataclass
class Frame:
    """One frame of a stream: its fields by name; a comment has none."""

    id: str | None = None
    event: str | None = None
    data: Any = None
    retry: str | None = None
    comment: str | None = None


def frames(lines: Iterator[str]) -> Iterator[Frame]:
    """Read as WHATWG HTML says, as far as this service writes."""
    fields: dict[str, Any] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name or "comment"] = value.removeprefix(" ")
            continue
        if "data" in fields:
            fields["data"] = json.loads(fields["data"])
        yield Frame(**fields)
        fields = {}


@pytest.fixture(scope="module")
def service(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(
        postgres_url,
        valkey_url,
        tmp_path_factory.mktemp("api"),
        RUNAUDIT_EVENT_HEARTBEAT_SECONDS="0.3",
        RUNAUDIT_EVENT_STREAMS_PER_KEY="3",
    ) as running:
        yield running


@pytest.fixture
def audit_id(service: Live) -> str:
    parts = {"artifact": ("run.zip", uuid.uuid4().bytes, "application/zip")}
    answer = httpx.post(f"{service.url}/v1/audits", files=parts, headers=service.headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def stream(service: Live, audit_id: str, **headers: str) -> Any:
    return httpx.stream(
        "GET", f"{service.url}/v1/audits/{audit_id}/events", headers=service.headers | headers, timeout=20
    )


def test_events_are_replayed_then_live_and_end_with_the_audit(service: Live, engine: Engine, audit_id: str) -> None:
    with stream(service, audit_id) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        come = frames(answer.iter_lines())
        assert next(come) == Frame(retry="2000")
        queued, progress = next(come), next(come)
        assert (queued.event, queued.data["type"], queued.data["data"]["state"]) == (
            "audit.queued",
            "audit.queued",
            "queued",
        )
        assert (progress.event, progress.id) == ("audit.progress", None)
        assert next(come).comment == "still here"
        held = claim(engine, audit_id)
        queue.renew(engine, held, stage="validate", done=3, total=10)
        later = []
        for frame in come:
            if frame.event is not None:
                later.append(frame)
            if frame.event == "audit.progress" and frame.data["data"]["progress"]["done"] == 3:
                queue.succeed(engine, held, RESULT)
    numbered = [frame for frame in later if frame.id is not None]
    assert [frame.event for frame in numbered] == ["audit.started", "audit.succeeded"]
    assert later[-1] is numbered[-1]
    body = numbered[-1].data["data"]
    assert body == httpx.get(f"{service.url}/v1/audits/{audit_id}", headers=service.headers).json()
    assert queued.id is not None
    ids = [int(frame.id or 0) for frame in (queued, *numbered)]
    assert ids == sorted(ids)

    # All of it again, as it was then, to one who comes late; the rest of it to one who has the first.
    with stream(service, audit_id) as answer:
        again = [frame for frame in frames(answer.iter_lines()) if frame.event]
    assert [frame.event for frame in again] == ["audit.queued", "audit.started", "audit.succeeded"]
    first, second = again[0].data["data"], again[1].data["data"]
    assert (first["state"], first["started_at"], first["ended_at"]) == ("queued", None, None)
    assert (second["state"], second["verdict"], second["attempt"]) == ("running", None, 1)
    assert second["started_at"] is not None
    with stream(service, audit_id, **{"Last-Event-ID": queued.id}) as answer:
        assert [frame.id for frame in frames(answer.iter_lines()) if frame.event] == [frame.id for frame in numbered]
    with stream(service, audit_id, **{"Last-Event-ID": numbered[-1].id}) as answer:
        assert answer.status_code == 204


def test_a_stream_ends_when_its_audit_is_deleted(service: Live, audit_id: str) -> None:
    with stream(service, audit_id) as answer:
        come = frames(answer.iter_lines())
        assert [next(come).event for _ in range(3)] == [None, "audit.queued", "audit.progress"]
        assert httpx.delete(f"{service.url}/v1/audits/{audit_id}", headers=service.headers).status_code == 204
        assert [frame.event for frame in come if frame.event] == []


def test_a_key_has_places_which_clients_that_leave_give_back(service: Live, audit_id: str) -> None:
    opened = [stream(service, audit_id) for _ in range(3)]
    lines = [one.__enter__().iter_lines() for one in opened]
    assert {next(one) for one in lines} == {"retry: 2000"}
    with stream(service, audit_id) as refused:
        refused.read()
        assert (refused.status_code, code_of(refused)) == (429, "too_many_streams")
        assert refused.headers["retry-after"] == "5"
    for one in opened:
        one.__exit__(None, None, None)
    end = time.monotonic() + 10
    while True:
        with stream(service, audit_id) as answer:
            if answer.status_code == 200:
                break
        assert time.monotonic() < end
        time.sleep(0.1)


def test_who_asks_many_times_at_once_gets_no_more_places(service: Live, audit_id: str) -> None:
    answered = threading.Barrier(13)

    def ask(statuses: list[int]) -> None:
        with stream(service, audit_id) as answer:
            statuses.append(answer.status_code)
            answered.wait(60)

    statuses: list[int] = []
    asking = [threading.Thread(target=ask, args=(statuses,)) for _ in range(12)]
    for one in asking:
        one.start()
    answered.wait(60)
    for one in asking:
        one.join()
    assert sorted(statuses) == [200] * 3 + [429] * 9


def test_a_service_that_stops_lets_streams_go(
    postgres_url: str, valkey_url: str, service: Live, tmp_path: Path, audit_id: str
) -> None:
    with live(postgres_url, valkey_url, tmp_path, key=service.key) as other, stream(other, audit_id) as answer:
        lines = answer.iter_lines()
        next(lines)
        begun = time.monotonic()
        threading.Timer(0.2, other.process.terminate).start()
        assert [frame.event for frame in frames(lines) if frame.event][-1] == "audit.progress"
        other.process.wait(10)
        assert time.monotonic() - begun < 8


def test_progress_leaves_no_rows(service: Live, engine: Engine, audit_id: str) -> None:
    held = claim(engine, audit_id)
    for done in range(20):
        queue.renew(engine, held, stage="validate", done=done, total=20)
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM events WHERE audit_id = :audit_id")
        assert connection.execute(query, {"audit_id": audit_id}).scalar_one() == 2


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 30])
def test_a_number_that_no_event_has_is_refused(api: Api, number: str) -> None:
    answer = api.get(f"/v1/audits/{api.submit().json()['id']}/events", headers={"Last-Event-ID": number})
    assert (answer.status_code, code_of(answer)) == (422, "last_event_id_invalid")


def test_there_are_no_events_of_no_audit(api: Api) -> None:
    assert code_of(api.get(f"/v1/audits/{uuid.uuid4()}/events")) == "audit_not_found"
