"""Resumable uploads: what arrived stays, one writes at a time, and the end is an artifact of the tenant's own."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import ColumnElement, Engine, select, text, update
from sqlalchemy.orm import Session

from runaudit_service.api.app import create_app
from runaudit_service.store.blobs import FolderBlobs
from runaudit_service.store.models import Artifact
from runaudit_service.store.removal import remove_released
from runaudit_service.store.settings import Settings
from runaudit_service.store.staging import Staging
from runaudit_service.store.upload_expiry import remove_abandoned_uploads
from runaudit_service.store.upload_rows import Upload
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

CONTENT = os.urandom(300_000)
DIGEST = sha256(CONTENT).hexdigest()
MOMENT_AGO = text("now() - interval '1 second'")


@pytest.fixture
def blobs(settings: Settings) -> FolderBlobs:
    return FolderBlobs(settings.blob_dir)


@pytest.fixture
def staging(settings: Settings) -> Staging:
    return Staging(settings.staging_dir)


def begin(api: Api, content: bytes = CONTENT, **changes: Any) -> str:
    body = {"length": len(content), "sha256": sha256(content).hexdigest()} | changes
    response = api.post("/v1/uploads", json=body)
    assert response.status_code == 201, response.text
    assert response.json() == {"id": response.headers["Location"].rpartition("/")[2], "offset": 0}
    return response.headers["Location"]


def send(api: Api, place: str, content: Any, offset: int) -> httpx.Response:
    return api.request("PATCH", place, content=content, headers={"Upload-Offset": str(offset)})


def state(api: Api, place: str) -> tuple[int, int, str]:
    response = api.request("HEAD", place)
    assert response.status_code == 200
    headers = response.headers
    return int(headers["Upload-Offset"]), int(headers["Upload-Length"]), headers["Upload-Complete"]


def is_at(place: str) -> ColumnElement[bool]:
    return Upload.id == uuid.UUID(place.rpartition("/")[2])


def sent(api: Api, content: bytes = CONTENT) -> str:
    """The id of an upload that is complete."""
    place = begin(api, content)
    assert send(api, place, content, 0).status_code == 204
    return place.rpartition("/")[2]


def files_of(staging: Staging) -> list[str]:
    return [str(path) for path in staging.root.rglob("*")] if staging.root.is_dir() else []


def test_an_upload_in_one_piece_is_audited(api: Api, blobs: FolderBlobs, staging: Staging) -> None:
    place = begin(api)
    assert state(api, place) == (0, len(CONTENT), "?0")
    answer = send(api, place, CONTENT, 0)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert answer.headers["Upload-Complete"] == "?1"
    assert state(api, place) == (len(CONTENT), len(CONTENT), "?1")
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    assert files_of(staging) == []
    assert list(blobs.spool.iterdir()) == []
    audit = api.post("/v1/audits", json={"upload_id": place.rpartition("/")[2]})
    assert audit.status_code == 202
    assert audit.json()["artifacts"] == [{"role": "run", "sha256": DIGEST, "bytes": len(CONTENT)}]


def test_pieces_of_any_size_make_the_same_artifact(api: Api, blobs: FolderBlobs, staging: Staging) -> None:
    place = begin(api, sha256=None)
    offset = 0
    for size in (1, 99_999, 0, 150_000, 50_000):
        answer = send(api, place, CONTENT[offset : offset + size], offset)
        offset += size
        assert (answer.status_code, int(answer.headers["Upload-Offset"])) == (204, offset)
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    assert files_of(staging) == []


def test_data_may_be_uploaded_too_beside_a_part(api: Api) -> None:
    run, data = os.urandom(50), os.urandom(60)
    answer = api.submit(run, data={"upload_id": sent(api, data)})
    assert [item["sha256"] for item in answer.json()["artifacts"]] == [
        sha256(run).hexdigest(),
        sha256(data).hexdigest(),
    ]


def test_a_broken_body_leaves_what_arrived(api: Api) -> None:
    place = begin(api)

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        raise ConnectionError("the cable was pulled")

    assert send(api, place, broken(), 0).status_code == 500
    assert state(api, place) == (1000, len(CONTENT), "?0")
    assert send(api, place, CONTENT[1000:], 1000).headers["Upload-Complete"] == "?1"


def test_another_offset_is_told_the_right_one(api: Api) -> None:
    place = begin(api)
    send(api, place, CONTENT[:10], 0)
    for offset in (0, 9, 11):
        answer = send(api, place, b"x", offset)
        assert (answer.status_code, code_of(answer)) == (409, "upload_offset_mismatch")
        assert answer.headers["Upload-Offset"] == "10"
    send(api, place, CONTENT[10:], 10)
    answer = send(api, place, b"x", 10)
    assert (code_of(answer), answer.headers["Upload-Complete"]) == ("upload_offset_mismatch", "?1")


@pytest.mark.parametrize("offset", ["", "-1", "one", "1.5", str(2**63), "9" * 40])
def test_an_offset_that_is_none(api: Api, offset: str) -> None:
    answer = api.request("PATCH", begin(api), content=b"x", headers={"Upload-Offset": offset} if offset else {})
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")


def test_of_two_writers_on_two_replicas_one_gets_it(
    app: FastAPI, api: Api, owner: Owner, settings: Settings, runner: asyncio.Runner
) -> None:
    place = begin(api)
    started, going_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT[:5]
        started.set()
        await going_on.wait()
        yield CONTENT[5:]

    async def both(other: Api) -> tuple[httpx.Response, httpx.Response]:
        headers = {"Upload-Offset": "0"}
        first = asyncio.create_task(api.http.patch(place, content=slow(), headers=headers))
        await started.wait()
        second = await other.http.patch(place, content=CONTENT, headers=headers)
        going_on.set()
        return await first, second

    with Api(create_app(settings), runner, owner.key) as other:
        first, second = runner.run(both(other))
        assert (second.status_code, code_of(second)) == (409, "upload_busy")
        assert int(second.headers["Retry-After"]) > 0
        assert (first.status_code, first.headers["Upload-Complete"]) == (204, "?1")
        assert state(other, place) == (len(CONTENT), len(CONTENT), "?1")


def test_a_host_without_the_pieces_takes_no_more(
    api: Api, owner: Owner, settings: Settings, runner: asyncio.Runner, tmp_path: Path
) -> None:
    """Two API hosts that share a bucket and no disk."""
    place = begin(api)
    assert send(api, place, CONTENT[:1000], 0).status_code == 204
    other_host = settings.model_copy(update={"upload_dir": tmp_path / "other"})
    with Api(create_app(other_host), runner, owner.key) as other:
        for offset, body in ((1000, CONTENT[1000:]), (1000, b"")):
            refused = send(other, place, body, offset)
            assert (refused.status_code, code_of(refused)) == (503, "upload_elsewhere")
            assert (refused.headers["Upload-Offset"], int(refused.headers["Retry-After"]) > 0) == ("1000", True)
        assert state(other, place) == (1000, len(CONTENT), "?0")
        assert not (tmp_path / "other").exists()
    assert send(api, place, CONTENT[1000:], 1000).headers["Upload-Complete"] == "?1"


def test_a_writer_whose_hold_was_taken_changes_nothing(
    api: Api, engine: Engine, blobs: FolderBlobs, runner: asyncio.Runner
) -> None:
    """As one whose machine slept: another has gone on where it was, with other bytes."""
    place = begin(api)
    started, going_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"not the content"
        started.set()
        await going_on.wait()
        yield b"at all"

    async def overtaken() -> tuple[httpx.Response, httpx.Response]:
        first = asyncio.create_task(api.http.patch(place, content=slow(), headers={"Upload-Offset": "0"}))
        await started.wait()
        with engine.begin() as connection:
            connection.execute(update(Upload).where(is_at(place)).values(held_until=MOMENT_AGO))
        second = await api.http.patch(place, content=CONTENT[:100], headers={"Upload-Offset": "0"})
        going_on.set()
        return await first, second

    first, second = runner.run(overtaken())
    assert second.status_code == 204
    assert code_of(first) == "upload_busy"
    assert state(api, place) == (100, len(CONTENT), "?0")
    assert send(api, place, CONTENT[100:], 100).headers["Upload-Complete"] == "?1"
    assert blobs.path(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("announced", [True, False])
def test_too_many_bytes_are_refused(api: Api, announced: bool) -> None:
    place = begin(api)

    async def chunks() -> AsyncIterator[bytes]:
        yield CONTENT
        yield b"more"

    answer = send(api, place, CONTENT + b"more" if announced else chunks(), 0)
    assert (answer.status_code, code_of(answer)) == (413, "upload_too_long")
    assert state(api, place)[2] == "?0"


def test_another_digest_than_announced_ends_the_upload(api: Api, blobs: FolderBlobs, staging: Staging) -> None:
    place = begin(api, sha256="0" * 64)
    answer = send(api, place, CONTENT, 0)
    assert (answer.status_code, code_of(answer)) == (422, "upload_digest_mismatch")
    assert DIGEST in answer.json()["detail"]
    assert api.request("HEAD", place).status_code == 404
    assert not blobs.holds(DIGEST)
    assert files_of(staging) == []


def test_an_upload_that_is_not_complete_is_no_source(api: Api) -> None:
    place = begin(api)
    send(api, place, CONTENT[:10], 0)
    upload = place.rpartition("/")[2]
    for body in ({"upload_id": upload}, {"artifact_sha256": DIGEST, "data": {"upload_id": upload}}):
        answer = api.post("/v1/audits", json=body)
        assert (answer.status_code, code_of(answer)) == (409, "upload_incomplete")
    for unknown in (str(uuid.uuid4()), "an upload"):
        answer = api.post("/v1/audits", json={"upload_id": unknown})
        assert (answer.status_code, code_of(answer)) == (404, "upload_not_found")
        assert answer.json()["errors"][0]["pointer"] == "/upload_id"
    answer = api.post("/v1/audits", json={"upload_id": upload, "artifact_sha256": DIGEST})
    assert code_of(answer) == "artifact_ambiguous"


def test_an_upload_is_its_tenants_alone(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner]
) -> None:
    stranger = client_of(new_owner().key)
    place = begin(api)
    assert stranger.request("HEAD", place).status_code == 404
    assert code_of(send(stranger, place, CONTENT, 0)) == "upload_not_found"
    send(api, place, CONTENT, 0)
    answer = stranger.post("/v1/audits", json={"upload_id": place.rpartition("/")[2]})
    assert code_of(answer) == "upload_not_found"
    assert stranger.request("HEAD", f"/v1/artifacts/{DIGEST}").status_code == 404
    assert api.request("HEAD", "/v1/uploads/none").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"length": 2 << 20}, 413, "artifact_too_large"),
        ({"length": 0}, 422, "invalid_request"),
        ({"length": 5, "sha256": "abc"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ],
)
def test_uploads_that_can_not_begin(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    answer = api.post("/v1/uploads", json=body)
    assert (answer.status_code, code_of(answer)) == (status, code)


def test_one_that_nobody_comes_back_to_is_removed(api: Api, engine: Engine, staging: Staging) -> None:
    left, going_on = begin(api), begin(api)
    for place in (left, going_on):
        send(api, place, CONTENT[:1000], 0)
    assert remove_abandoned_uploads(engine, staging, stray_seconds=3600) == 0
    with engine.begin() as connection:
        connection.execute(update(Upload).where(is_at(left)).values(expires_at=MOMENT_AGO))
    assert api.request("HEAD", left).status_code == 404
    assert remove_abandoned_uploads(engine, staging, stray_seconds=3600) == 1
    assert [uuid.UUID(path.name) for path in staging.root.iterdir()] == [uuid.UUID(going_on.rpartition("/")[2])]
    assert send(api, going_on, CONTENT[1000:], 1000).headers["Upload-Complete"] == "?1"


def test_one_that_is_being_written_to_stays(api: Api, engine: Engine, staging: Staging, runner: asyncio.Runner) -> None:
    place = begin(api)

    async def slow() -> AsyncIterator[bytes]:
        yield CONTENT[:5]
        with engine.begin() as connection:
            connection.execute(update(Upload).where(is_at(place)).values(expires_at=MOMENT_AGO))
        assert remove_abandoned_uploads(engine, staging, stray_seconds=0) == 0
        yield CONTENT[5:]

    assert send(api, place, slow(), 0).headers["Upload-Complete"] == "?1"


def test_files_of_no_upload_are_removed(engine: Engine, staging: Staging) -> None:
    stray = staging.folder(uuid.uuid4())
    stray.mkdir(parents=True)
    (stray / "piece").write_bytes(b"left")
    other = staging.root / "notes"
    other.mkdir()
    assert remove_abandoned_uploads(engine, staging, stray_seconds=3600) == 0
    os.utime(stray, (0, 0))
    os.utime(other, (0, 0))
    assert remove_abandoned_uploads(engine, staging, stray_seconds=3600) == 1
    assert (stray.exists(), other.exists()) == (False, True)


def test_what_no_audit_uses_goes_after_a_while_and_asking_for_it_keeps_it(
    api: Api, engine: Engine, blobs: FolderBlobs, owner: Owner
) -> None:
    sent(api)
    mine = (Artifact.tenant_id == owner.tenant.id, Artifact.sha256 == DIGEST)

    def released_at() -> datetime | None:
        with Session(engine) as session:
            return session.scalar(select(Artifact.released_at).where(*mine))

    with engine.begin() as connection:
        connection.execute(update(Artifact).where(*mine).values(released_at=text("now() - interval '1 hour'")))
    assert remove_released(engine, blobs, grace_seconds=7200) == 0
    answer = api.request("HEAD", f"/v1/artifacts/{DIGEST}")
    assert (answer.status_code, answer.headers["ETag"], answer.content) == (200, f'"{DIGEST}"', b"")
    assert (now := released_at()) is not None and time.time() - now.timestamp() < 600
    assert remove_released(engine, blobs, grace_seconds=1800) == 0
    assert api.post("/v1/audits", json={"artifact_sha256": DIGEST}).status_code == 202
    with engine.begin() as connection:
        connection.execute(update(Artifact).where(*mine).values(released_at=None))
    assert api.request("HEAD", f"/v1/artifacts/{DIGEST}").status_code == 200
    assert released_at() is None, "an artifact in use must not be released by a question"
    for unknown in ("0" * 64, "abc", DIGEST.upper()):
        assert api.request("HEAD", f"/v1/artifacts/{unknown}").status_code == 404


def test_an_artifact_whose_bytes_are_gone_is_not_here(api: Api, blobs: FolderBlobs) -> None:
    sent(api)
    blobs.remove(DIGEST)
    assert api.request("HEAD", f"/v1/artifacts/{DIGEST}").status_code == 404
