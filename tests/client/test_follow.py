"""Following an audit: by events, over broken connections, and by polling where there are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runaudit.client import Client, ProblemError, WaitTimeoutError
from runaudit.client.events import read_events
from tests.client.peer import Answer, Sent, audit, peer, problem

ID = audit()["id"]
ENDED = {"state": "succeeded", "verdict": "pass", "ended_at": "2026-11-24T08:01:00Z"}


def frame(kind: str, number: int | None, **changes: Any) -> str:
    message = {"type": kind, "timestamp": "2026-11-24T08:00:00Z", "data": audit(**changes)}
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(message)}\n\n"


def stream(*frames: str) -> Answer:
    return Answer(body=("retry: 2000\n\n" + "".join(frames)).encode(), content_type="text/event-stream; charset=utf-8")


def test_events_are_read_as_the_standard_says() -> None:
    text = frame("audit.queued", 7) + ": still here\n\n" + frame("audit.progress", None)
    events = list(read_events(iter(text.splitlines())))
    assert [event and (event.type, event.id) for event in events] == [
        ("audit.queued", "7"),
        None,
        ("audit.progress", None),
    ]


def test_a_broken_stream_goes_on_after_the_last_event_that_came() -> None:
    first = stream(frame("audit.queued", 7), frame("audit.progress", None), frame("audit.started", 9, state="running"))
    with (
        peer(first, Answer(hang_up=True), stream(frame("audit.succeeded", 12, **ENDED))) as server,
        Client(server.url, "key") as client,
    ):
        events = list(client.follow(ID))
    assert [event.id for event in events] == ["7", None, "9", "12"]
    assert events[-1].last and events[-1].audit.verdict == "pass"
    assert [sent.headers.get("Last-Event-ID") for sent in server.requests] == [None, "9", "9"]


@pytest.mark.parametrize("none", [Answer(hang_up=True), problem(429, "too_many_streams"), problem(405, "x"), stream()])
def test_without_events_it_is_polled(none: Answer) -> None:
    states = iter([{"state": "queued"}, {"state": "running"}, {"state": "running"}, ENDED])

    def answer(sent: Sent) -> Answer:
        return (
            none if sent.path.endswith("/events") else Answer(body=audit(**next(states)), headers={"Retry-After": "0"})
        )

    with peer(answer) as server, Client(server.url, "key") as client:
        events = [(event.type, event.audit.state) for event in client.follow(ID)]
    assert events == [("audit.progress", "queued"), ("audit.progress", "running"), ("audit.succeeded", "succeeded")]


def test_an_audit_that_is_not_there_is_told() -> None:
    with peer(problem(404, "audit_not_found")) as server, Client(server.url, "key") as client:
        with pytest.raises(ProblemError, match="audit_not_found"):
            list(client.follow(ID))
        assert len(server.requests) == 1


def test_following_ends_with_its_time() -> None:
    with (
        peer(stream(frame("audit.queued", 7))) as server,
        Client(server.url, "key") as client,
        pytest.raises(WaitTimeoutError),
    ):
        list(client.follow(ID, timeout=0.3))


def test_names_are_changed_and_audits_compared() -> None:
    with (
        peer(Answer(body=audit(labels={"a": "b"})), Answer(body={"metrics": []})) as server,
        Client(server.url, "key") as client,
    ):
        assert client.change(ID, labels={"a": "b", "c": None}).labels == {"a": "b"}
        assert client.compare(ID, "other") == {"metrics": []}
    changed, compared = server.requests
    assert (changed.method, json.loads(changed.body)) == ("PATCH", {"labels": {"a": "b", "c": None}})
    assert compared.path == f"/v1/audits/{ID}/compare/other"
