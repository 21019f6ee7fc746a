"""Artifacts that no audit needs any more are removed, and none that a request is about to use."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from runaudit_service.api.audits.repository import AuditRepository
from runaudit_service.api.database import Database, act_for
from runaudit_service.store.blobs import BlobStoreError, FolderBlobs, open_blobs
from runaudit_service.store.database import async_engine
from runaudit_service.store.models import Artifact
from runaudit_service.store.removal import remove_released, remove_untitled
from runaudit_service.store.settings import Settings
from runaudit_service.store.tenancy import API_ROLE
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner
from tests.worker.outside import outside, reply

HOUR = 3600.0
REMOVALS = 25
"""among as many as this, a removal that regards no request has taken an audit's artifact each time it was tried"""


@pytest.fixture
def blobs(settings: Settings) -> FolderBlobs:
    return FolderBlobs(settings.blob_dir)


def titles(engine: Engine, digest: str) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).where(Artifact.sha256 == digest)) or 0


def submitted(api: Api, content: bytes) -> str:
    response = api.submit(content, force=True)
    assert response.status_code == 202
    return str(response.json()["id"])


def test_an_artifact_goes_once_its_last_audit_is_deleted_and_some_time_has_passed(
    api: Api, engine: Engine, blobs: FolderBlobs
) -> None:
    content = os.urandom(32)
    digest = sha256(content).hexdigest()
    first, second = submitted(api, content), submitted(api, content)
    assert api.delete(f"/v1/audits/{first}").status_code == 204
    assert remove_released(engine, blobs, grace_seconds=0) == 0
    assert (titles(engine, digest), blobs.holds(digest)) == (1, True)
    assert api.delete(f"/v1/audits/{second}").status_code == 204
    assert remove_released(engine, blobs, grace_seconds=HOUR) == 0
    assert api.post("/v1/audits", json={"artifact_sha256": digest, "force": True}).status_code == 202
    assert remove_released(engine, blobs, grace_seconds=0) == 0
    (third,) = (item["id"] for item in api.get("/v1/audits").json()["items"])
    assert api.delete(f"/v1/audits/{third}").status_code == 204
    assert remove_released(engine, blobs, grace_seconds=0) == 1
    assert (titles(engine, digest), blobs.holds(digest)) == (0, False)
    assert code_of(api.post("/v1/audits", json={"artifact_sha256": digest})) == "artifact_not_found"
    assert remove_released(engine, blobs, grace_seconds=0) == 0


def test_a_blob_stays_while_another_tenant_uses_it(
    api: Api,
    client_of: Callable[[str | None], Api],
    new_owner: Callable[[], Owner],
    engine: Engine,
    blobs: FolderBlobs,
) -> None:
    other = client_of(new_owner().key)
    content = os.urandom(32)
    digest = sha256(content).hexdigest()
    mine, theirs = submitted(api, content), submitted(other, content)
    api.delete(f"/v1/audits/{mine}")
    assert remove_released(engine, blobs, grace_seconds=0) == 0
    assert (titles(engine, digest), blobs.holds(digest)) == (1, True)
    # The title went with the audit, though the bytes are still there.
    assert code_of(api.post("/v1/audits", json={"artifact_sha256": digest})) == "artifact_not_found"
    other.delete(f"/v1/audits/{theirs}")
    assert remove_released(engine, blobs, grace_seconds=0) == 1
    assert (titles(engine, digest), blobs.holds(digest)) == (0, False)


def test_of_an_audit_with_two_artifacts_both_go(api: Api, engine: Engine, blobs: FolderBlobs) -> None:
    run, data = os.urandom(32), os.urandom(32)
    parts = {"artifact": ("run.zip", run), "data": ("data.zip", data)}
    audit = api.post("/v1/audits", files=parts).json()["id"]
    api.delete(f"/v1/audits/{audit}")
    assert remove_released(engine, blobs, grace_seconds=0) == 2
    assert not any(blobs.holds(sha256(content).hexdigest()) for content in (run, data))


def test_an_artifact_that_a_request_holds_is_let_alone(
    api: Api, engine: Engine, blobs: FolderBlobs, runner: asyncio.Runner, settings: Settings, owner: Owner
) -> None:
    content = os.urandom(32)
    digest = sha256(content).hexdigest()
    api.delete(f"/v1/audits/{submitted(api, content)}")

    async def held() -> int:
        database = Database(async_engine(settings.database_url, role=API_ROLE))
        act_for(owner.tenant.id)
        async with database.transaction() as session:
            await AuditRepository(session, owner.tenant.id).ground("default", [digest], {}, 0)
            removed = await asyncio.to_thread(remove_released, engine, blobs, grace_seconds=0)
        await database.engine.dispose()
        return removed

    assert runner.run(held()) == 0
    assert blobs.holds(digest)
    assert remove_released(engine, blobs, grace_seconds=0) == 1


