"""Each call of the client, against a real HTTP server that keeps what it was sent."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from runaudit.client import Audit, Client, ProblemError, WaitTimeoutError
from runaudit.errors import RunNotFoundError
from tests.client.peer import Answer, Peer, Sent, audit, peer, problem

ID = audit()["id"]
DONE = {"ended_at": "2026-11-24T08:01:00Z", "state": "succeeded", "verdict": "fail", "headline": "It fails."}


def client(server: Peer) -> Client:
    return Client(server.url, "ra_secret")


def parts_of(sent: Sent) -> dict[str, tuple[str | None, bytes]]:
    """name -> (file name, content), by the standard library's own parser."""
    from email import message_from_bytes  # noqa: PLC0415

    head = f"Content-Type: {sent.headers['Content-Type']}\r\n\r\n".encode()
    message = message_from_bytes(head + sent.body)
    found = {}
    for part in message.walk():
        name = part.get_param("name", header="Content-Disposition")
        if isinstance(name, str):
            found[name] = (part.get_filename(), part.get_payload(decode=True))
    return found  # type: ignore[return-value]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp"
    (folder / "weights").mkdir(parents=True)
    (folder / "results.csv").write_text("epoch\n1\n")
    (folder / "weights" / "best.pt").write_bytes(b"weights")
    (folder / "results.png").write_bytes(b"plot")
    return folder


def test_submit_sends_the_request_first_then_the_packed_run_and_data(run: Path, tmp_path: Path) -> None:
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes(b"jpeg")
    (tmp_path / "data" / "data.yaml").write_text("train: images\nval: images\nnames: [a]\n")
    with peer(Answer(404), Answer(202, audit())) as server, client(server) as link:
        answer = link.submit(
            run,
            tmp_path / "data" / "data.yaml",
            depth="deep",
            policy={"min_map50": 0.5},
            labels={"branch": "main"},
            run_name="exp",
            project="default",
            force=True,
            callback_url="https://hook.example",
            environment={"gpu": "none"},
        )
    assert isinstance(answer, Audit) and answer.id == ID
    asked, sent = server.requests
    parts = parts_of(sent)
    assert list(parts) == ["request", "artifact", "data"]
    assert asked.path == f"/v1/artifacts/{sha256(parts['data'][1]).hexdigest()}"
    assert json.loads(parts["request"][1]) == {
        "depth": "deep",
        "policy": {"min_map50": 0.5},
        "labels": {"branch": "main"},
        "run_name": "exp",
        "project": "default",
        "force": True,
        "callback_url": "https://hook.example",
        "environment": {"gpu": "none"},
    }
    assert parts["request"][0] is None
    assert parts["artifact"][0] == "exp.zip"
    assert zipfile.ZipFile(BytesIO(parts["artifact"][1])).namelist() == ["results.csv", "weights/best.pt"]
    assert zipfile.ZipFile(BytesIO(parts["data"][1])).namelist() == ["data.yaml", "images/a.jpg"]


def test_an_archive_is_sent_as_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "run.tar.gz"
    archive.write_bytes(bytes(range(256)) * 100)
    with peer(Answer(202, audit())) as server, client(server) as link:
        link.submit(archive)
    parts = parts_of(server.requests[0])
    assert parts["artifact"] == ("run.tar.gz", archive.read_bytes())
    assert json.loads(parts["request"][1]) == {}


def test_a_folder_without_a_run_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with peer(Answer(202, audit())) as server, client(server) as link, pytest.raises(RunNotFoundError):
        link.submit(tmp_path)
    assert server.requests == []


def test_get_may_wait(run: Path) -> None:
    with peer(Answer(body=audit())) as server, client(server) as link:
        link.get(ID)
        link.get(ID, wait=2.5)
    assert [sent.path for sent in server.requests] == [f"/v1/audits/{ID}", f"/v1/audits/{ID}?wait=2.5"]


def test_an_id_cannot_lead_elsewhere() -> None:
    with peer(problem(404, "audit_not_found")) as server, client(server) as link, pytest.raises(ProblemError):
        link.get("../keys?x=1")
    assert server.requests[0].path == "/v1/audits/..%2Fkeys%3Fx%3D1"


def test_wait_returns_the_ended_audit_and_tells_of_the_way() -> None:
    running = audit(state="running", progress={"stage": "validate", "fraction": 0.5, "done": 10, "total": 20})
    soon = {"Retry-After": "0"}
    answers = (Answer(body=audit(), headers=soon), Answer(body=running, headers=soon), Answer(body=audit(**DONE)))
    seen: list[Audit] = []
    with peer(*answers) as server, client(server) as link:
        ended = link.wait(ID, timeout=20, on_progress=seen.append)
    assert (ended.state, ended.verdict) == ("succeeded", "fail")
    assert [one.state for one in seen] == ["queued", "running", "succeeded"]
    assert seen[1].progress.done == 10


