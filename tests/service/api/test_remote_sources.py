"""Audits whose artifacts are named by URL: what is taken, what is refused at once, and what is shown of it."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from runaudit_service.store import fetched, queue
from runaudit_service.store.blobs import Blob
from runaudit_service.store.models import AuditArtifact, Job
from runaudit_service.store.remote_source import parse_source, pinned_digest
from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import UrlNotAllowedError
from tests.service.clients import Api, code_of

SECRET = "s3cr3t-token"
URL = f"https://files.example.org/exp/run.zip?X-Signature={SECRET}"
CONTENT = b"fetched"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def by_url(api: Api, url: str = URL, **request: Any) -> Any:
    return api.post("/v1/audits", json={"artifact_url": url, "depth": "curves"} | request)


def job_of(engine: Engine, audit_id: str) -> Job:
    with Session(engine, expire_on_commit=False) as session:
        return session.scalars(select(Job).where(Job.audit_id == audit_id)).one()


def claim(engine: Engine, audit_id: str) -> queue.Claim:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET run_after = now() + interval '1 hour' WHERE audit_id <> :id"), {"id": audit_id}
        )
    claimed = queue.claim(engine, ["egress"], "worker", 60)
    assert claimed is not None and str(claimed.audit_id) == audit_id
    return claimed


def finish_fetching(engine: Engine, api: Api, audit_id: str) -> queue.Claim:
    """What an egress worker does."""
    claimed = claim(engine, audit_id)
    api.submit(CONTENT)
    for role, given in claimed.inputs.items():
        if given.url is not None:
            blob = Blob(DIGEST, len(CONTENT))
            assert fetched.put_in_place(engine, claimed, role=role, blob=blob, file_name=None, place=lambda: None)
    assert fetched.queue_audit(engine, claimed) == "cpu"
    return claimed


def test_an_artifact_by_url_is_to_be_fetched(api: Api, engine: Engine) -> None:
    response = by_url(api, data={"url": URL})
    assert response.status_code == 202
    body = response.json()
    assert (body["state"], body["progress"]["stage"], body["started_at"]) == ("fetching", "fetching", None)
    assert body["artifacts"] == [
        {"role": "run", "sha256": None, "bytes": None},
        {"role": "data", "sha256": None, "bytes": None},
    ]
    job = job_of(engine, body["id"])
    assert (job.kind, job.queue, job.state) == ("fetch", "egress", "queued")


def test_it_rings_for_the_egress_workers(api: Api, settings: Settings) -> None:
    from runaudit_service.store.bell import Bell  # noqa: PLC0415

    bell = Bell(settings.broker_url)
    before = bell.waiting("egress") or 0
    by_url(api)
    assert bell.waiting("egress") == before + 1
    bell.close()


def test_the_url_is_shown_nowhere(api: Api, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    audit_id = by_url(api).json()["id"]
    wrong = by_url(api, f"http://user:{SECRET}@files.example.org/?{SECRET}")
    answers = [by_url(api), wrong, api.get(f"/v1/audits/{audit_id}"), api.get("/v1/audits")]
    with engine.connect() as connection:
        events = connection.execute(text("SELECT data FROM events")).scalars().all()
        keys = connection.execute(text("SELECT body, fingerprint FROM idempotency_keys")).all()
    shown = "".join(answer.text for answer in answers) + caplog.text + str(events) + str(keys)
    assert SECRET not in shown


def test_after_fetching_the_audit_is_queued_with_its_digest(api: Api, engine: Engine) -> None:
    audit_id = by_url(api).json()["id"]
    finish_fetching(engine, api, audit_id)
    body = api.get(f"/v1/audits/{audit_id}").json()
    assert body["state"] == "queued"
    assert body["artifacts"] == [{"role": "run", "sha256": DIGEST, "bytes": len(CONTENT)}]
    again = api.post("/v1/audits", json={"artifact_sha256": DIGEST, "depth": "curves"})
    assert (again.status_code, again.json()["id"]) == (200, audit_id)


def test_a_url_without_a_digest_is_fetched_each_time(api: Api) -> None:
    assert by_url(api).json()["id"] != by_url(api).json()["id"]


def test_a_url_with_a_digest_is_the_same_again(api: Api, engine: Engine) -> None:
    first = by_url(api, f"{URL}#sha256={DIGEST}")
    assert first.status_code == 202
    other_url = by_url(api, f"https://mirror.example.org/run.zip#sha256={DIGEST}")
    assert (other_url.status_code, other_url.json()["id"]) == (200, first.json()["id"])
    assert by_url(api, f"{URL}#sha256={DIGEST}", force=True).status_code == 202
    assert by_url(api, f"{URL}#sha256={'0' * 64}").json()["id"] != first.json()["id"]


def test_what_is_here_already_is_not_fetched(api: Api, engine: Engine) -> None:
    uploaded = api.submit(CONTENT, depth="curves").json()
    again = by_url(api, f"{URL}#sha256={DIGEST}")
    assert (again.status_code, again.json()["id"]) == (200, uploaded["id"])
    other = by_url(api, f"{URL}#sha256={DIGEST}", run_name="other", policy={"min_map50": 0.5})
    assert (other.status_code, other.json()["state"]) == (202, "queued")
    assert job_of(engine, other.json()["id"]).queue == "cpu"


def test_an_idempotency_key_replays_it(api: Api) -> None:
    headers = {"Idempotency-Key": "fetch-once"}
    first = api.post("/v1/audits", json={"artifact_url": URL}, headers=headers)
    again = api.post("/v1/audits", json={"artifact_url": URL}, headers=headers)
    assert first.json() == again.json()
    other = api.post("/v1/audits", json={"artifact_url": URL + "1"}, headers=headers)
    assert other.status_code == 422


def test_a_waiting_fetch_is_cancelled_at_once_and_a_running_one_by_its_worker(api: Api, engine: Engine) -> None:
    waiting, running = by_url(api).json()["id"], by_url(api).json()["id"]
    assert api.delete(f"/v1/audits/{waiting}").status_code == 409
    assert api.post(f"/v1/audits/{waiting}/cancel").json()["state"] == "cancelled"
    claimed = claim(engine, running)
    assert api.post(f"/v1/audits/{running}/cancel").json()["state"] == "fetching"
    assert queue.renew(engine, claimed, stage="fetching", done=1, total=2).cancel_requested
    assert queue.cancel(engine, claimed)
    assert api.get(f"/v1/audits/{running}").json()["state"] == "cancelled"
    assert not fetched.put_in_place(
        engine, claimed, role="run", blob=Blob(DIGEST, 1), file_name=None, place=lambda: pytest.fail("placed")
    )
    assert fetched.queue_audit(engine, claimed) is None
    assert api.delete(f"/v1/audits/{running}").status_code == 204


def test_a_failed_fetch_can_be_run_again(api: Api, engine: Engine) -> None:
    audit_id = by_url(api).json()["id"]
    queue.fail(engine, claim(engine, audit_id), {"code": "answer_refused", "detail": "It answered 404."})
    again = api.post(f"/v1/audits/{audit_id}/rerun")
    assert (again.status_code, again.json()["state"]) == (202, "fetching")
    with Session(engine) as session:
        assert (
            session.scalars(select(AuditArtifact.url).where(AuditArtifact.audit_id == again.json()["id"])).one() == URL
        )


@pytest.mark.parametrize(
    ("request_body", "code", "pointer"),
    [
        ({"artifact_url": "http://files.example.org/"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://user:pw@files.example.org/"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "file:///etc/passwd"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://files.example.org/\r\nX: y"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://files.example.org/#sha256=12"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://2130706433/"}, "url_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://127.0.0.1/"}, "address_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://[::ffff:127.0.0.1]/"}, "address_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://localhost/"}, "address_not_allowed", "/artifact_url"),
        ({"artifact_url": "https://files.example.org:6379/"}, "address_not_allowed", "/artifact_url"),
        ({"artifact_url": URL, "data": {"url": "https://10.0.0.1/"}}, "address_not_allowed", "/data/url"),
        ({"artifact_url": "s3://bucket/run.zip"}, "source_not_configured", "/artifact_url"),
        ({"artifact_url": "gs://bucket/run.zip"}, "source_not_configured", "/artifact_url"),
        ({"artifact_url": "runs:/abc/run"}, "source_not_configured", "/artifact_url"),
        ({"artifact_url": "mlflow-artifacts:/1/abc"}, "source_not_configured", "/artifact_url"),
    ],
)
def test_a_url_that_is_never_fetched_is_refused_at_once(
    api: Api, request_body: dict[str, Any], code: str, pointer: str
) -> None:
    response = api.post("/v1/audits", json=request_body)
    assert (response.status_code, code_of(response)) == (422, code)
    assert response.json()["errors"][0]["pointer"] == pointer


CONFIGURED = Settings(
    fetch_s3_buckets="runs, models", fetch_gs_buckets="gruns", mlflow_tracking_uri="http://mlflow:5000"
)


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("s3://runs/a%20b/run.zip", {"scheme": "s3", "bucket": "runs", "key": "a b/run.zip", "sha256": None}),
        (f"gs://gruns/x#sha256={DIGEST}", {"scheme": "gs", "bucket": "gruns", "key": "x", "sha256": DIGEST}),
        ("runs:/0123abc", {"run_id": "0123abc", "path": "", "sha256": None}),
        ("runs:/0123abc/train/exp/", {"run_id": "0123abc", "path": "train/exp", "sha256": None}),
        ("mlflow-artifacts:/0/0123/artifacts", {"run_id": None, "path": "0/0123/artifacts", "sha256": None}),
    ],
)
def test_sources_that_the_settings_have(url: str, fields: dict[str, Any]) -> None:
    assert dataclasses.asdict(parse_source(url, CONFIGURED)) == fields  # type: ignore[call-overload]
    assert SECRET not in repr(parse_source(url.replace("train", SECRET), CONFIGURED))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "s3://runs",
            "s3://runs/",
            "s3:///x",
            "s3://RUNS/x",
            "s3://runs/../models/x",
            "s3://runs/a//b",
            "s3://runs/%2e%2e/x",
        ),
        *(
            "s3://runs/a%0ab",
            "s3://runs/a%ff",
            "s3://runs/a\\b",
            "s3://key:secret@runs/x",
            "s3://runs/x#y",
            "S3:runs/x",
        ),
        *("runs:/", "runs://abc/x", "runs:/a/../b", "runs:/a%2f..%2fb", "runs:/a?b/x", "runs:/abc/%00"),
        *("mlflow-artifacts:", "mlflow-artifacts:/", "mlflow-artifacts:/../x", "mlflow-artifacts:/a/./b"),
        *("models:/name/1", "dbfs:/x", "azure://x", "javascript:alert(1)", "x", ""),
    ],
)
def test_sources_that_are_malformed(url: str) -> None:
    with pytest.raises(UrlNotAllowedError) as refused:
        parse_source(url, CONFIGURED, "/artifact_url")
    assert refused.value.error_code == "url_not_allowed"


def test_a_bucket_that_is_not_named_is_not_read() -> None:
    for url in ("s3://others/x", "s3://gruns/x", "gs://runs/x", "s3://run/x"):
        with pytest.raises(UrlNotAllowedError) as refused:
            parse_source(url, CONFIGURED)
        assert refused.value.error_code == "source_not_configured"


def test_the_digest_of_a_url() -> None:
    assert pinned_digest(f"{URL}#SHA256={DIGEST.upper()}") == DIGEST
    assert pinned_digest(URL) is None
