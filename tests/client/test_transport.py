"""Retries, idempotency keys and problem documents, against a real HTTP server."""

from __future__ import annotations

import io
import socket
import time

import pytest

from runaudit.client.errors import CredentialsError, ProblemError, ServiceUnreachableError
from runaudit.client.retry import Retry
from runaudit.client.transport import Part, Transport, is_loopback
from tests.client.peer import Answer, Peer, peer, problem

FAST = Retry(attempts=4, base=0.01, longest=0.02)


def transport(server: Peer, retry: Retry = FAST) -> Transport:
    return Transport(server.url, "ra_secret", retry=retry, timeout=5)


def test_the_key_goes_into_the_authorization_header() -> None:
    with peer(Answer(body={})) as server:
        transport(server).get("/v1/audits")
    assert server.requests[0].headers["Authorization"] == "Bearer ra_secret"


@pytest.mark.parametrize("trouble", [Answer(429), Answer(502), Answer(503), Answer(504), Answer(hang_up=True)])
def test_passing_troubles_are_sat_out(trouble: Answer) -> None:
    with peer(trouble, trouble, Answer(body={"done": True})) as server:
        assert transport(server).get("/x").json() == {"done": True}
    assert len(server.requests) == 3


def test_retry_after_is_waited_for() -> None:
    with peer(Answer(503, headers={"Retry-After": "1"}), Answer(body={})) as server:
        start = time.monotonic()
        transport(server).get("/x")
        assert time.monotonic() - start >= 1.0


def test_all_attempts_of_a_post_carry_one_idempotency_key_and_the_same_bytes() -> None:
    with peer(Answer(503), Answer(hang_up=True), problem(409, "idempotency_key_in_flight"), Answer(202, {})) as server:
        content = io.BytesIO(b"\x00weights" * 50_000)
        transport(server).post_parts("/v1/audits", [Part("artifact", content, "application/zip", "run.zip")])
    assert len(server.requests) == 4
    assert len({sent.headers["Idempotency-Key"] for sent in server.requests}) == 1
    assert len({sent.sha256 for sent in server.requests}) == 1
    assert b"\x00weights" in server.requests[3].body


def test_two_posts_have_different_keys() -> None:
    with peer(Answer(202, {})) as server:
        link = transport(server)
        for _ in range(2):
            link.post_parts("/v1/audits", [Part("request", b"{}", "application/json")])
    first, second = (sent.headers["Idempotency-Key"] for sent in server.requests)
    assert first != second
    assert first.startswith('"') and first.endswith('"')


@pytest.mark.parametrize("trouble", [Answer(502), Answer(503), Answer(504), Answer(hang_up=True)])
def test_what_must_not_be_done_twice_is_not_sent_again_once_it_may_have_been_done(trouble: Answer) -> None:
    with peer(trouble) as server, pytest.raises((ProblemError, ServiceUnreachableError)):
        transport(server).post("/v1/keys", json={}, repeatable=False)
    assert len(server.requests) == 1


def test_what_was_turned_down_for_its_rate_is_sent_again() -> None:
    with peer(Answer(429), Answer(201, {})) as server:
        transport(server).post("/v1/keys", json={}, repeatable=False)
    assert len(server.requests) == 2


def test_a_problem_document_becomes_an_error_with_its_code_and_place() -> None:
    pointed = [{"pointer": "/policy/min_map50", "detail": "too large"}]
    refusal = problem(422, "request_invalid", errors=pointed, request_id="r1")
    with peer(refusal) as server, pytest.raises(ProblemError, match="because of request_invalid") as caught:
        transport(server).get("/x")
    error = caught.value
    assert (error.error_code, error.http_status, error.place) == ("request_invalid", 422, "/policy/min_map50")
    assert error.problem()["request_id"] == "r1"
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b'["no", "problem"]', b'{"message": "x"}', b""])
def test_an_answer_that_is_no_problem_document_is_an_error_all_the_same(body: bytes) -> None:
    with peer(Answer(500, body, content_type="text/html")) as server, pytest.raises(ProblemError) as caught:
        transport(server).get("/x")
    assert (caught.value.error_code, caught.value.http_status) == ("service_error", 500)


def test_the_last_problem_is_raised_once_patience_ends() -> None:
    with peer(problem(503, "not_ready")) as server, pytest.raises(ProblemError) as caught:
        transport(server).get("/x")
    assert caught.value.error_code == "not_ready"
    assert len(server.requests) == FAST.attempts


def test_nobody_listening_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ServiceUnreachableError, match="in 4 attempts") as caught:
            Transport(url, "k", retry=FAST, timeout=1).get("/x")
    assert caught.value.error_code == "service_unreachable"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "nowhere"])
def test_a_url_of_another_kind_is_named_at_once(url: str) -> None:
    with pytest.raises(CredentialsError, match="not the URL") as caught:
        Transport(url, "k", retry=Retry(attempts=100, base=10)).get("/x")
    assert caught.value.error_code == "url_malformed"


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("a.example", False)],
)
def test_loopback_is_told_from_the_world(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with peer(Answer(body={"here": True})) as server:
        assert transport(server).get("/x").json() == {"here": True}