def test_wait_ends_at_its_timeout() -> None:
    running = Answer(body=audit(state="running"))
    with peer(running) as server, client(server) as link, pytest.raises(WaitTimeoutError, match="running") as caught:
        link.wait(ID, timeout=0.3)
    assert caught.value.error_code == "wait_timed_out"
    # A service that does not hold its answers is not asked without a pause.
    assert len(server.requests) <= 3


def test_the_report_comes_in_the_format_that_was_asked_for() -> None:
    with peer(Answer(body="Ä verdict".encode(), content_type="text/markdown")) as server, client(server) as link:
        assert link.report(ID, "markdown") == "Ä verdict"
    assert server.requests[0].path == f"/v1/audits/{ID}/report?format=markdown"


def test_list_follows_the_pages() -> None:
    pages = (
        Answer(body={"items": [audit(run_name="c"), audit(run_name="b")], "next_page_token": "t/1="}),
        Answer(body={"items": [audit(run_name="a")], "next_page_token": ""}),
    )
    with peer(*pages) as server, client(server) as link:
        found = link.list(state="queued", page_size=2)
        assert next(found).run_name == "c"
        assert len(server.requests) == 1
        assert [one.run_name for one in found] == ["b", "a"]
    assert str(httpx.URL(server.requests[0].path).params) == "state=queued&sort=-created_at&page_size=2"
    second = httpx.URL(server.requests[1].path).params
    assert (second["page_token"], second["page_size"], second["state"]) == ("t/1=", "2", "queued")


def test_filters_may_have_several_values() -> None:
    moment = datetime(2026, 11, 24, 8, tzinfo=UTC)
    with peer(Answer(body={"items": [], "next_page_token": ""})) as server, client(server) as link:
        found = link.list(verdict=["fail", "warn"], labels={"branch": "main", "ci": "1"}, created_after=moment)
        assert list(found) == []
    params = httpx.URL(server.requests[0].path).params
    assert params.get_list("verdict") == ["fail", "warn"]
    assert params.get_list("label") == ["branch:main", "ci:1"]
    assert params["created_after"] == "2026-11-24T08:00:00+00:00"


def test_cancel_rerun_and_create_key() -> None:
    key = {"id": "k1", "name": "ci", "key": "ra_new", "scopes": ["audits:read"], "created_at": "later"}
    with (
        peer(Answer(202, audit()), Answer(202, audit(rerun_of=ID)), Answer(201, key)) as server,
        client(server) as link,
    ):
        link.cancel(ID)
        assert link.rerun(ID).rerun_of == ID
        created = link.create_key("ci", ["audits:read"])
    assert (created.key, created.scopes) == ("ra_new", ["audits:read"])
    assert [sent.path for sent in server.requests] == [f"/v1/audits/{ID}/cancel", f"/v1/audits/{ID}/rerun", "/v1/keys"]
    assert json.loads(server.requests[2].body) == {"name": "ci", "scopes": ["audits:read"]}


def test_a_refused_upload_gives_the_problem_not_a_broken_pipe(tmp_path: Path) -> None:
    archive = tmp_path / "run.zip"
    archive.write_bytes(b"\0" * (4 << 20))
    with (
        peer(problem(413, "upload_too_large")) as server,
        client(server) as link,
        pytest.raises(ProblemError) as caught,
    ):
        link.submit(archive)
    assert caught.value.error_code == "upload_too_large"


UPLOAD = """
import sys
from pathlib import Path
from runaudit.client import Client
def peak():
    # Not ru_maxrss: over an exec it keeps the peak of the process that started this one, and hides any growth below.
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return int(status["VmHWM"].split()[0])
with Client(sys.argv[1], "k") as client:
    before = peak()
    client.submit(Path(sys.argv[2]))
    print(peak() - before)
"""


def test_packing_and_sending_take_constant_memory(run: Path) -> None:
    size = 200 << 20
    with (run / "weights" / "best.pt").open("wb") as weights:
        weights.truncate(size)
    complete = Answer(204, headers={"Upload-Offset": "0", "Upload-Complete": "?1"})
    with peer(Answer(404), Answer(201, {"id": "one", "offset": 0}), complete, Answer(202, audit())) as server:
        ended = subprocess.run(
            [sys.executable, "-c", UPLOAD, server.url, str(run)],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    assert server.requests[2].length > size
    grown_bytes = int(ended.stdout) * 1024
    assert grown_bytes < 30 << 20


def test_the_client_starts_without_torch_numpy_and_yaml() -> None:
    heavy = {"torch", "numpy", "yaml", "sqlalchemy", "fastapi", "typer"}
    probe = f"import sys, runaudit.client; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "[]"