def test_no_audit_loses_its_artifact_to_a_removal_at_the_same_time(
    app: FastAPI, api: Api, engine: Engine, blobs: FolderBlobs, runner: asyncio.Runner
) -> None:
    """Two clients hand in the same bytes, by upload and by digest, and delete their audits, while a thread removes what
    is released, without any grace: as many collisions as there can be.
    """
    content = os.urandom(64)
    digest = sha256(content).hexdigest()
    ending = threading.Event()
    removals = 0

    def remove() -> None:
        nonlocal removals
        while not ending.is_set():
            removals += remove_released(engine, blobs, grace_seconds=0)
            removals += remove_untitled(engine, blobs, digest[:2], grace_seconds=0)

    async def client(by_digest: bool) -> int:
        audits = 0
        end = time.monotonic() + 60
        while removals < REMOVALS and time.monotonic() < end:
            if by_digest:
                answer = await api.http.post("/v1/audits", json={"artifact_sha256": digest, "force": True})
            else:
                parts = {"artifact": ("run.zip", content), "request": (None, '{"force": true}')}
                answer = await api.http.post("/v1/audits", files=parts)
            if by_digest and answer.status_code == 404:
                await asyncio.sleep(0)
                continue
            assert answer.status_code == 202, answer.text
            await asyncio.sleep(0)
            assert blobs.holds(digest), "an audit waits whose artifact is gone"
            assert (await api.http.delete(answer.headers["Location"])).status_code == 204
            audits += 1
            # Mostly long enough for a removal to begin.
            await asyncio.sleep(random.uniform(0, 0.03))
        return audits

    async def clients() -> list[int]:
        return await asyncio.gather(client(False), client(True))

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        audits = runner.run(clients())
    finally:
        ending.set()
        remover.join()
    assert all(audits) and removals >= REMOVALS, (audits, removals)
    remove_released(engine, blobs, grace_seconds=0)
    assert (titles(engine, digest), blobs.holds(digest)) == (0, False)


def test_a_request_that_is_refused_leaves_no_blob(api: Api, blobs: FolderBlobs) -> None:
    assert code_of(api.submit(b"refused", project="nowhere")) == "project_not_found"
    assert [path for path in blobs.root.rglob("*") if path.is_file()] == []


def test_a_blob_that_has_no_title_goes_after_some_time(api: Api, engine: Engine, blobs: FolderBlobs) -> None:
    """As a kill between the blob and the commit of its row leaves one."""
    content = os.urandom(32)
    submitted(api, content)
    kept, left = blobs.path(sha256(content).hexdigest()), blobs.path("ab" + "0" * 62)
    stray = blobs.root / "ab" / "notes.txt"
    left.parent.mkdir(parents=True, exist_ok=True)
    for path in (left, stray):
        path.write_bytes(b"left")
    for prefix in {"ab", kept.parent.name}:
        assert remove_untitled(engine, blobs, prefix, grace_seconds=HOUR) == 0
    for path in (left, kept, stray):
        os.utime(path, (0, 0))
    assert sum(remove_untitled(engine, blobs, prefix, grace_seconds=HOUR) for prefix in {"ab", kept.parent.name}) == 1
    assert (left.exists(), kept.exists(), stray.exists()) == (False, True, True)
    assert remove_untitled(engine, blobs, "cd", grace_seconds=HOUR) == 0


def test_a_store_that_can_not_be_written_keeps_rows_and_blobs(
    api: Api, engine: Engine, blobs: FolderBlobs, tmp_path: Path
) -> None:
    content = os.urandom(32)
    digest = sha256(content).hexdigest()
    api.delete(f"/v1/audits/{submitted(api, content)}")
    # Where the blob should be is a folder, so that the system refuses to unlink it, to root as well.
    elsewhere = FolderBlobs(tmp_path / "elsewhere")
    elsewhere.path(digest).mkdir(parents=True)
    with pytest.raises(OSError):
        remove_released(engine, elsewhere, grace_seconds=0)
    assert (titles(engine, digest), blobs.holds(digest)) == (1, True)
    assert remove_released(engine, blobs, grace_seconds=0) == 1


def test_a_bucket_that_does_not_answer_keeps_rows_and_is_asked_once(
    api: Api, engine: Engine, blobs: FolderBlobs, tmp_path: Path
) -> None:
    """The reaper gives lost jobs back in between: an outage must not cost it the patience for each artifact."""
    contents = [os.urandom(32) for _ in range(3)]
    for content in contents:
        api.delete(f"/v1/audits/{submitted(api, content)}")
    with outside(reply(503)) as server:
        url = f"s3://blobs/x?endpoint={server.url('', '127.0.0.1')}"
        away = open_blobs(Settings(blob_url=url, blob_access_key="AKID", data_dir=tmp_path))
        with pytest.raises(BlobStoreError):
            remove_released(engine, away, grace_seconds=0)
    assert len(set(server.targets)) == 1, "others were asked for, too"
    assert all(titles(engine, sha256(content).hexdigest()) == 1 for content in contents)
    assert remove_released(engine, blobs, grace_seconds=0) == 3
