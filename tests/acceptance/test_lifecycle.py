"""Watching, stopping and repeating audits of a real service, over HTTP as a pipeline does it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.inputs import run_copy, zipped
from tests.conftest import wait_until
from tests.embedded.service import Served
from tests.worker.children import alive, freeze_child


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    """Plain HTTP with the service's key."""
    credentials = served.credentials
    headers = {"Authorization": f"Bearer {credentials['key']}"}
    with httpx.Client(base_url=credentials["url"], headers=headers, timeout=70) as opened:
        yield opened


def posted(http: httpx.Client, archive: Path, **request: object) -> httpx.Response:
    """The answer to a post of an archive with depth `curves` and these fields of the request."""
    order = json.dumps({"depth": "curves"} | request)
    return http.post("/v1/audits", files={"artifact": archive.read_bytes()}, data={"request": order})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A run that nobody has handed in before."""
    run = run_copy(tmp_path / "run")
    (run / "notes.txt").write_text(uuid4().hex)
    return zipped(run, tmp_path / "run.zip")


def test_an_audit_is_waited_for_and_then_told_once(http: httpx.Client, archive: Path) -> None:
    accepted = posted(http, archive)
    assert (accepted.status_code, accepted.json()["state"]) == (202, "queued")
    ended = http.get(accepted.headers["Location"], params={"wait": 60})
    assert ended.json()["state"] == "succeeded"
    assert "Retry-After" not in ended.headers
    again = http.get(accepted.headers["Location"], headers={"If-None-Match": ended.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_equal_posts_at_once_are_one_audit(http: httpx.Client, archive: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: posted(http, archive), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert posted(http, archive, force=True).status_code == 202


def test_cancelling_an_audit_that_runs_ends_its_child_and_leaves_nothing(
    http: httpx.Client, served: Served, archive: Path
) -> None:
    wait_until(lambda: not http.get("/v1/audits?state=queued&state=running").json()["items"], what="a free worker")
    place = posted(http, archive, force=True).headers["Location"]
    child = freeze_child(served.processes()["worker"])
    assert http.get(place).json()["state"] == "running"
    assert http.delete(place).status_code == 409
    begun = time.monotonic()
    assert http.post(f"{place}/cancel").status_code == 202
    assert http.get(place, params={"wait": 30}).json()["state"] == "cancelled"
    assert time.monotonic() - begun < 10
    assert not alive(child)
    assert [path for path in (served.data_dir / "work").iterdir() if path.is_dir()] == []
    assert http.post(f"{place}/cancel").json()["code"] == "audit_already_ended"
    assert http.get(f"{place}/report").json()["code"] == "cancelled"
    assert http.delete(place).status_code == 204


def test_an_upload_that_breaks_off_leaves_nothing_and_its_key_can_be_used_again(
    http: httpx.Client, served: Served, archive: Path
) -> None:
    class BrokenOffError(Exception):
        pass

    def half() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="run.zip"\r\n\r\n'
        yield archive.read_bytes()[:5000]
        raise BrokenOffError

    key = {"Idempotency-Key": uuid4().hex}
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(BrokenOffError):
        http.post("/v1/audits", content=half(), headers=key | form)
    incoming = served.data_dir / "blobs" / "incoming"
    wait_until(lambda: not incoming.exists() or not list(incoming.iterdir()), what="the half upload being deleted")
    http.headers.update(key)
    wait_until(lambda: posted(http, archive).status_code == 202, what="the key being free")
