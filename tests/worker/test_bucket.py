"""The service with its artifacts in a bucket: hosts that share nothing else, and a bucket that is away for a while."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import httpx
from pydantic import SecretStr
from sqlalchemy import text

from runaudit_service.store.bell import Bell
from runaudit_service.store.blobs import open_blobs
from runaudit_service.store.settings import Settings
from runaudit_worker.workshop import BLOB_STORE_PAUSE_SECONDS, Workshop
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.conftest import wait_until
from tests.service.live import Live, live
from tests.worker import rows
from tests.worker.workplace import Workplace, curves_run


def upload(client: httpx.Client, content: bytes) -> str:
    """A resumable upload in two pieces; its id."""
    half = len(content) // 2
    place = client.post("/v1/uploads", json={"length": len(content)}).headers["Location"]
    for start, piece in ((0, content[:half]), (half, content[half:])):
        answer = client.patch(place, content=piece, headers={"Upload-Offset": str(start)})
        assert answer.status_code == 204, answer.text
    return place.rpartition("/")[2]


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 202, answer.text
    body: dict[str, object] = client.get(answer.headers["Location"], params={"wait": 60}, timeout=90).json()
    return body


def settings_with(workplace: Workplace, data_dir: Path, blob_url: str) -> Settings:
    """The workplace's settings, but for where data and blobs are."""
    return Settings(
        database_url=workplace.database_url,
        broker_url=workplace.broker_url,
        data_dir=data_dir,
        blob_url=blob_url,
        blob_access_key=ACCESS_KEY,
        blob_secret_key=SecretStr(SECRET_KEY),
    )


def test_from_upload_to_retention_with_nothing_shared_but_a_bucket(
    workplace: Workplace, bucket_server: BucketServer, tmp_path: Path
) -> None:
    """API, worker and reaper have a data folder each, as on three hosts."""
    environment = {
        "RUNAUDIT_BLOB_URL": bucket_server.url(tmp_path.name),
        "RUNAUDIT_BLOB_ACCESS_KEY": ACCESS_KEY,
        "RUNAUDIT_BLOB_SECRET_KEY": SECRET_KEY,
        "RUNAUDIT_ARTIFACT_GRACE_SECONDS": "0",
    }
    workplace.extra = environment
    sent, uploaded = curves_run(), curves_run(20)
    digests = sorted(sha256(content).hexdigest() for content in (sent, uploaded))

    def client_of(api: Live) -> httpx.Client:
        return httpx.Client(base_url=api.url, headers=api.headers, timeout=30, trust_env=False)

    with (
        live(workplace.database_url, workplace.broker_url, tmp_path, **environment) as api,
        client_of(api) as client,
    ):
        with workplace.worker():
            parts = {"artifact": ("run.zip", sent), "request": (None, '{"depth": "curves"}')}
            first = ended(client, client.post("/v1/audits", files=parts))
            named = {"upload_id": upload(client, uploaded), "depth": "curves"}
            second = ended(client, client.post("/v1/audits", json=named))
            for audit in (first, second):
                assert audit["state"] == "succeeded", audit
                report = client.get(f"/v1/audits/{audit['id']}/report").json()
                assert report["run"]["framework"] == "ultralytics"
        assert bucket_server.objects(tmp_path.name) == digests
        assert api.artifacts() == [], "something is left of uploads on the API's host"
        assert sorted(path.name for path in (tmp_path / "copies" / "copies").iterdir()) == digests
        assert client.head(f"/v1/artifacts/{digests[0]}").status_code == 200

        with workplace.engine.begin() as connection:
            connection.execute(text("UPDATE projects SET retention_days = 1"))
            long_ago = (
                "UPDATE audits SET created_at = created_at - interval '9 days', ended_at = ended_at - interval '9 days'"
            )
            connection.execute(text(long_ago))
        with workplace.reaper():
            wait_until(lambda: bucket_server.objects(tmp_path.name) == [], what="the artifacts being removed")
        assert client.head(f"/v1/artifacts/{digests[0]}").status_code == 404
        assert client.get(f"/v1/audits/{first['id']}").status_code == 404
    for log in (api.log.read_text(), workplace.log("worker"), workplace.log("reaper")):
        assert SECRET_KEY not in log


