"""What is sent by pieces, what is not sent at all, and when sending is given up. tests/service has the real service."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from runaudit.client import Client, ProblemError, ServiceUnreachableError
from runaudit.client.retry import Retry
from tests.client.peer import Answer, Peer, Sent, audit, peer, problem

CONTENT = bytes(range(256)) * 400
DIGEST = sha256(CONTENT).hexdigest()
BEGUN = Answer(201, {"id": "one", "offset": 0})
ABSENT = Answer(404)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "run.zip"
    path.write_bytes(CONTENT)
    return path


def state(offset: int, status: int = 200, complete: bool = False) -> Answer:
    return Answer(status, headers={"Upload-Offset": str(offset), "Upload-Complete": "?1" if complete else "?0"})


def client(server: Peer) -> Client:
    return Client(server.url, "ra_secret", retry=Retry(attempts=3, base=0.01), resumable_bytes=1000)


def request_of(sent: Sent) -> dict[str, object]:
    return json.loads(sent.body.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[0])  # type: ignore[no-any-return]


def test_a_large_run_is_sent_by_pieces_and_named(archive: Path) -> None:
    answers = [ABSENT, BEGUN, state(len(CONTENT), 204, complete=True), Answer(202, audit())]
    with peer(*answers) as server, client(server) as link:
        link.submit(archive, depth="curves")
    asked, begun, sent, submitted = server.requests
    assert (asked.method, asked.path) == ("HEAD", f"/v1/artifacts/{DIGEST}")
    assert json.loads(begun.body) == {"length": len(CONTENT), "sha256": DIGEST}
    assert (sent.method, sent.path, sent.sha256) == ("PATCH", "/v1/uploads/one", DIGEST)
    assert request_of(submitted) == {"depth": "curves", "upload_id": "one"}
    assert "Idempotency-Key" in submitted.headers


def test_what_is_there_already_is_named_by_its_digest(archive: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.zip"
    data.write_bytes(b"small")
    with peer(Answer(200), Answer(200), Answer(202, audit())) as server, client(server) as link:
        link.submit(archive, data)
    assert [sent.method for sent in server.requests] == ["HEAD", "HEAD", "POST"]
    expected = {"artifact_sha256": DIGEST, "data": {"sha256": sha256(b"small").hexdigest()}}
    assert request_of(server.requests[2]) == expected


def test_it_goes_on_where_the_service_is(archive: Path) -> None:
    answers = [
        ABSENT,
        BEGUN,
        Answer(hang_up=True),
        state(500),
        problem(409, "upload_offset_mismatch"),
        state(700),
        problem(503, "database_unavailable"),
        state(len(CONTENT), complete=True),
        Answer(202, audit()),
    ]
    with peer(*answers) as server, client(server) as link:
        link.submit(archive)
    pieces = [(sent.headers["Upload-Offset"], sent.length) for sent in server.requests if sent.method == "PATCH"]
    assert pieces == [("0", len(CONTENT)), ("500", len(CONTENT) - 500), ("700", len(CONTENT) - 700)]


def test_tries_that_bring_nothing_come_to_an_end(archive: Path) -> None:
    with (
        peer(ABSENT, BEGUN, *[Answer(hang_up=True), state(0)] * 9) as server,
        client(server) as link,
        pytest.raises(ServiceUnreachableError),
    ):
        link.submit(archive)
    assert sum(sent.method == "PATCH" for sent in server.requests) == 3


def test_a_refusal_is_told(archive: Path) -> None:
    with (
        peer(ABSENT, BEGUN, problem(507, "storage_full")) as server,
        client(server) as link,
        pytest.raises(ProblemError) as refused,
    ):
        link.submit(archive)
    assert (refused.value.error_code, refused.value.http_status) == ("storage_full", 507)
    assert len(server.requests) == 3


def test_an_upload_that_is_gone_is_told(archive: Path) -> None:
    with (
        peer(ABSENT, BEGUN, Answer(hang_up=True), ABSENT) as server,
        client(server) as link,
        pytest.raises(ProblemError) as refused,
    ):
        link.submit(archive)
    assert refused.value.error_code == "upload_not_found"


def test_an_answer_of_something_else_is_told(archive: Path) -> None:
    with peer(ABSENT, BEGUN, Answer(204)) as server, client(server) as link, pytest.raises(ProblemError) as refused:
        link.submit(archive)
    assert refused.value.error_code == "service_error"