def test_an_outage_of_the_bucket_costs_time_and_no_attempt(
    workplace: Workplace, bucket_server: BucketServer, tmp_path: Path
) -> None:
    own = BucketServer(bucket_server.root)
    settings = settings_with(workplace, tmp_path, own.url(tmp_path.name))
    bell = Bell(workplace.broker_url)
    workshop = Workshop(workplace.engine, bell, settings)
    content = curves_run()
    submitted = rows.submit(workplace.engine, run_sha256=sha256(content).hexdigest(), max_attempts=1)
    for _ in range(2):
        assert workshop.answer_bell("cpu"), "nothing was tried"
        audit, job = rows.audit_of(workplace.engine, submitted), rows.job_of(workplace.engine, submitted)
        assert (audit.state, audit.attempt, job.attempt) == ("queued", 0, 0)
        with workplace.engine.begin() as connection:
            waits = "SELECT EXTRACT(EPOCH FROM run_after - now()) FROM jobs"
            assert 0 < connection.execute(text(waits)).scalar_one() <= BLOB_STORE_PAUSE_SECONDS
            connection.execute(text("UPDATE jobs SET run_after = now()"))
    own.start()
    place = own.root / "blobs" / tmp_path.name / job_digest(content)
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    assert workshop.answer_bell("cpu")
    own.stop()
    audit = rows.audit_of(workplace.engine, submitted)
    assert (audit.state, audit.attempt) == ("succeeded", 1)
    bell.close()


def test_an_audit_of_a_damaged_artifact_ends(workplace: Workplace, bucket_server: BucketServer, tmp_path: Path) -> None:
    settings = settings_with(workplace, tmp_path, bucket_server.url(tmp_path.name))
    bell = Bell(workplace.broker_url)
    workshop = Workshop(workplace.engine, bell, settings)
    content = curves_run()
    submitted = rows.submit(workplace.engine, run_sha256=sha256(content).hexdigest(), max_attempts=2)

    async def hand_in() -> None:
        async with open_blobs(settings).writer(len(content)) as writer:
            await writer.write(content)
            await writer.commit()

    asyncio.run(hand_in())
    place = bucket_server.root / "blobs" / tmp_path.name / job_digest(content)
    place.write_bytes(content[:-1] + b"?")

    def has_ended() -> bool:
        workshop.answer_bell("cpu")
        return rows.audit_of(workplace.engine, submitted).state == "failed"

    wait_until(has_ended)
    audit = rows.audit_of(workplace.engine, submitted)
    assert (audit.error or {}).get("code") == "artifact_damaged"
    bell.close()


def job_digest(content: bytes) -> str:
    digest = sha256(content).hexdigest()
    return f"{digest[:2]}/{digest}"


def test_an_api_without_its_bucket_says_so_answers_the_rest_and_loses_no_upload(
    workplace: Workplace, bucket_server: BucketServer, tmp_path: Path
) -> None:
    own = BucketServer(bucket_server.root)
    environment = {
        "RUNAUDIT_BLOB_URL": own.url(tmp_path.name),
        "RUNAUDIT_BLOB_ACCESS_KEY": ACCESS_KEY,
        "RUNAUDIT_BLOB_SECRET_KEY": SECRET_KEY,
    }
    content = curves_run()
    with live(workplace.database_url, workplace.broker_url, tmp_path, **environment) as api:
        with httpx.Client(base_url=api.url, headers=api.headers, timeout=60, trust_env=False) as client:
            place = client.post("/v1/uploads", json={"length": len(content)}).headers["Location"]
            refused = [
                client.post("/v1/audits", files={"artifact": ("run.zip", content)}),
                client.patch(place, content=content, headers={"Upload-Offset": "0"}),
                client.post("/v1/audits", json={"artifact_sha256": "ab" * 32}),
                client.head(f"/v1/artifacts/{'ab' * 32}"),
            ]
            assert [answer.status_code for answer in refused] == [503] * 4
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
            assert [answer.json()["code"] for answer in refused[:3]] == ["blob_store_unavailable"] * 3
            assert not any("127.0.0.1" in answer.text for answer in refused)
            assert client.get("/v1/audits").json()["items"] == []
            own.start()
            all_there = client.head(place).headers
            assert (all_there["Upload-Offset"], all_there["Upload-Complete"]) == (str(len(content)), "?0")
            answer = client.patch(place, content=b"", headers={"Upload-Offset": str(len(content))})
            assert (answer.status_code, answer.headers["Upload-Complete"]) == (204, "?1")
            own.stop()
        assert bucket_server.objects(tmp_path.name) == [sha256(content).hexdigest()]
        assert api.artifacts() == []
        log = api.log.read_text()
    assert SECRET_KEY not in log
    assert own.endpoint in log, "the operator is not told which store"
