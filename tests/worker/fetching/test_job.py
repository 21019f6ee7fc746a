"""Fetching by an egress worker: what ends well, what is tried again, and what ends the audit."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from runaudit_service.store import fetched, queue
from runaudit_service.store.blobs import Blob
from runaudit_service.store.models import Artifact, Event, Job
from runaudit_service.store.room import StorageQuotaError
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.conftest import wait_until
from tests.worker import rows
from tests.worker.fetching.conftest import SECRET, Egress
from tests.worker.outside import (
    Answerer,
    Authority,
    Connection,
    Outside,
    chosen,
    in_turn,
    outside,
    redirect,
    reply,
)
from tests.worker.workplace import Workplace, curves_run

RUN = curves_run()
DIGEST = hashlib.sha256(RUN).hexdigest()
PATH = f"/exp/run.zip?token={SECRET}"


def here(server: Outside, target: str = PATH) -> str:
    return server.url(target, "127.0.0.1")


def test_a_fetched_audit_waits_and_then_runs(egress: Egress, authority: Authority) -> None:
    with outside(reply(200, RUN), authority.tls) as server:
        submitted = egress.submit(here(server))
        assert egress.work()
    use = egress.uses(submitted)["run"]
    assert use.url is None
    with Session(egress.engine) as session:
        artifact = session.scalars(select(Artifact).where(Artifact.id == use.artifact_id)).one()
        assert (artifact.sha256, artifact.bytes, artifact.file_name) == (DIGEST, len(RUN), "run.zip")
    audit = rows.audit_of(egress.engine, submitted)
    assert (audit.state, audit.progress_stage, audit.attempt, audit.started_at) == ("queued", "queued", 0, None)
    assert [(job.kind, job.queue, job.state) for job in egress.jobs(submitted.audit_id)] == [
        ("fetch", "egress", "succeeded"),
        ("audit", "cpu", "queued"),
    ]
    assert egress.bell.waiting("cpu") == 1
    assert egress.workshop.answer_bell("cpu")
    audit = rows.audit_of(egress.engine, submitted)
    assert (audit.state, audit.attempt) == ("succeeded", 1), audit.error
    assert rows.events_of(egress.engine, submitted) == ["audit.queued", "audit.started", "audit.succeeded"]


def test_the_fingerprint_becomes_that_of_the_content(egress: Egress, authority: Authority) -> None:
    with outside(reply(200, RUN), authority.tls) as server:
        submitted = [egress.submit(here(server)), egress.submit(here(server, "/elsewhere.zip"))]
        assert egress.work()
    prints = {rows.audit_of(egress.engine, one).fingerprint for one in submitted}
    assert len(prints) == 1


def slow(piece: bytes) -> Answerer:
    stop = threading.Event()

    def answer(connection: Connection, _head: str) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(piece)

    return answer


REFUSED: dict[str, tuple[Answerer, str]] = {
    "not there": (reply(404), "answer_refused"),
    "forbidden": (reply(403, b"secrets of the server"), "answer_refused"),
    "no content": (reply(204, headers={"Content-Length": ""}), "answer_refused"),
    "a part": (reply(206, RUN), "answer_refused"),
    "empty": (reply(200), "artifact_empty"),
    "compressed": (reply(200, RUN, {"Content-Encoding": "gzip"}), "encoding_not_allowed"),
    "announced too large": (reply(200, b"", {"Content-Length": "200001"}), "artifact_too_large"),
    "announced far too large": (reply(200, b"", {"Content-Length": str(10**15)}), "artifact_too_large"),
    "too large without a word": (
        reply(200, b"x" * 300_000, {"Content-Length": "", "Connection": "close"}),
        "artifact_too_large",
    ),
    "redirect inside": (redirect("https://169.254.169.254/latest/meta-data/"), "address_not_allowed"),
    "redirect to another loopback": (redirect("https://127.0.0.2/"), "address_not_allowed"),
    "redirect to IPv6": (redirect("https://[::1]/"), "address_not_allowed"),
    "redirect to mapped IPv4": (redirect("https://[::ffff:127.0.0.1]/"), "address_not_allowed"),
    "redirect to a file": (redirect("file:///etc/passwd"), "redirect_not_allowed"),
    "redirect to gopher": (redirect("gopher://127.0.0.1:6379/_FLUSHALL"), "redirect_not_allowed"),
    "redirect with a user name": (redirect("https://a:b@127.0.0.1/"), "redirect_not_allowed"),
    "redirect in octal": (redirect("https://0177.0.0.1/"), "redirect_not_allowed"),
    "redirect to nowhere": (reply(302), "redirect_not_allowed"),
    "redirect to http": (redirect("http://127.0.0.1/"), "redirect_not_allowed"),
    "redirect loop": (redirect("/round"), "too_many_redirects"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_ends_the_audit_at_once(egress: Egress, authority: Authority, kind: str) -> None:
    answer, code = REFUSED[kind]
    with outside(answer, authority.tls) as server:
        problem = egress.outcome(here(server))
    assert problem["code"] == code
    assert "secrets" not in problem["detail"]
    if code != "artifact_too_large":
        assert problem["errors"][0]["pointer"] == "/artifact_url"
        assert any(host in problem["detail"] for host in ("127.0.0.", "169.254.169.254", "::"))
    assert not list(egress.settings.blob_dir.glob("incoming/*")), "a half artifact is left"


def test_redirects_are_followed_a_few_times(egress: Egress, authority: Authority) -> None:
    with outside(chosen({"/2": reply(200, RUN)}), authority.tls) as server:
        first_answers = {"/exp/run.zip": redirect("/1", 301), "/1": redirect(here(server, "/2"), 307)}
        with outside(chosen(first_answers), authority.tls) as first:
            assert egress.outcome(here(first)) == {}
    assert (first.targets, server.targets) == ([PATH, "/1"], ["/2"])


def test_the_quota_of_the_tenant_is_kept_to(egress: Egress, authority: Authority) -> None:
    with outside(reply(200, RUN), authority.tls) as server:
        url = here(server)
        full = egress.settings.model_copy(update={"max_stored_bytes": len(RUN)})
        # The artifact that every audit of these tests begins with has one byte.
        problem = Egress(egress.engine, egress.bell, full).outcome(url)
        assert (problem["code"], problem["status"]) == ("storage_quota", 507)
        assert not list(egress.settings.blob_dir.glob("*/*")), "it was kept all the same"
        just_enough = egress.settings.model_copy(update={"max_stored_bytes": len(RUN) + 1})
        assert Egress(egress.engine, egress.bell, just_enough).outcome(url) == {}
        # What is there already takes no more room.
        assert Egress(egress.engine, egress.bell, full).outcome(url) == {}


def test_nothing_of_what_a_quota_refused_stays_in_a_bucket(
    egress: Egress, authority: Authority, bucket_server: BucketServer, tmp_path: Path
) -> None:
    in_bucket = egress.settings.model_copy(
        update={
            "max_stored_bytes": len(RUN),
            "blob_url": bucket_server.url(tmp_path.name),
            "blob_access_key": ACCESS_KEY,
            "blob_secret_key": SecretStr(SECRET_KEY),
        }
    )
    with outside(reply(200, RUN), authority.tls) as server:
        problem = Egress(egress.engine, egress.bell, in_bucket).outcome(here(server))
    assert problem["code"] == "storage_quota"
    assert bucket_server.objects(tmp_path.name) == []


def test_the_last_room_is_given_once_to_workers_of_one_moment(egress: Egress) -> None:
    first, second = (egress.submit("https://example.com/run.zip") for _ in range(2))
    claims = [queue.claim(egress.engine, ["egress"], "worker", 60) for _ in (first, second)]
    others_end: list[str] = []

    def keep(number: int, place: Callable[[], object]) -> None:
        claim = claims[number]
        assert claim is not None
        blob = Blob(sha256="ab"[number] * 64, bytes=100)
        fetched.put_in_place(
            egress.engine, claim, role="run", blob=blob, file_name=None, place=place, max_stored_bytes=150
        )

    def keep_other() -> None:
        try:
            keep(1, lambda: None)
            others_end.append("kept")
        except StorageQuotaError as error:
            others_end.append(error.detail)

    other = threading.Thread(target=keep_other)

    def meanwhile() -> None:
        other.start()
        # Either it waits for this one's end, or it does not see it.
        other.join(1)

    keep(0, meanwhile)
    other.join(20)
    # The artifact that every audit of these tests begins with has one byte.
    assert others_end == [
        "This tenant may store 150 bytes. 101 are used, and this would add 100. "
        "Delete audits that are no longer needed; their artifacts go some time after them."
    ]


def test_a_server_that_drips_is_left(egress: Egress, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runaudit_worker.fetching.download.PACE_SECONDS", 0.3)
    with outside(slow(b"x" * 100), authority.tls) as server:
        submitted = egress.submit(here(server), max_attempts=1)
        assert egress.work()
    problem = rows.audit_of(egress.engine, submitted).error
    assert problem is not None
    assert (problem["code"], problem["detail"]) == ("too_slow", "127.0.0.1 sends too slowly.")


def test_fetching_has_an_end_in_time(egress: Egress, authority: Authority) -> None:
    hurried = egress.settings.model_copy(update={"fetch_seconds": 0.5})
    with outside(slow(b"x" * 10_000), authority.tls) as server:
        submitted = Egress(egress.engine, egress.bell, hurried).submit(here(server), max_attempts=1)
        assert Egress(egress.engine, egress.bell, hurried).work()
    problem = rows.audit_of(egress.engine, submitted).error
    assert problem is not None and problem["code"] == "too_slow"


def test_the_digest_of_the_url_is_kept_to(egress: Egress, authority: Authority) -> None:
    with outside(reply(200, RUN), authority.tls) as server:
        assert egress.outcome(f"{here(server)}#sha256={DIGEST}") == {}
        problem = egress.outcome(f"{here(server)}#sha256={'0' * 64}")
    assert problem["code"] == "digest_mismatch"
    assert DIGEST in problem["detail"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(500), "answer_failed"),
        (reply(503), "answer_failed"),
        (reply(408), "answer_failed"),
        (reply(200, b"half", {"Content-Length": "100"}), "answer_malformed"),
        (lambda connection, _head: connection.close(), "answer_malformed"),
    ],
)
def test_what_may_pass_is_tried_again_with_pauses(
    egress: Egress, authority: Authority, answer: Answerer, code: str
) -> None:
    with outside(answer, authority.tls) as server:
        submitted = egress.submit(here(server), max_attempts=2)
        assert egress.work()
        audit, job = rows.audit_of(egress.engine, submitted), rows.job_of(egress.engine, submitted)
        assert (audit.state, audit.attempt, job.state, job.attempt) == ("fetching", 0, "queued", 1)
        assert timedelta(seconds=3) < job.run_after - datetime.now(UTC) < timedelta(seconds=6)
        assert not egress.work(), "the pause was not kept"
        egress.due_now()
        assert egress.work()
    audit = rows.audit_of(egress.engine, submitted)
    assert audit.state == "failed" and audit.error is not None
    assert audit.error["code"] == code
    assert audit.error["status"] == 502
    assert SECRET not in str(audit.error)


def test_a_server_says_when_it_wants_to_be_asked_again(egress: Egress, authority: Authority) -> None:
    busy = in_turn(
        reply(429, headers={"Retry-After": "120"}), reply(503, headers={"Retry-After": "9999999"}), reply(200, RUN)
    )
    with outside(busy, authority.tls) as server:
        submitted = egress.submit(here(server))
        for seconds in (120, 600):
            assert egress.work()
            pause = rows.job_of(egress.engine, submitted).run_after - datetime.now(UTC)
            assert timedelta(seconds=seconds - 2) < pause < timedelta(seconds=seconds * 1.1)
            egress.due_now()
        assert egress.work()
    assert rows.audit_of(egress.engine, submitted).state == "queued"


def test_what_was_fetched_is_not_fetched_again(egress: Egress, authority: Authority) -> None:
    answers = chosen({"/run.zip": reply(200, RUN), "/data.zip": in_turn(reply(500), reply(200, b"data"))})
    with outside(answers, authority.tls) as server:
        submitted = egress.submit(here(server, "/run.zip"), here(server, "/data.zip"))
        assert egress.work()
        assert egress.uses(submitted)["run"].url is None
        assert egress.uses(submitted)["data"].artifact_id is None
        egress.due_now()
        assert egress.work()
    assert server.targets == ["/run.zip", "/data.zip", "/data.zip"]
    assert rows.audit_of(egress.engine, submitted).state == "queued"


def test_an_error_names_the_url_that_it_is_about(egress: Egress, authority: Authority) -> None:
    with outside(chosen({"/run.zip": reply(200, RUN)}), authority.tls) as server:
        problem = egress.outcome(here(server, "/run.zip"), here(server, "/data.zip"))
    assert problem["errors"][0]["pointer"] == "/data/url"


def test_settings_that_changed_since_the_request_are_kept_to(egress: Egress) -> None:
    assert egress.outcome("http://127.0.0.1/run.zip")["code"] == "url_not_allowed"
    assert egress.outcome("s3://others/run.zip")["code"] == "source_not_configured"
    assert egress.outcome("https://127.0.0.2/run.zip")["code"] == "address_not_allowed"
    assert egress.outcome("https://[::1]/run.zip")["code"] == "address_not_allowed"


def in_the_background(egress: Egress) -> threading.Thread:
    thread = threading.Thread(target=egress.work)
    thread.start()
    return thread


def test_progress_is_told_and_a_cancellation_heard(egress: Egress, authority: Authority) -> None:
    with outside(slow(b"x" * 1000), authority.tls) as server:
        submitted = egress.submit(here(server))
        working = in_the_background(egress)
        wait_until(lambda: rows.audit_of(egress.engine, submitted).progress_done > 0, what="progress")
        audit = rows.audit_of(egress.engine, submitted)
        assert (audit.state, audit.progress_stage, audit.progress_total) == ("fetching", "fetching", 100_000)
        rows.request_cancel(egress.engine, submitted)
        working.join(10)
    assert rows.audit_of(egress.engine, submitted).state == "cancelled"
    assert rows.events_of(egress.engine, submitted) == ["audit.queued", "audit.cancelled"]


def test_a_worker_that_stops_hands_the_job_back(egress: Egress, authority: Authority) -> None:
    with outside(slow(b"x"), authority.tls) as server:
        submitted = egress.submit(here(server))
        working = in_the_background(egress)
        wait_until(lambda: len(server.heads) == 1, what="the request")
        egress.workshop.stop_now()
        working.join(10)
    audit, job = rows.audit_of(egress.engine, submitted), rows.job_of(egress.engine, submitted)
    assert (audit.state, audit.attempt, job.state, job.attempt) == ("fetching", 0, "queued", 0)


def test_a_lost_worker_costs_an_attempt_and_writes_nothing(egress: Egress, authority: Authority) -> None:
    with outside(slow(b"x"), authority.tls) as server:
        submitted = egress.submit(here(server), max_attempts=2)
        working = in_the_background(egress)
        wait_until(lambda: len(server.heads) == 1, what="the request")
        for state in ("fetching", "failed"):
            rows.let_lease_expire(egress.engine, submitted)
            wait_until(lambda: queue.reap(egress.engine, {"code": "worker_lost"}) != queue.Settled(), what="reaping")
            assert rows.audit_of(egress.engine, submitted).state == state
            queue.claim(egress.engine, ["egress"], "another", 60)
        working.join(10)
    assert not working.is_alive()
    assert [job.state for job in egress.jobs(submitted.audit_id)] == ["failed"]
    assert egress.uses(submitted)["run"].artifact_id is None


def test_the_url_is_told_nowhere(
    egress: Egress, authority: Authority, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    for answer in (reply(404), reply(500), redirect(f"/next?{SECRET}"), reply(200, RUN), slow(b"")):
        with outside(in_turn(answer, reply(404)), authority.tls) as server:
            egress.submit(here(server), max_attempts=1)
            if answer is not None and egress.workshop.stopping is False:
                working = in_the_background(egress)
                working.join(2)
                if working.is_alive():
                    egress.workshop.stop_now()
                    working.join(5)
    with Session(egress.engine) as session:
        events = [event.data for event in session.scalars(select(Event))]
        jobs = [(job.payload, job.last_error) for job in session.scalars(select(Job))]
    seen = caplog.text + str(capfd.readouterr()) + str(events) + str(jobs)
    assert "127.0.0.1" in seen
    assert SECRET not in seen


def test_a_worker_process_of_the_egress_queue(
    workplace: Workplace, egress: Egress, authority: Authority, fetch_settings: dict[str, Any]
) -> None:
    workplace.extra = {"RUNAUDIT_FETCH_ALLOW_CIDRS": "127.0.0.1", "RUNAUDIT_FETCH_CA_FILE": str(authority.pem)}
    with outside(reply(200, RUN), authority.tls) as server, workplace.egress_worker():
        submitted = egress.submit(here(server))
        egress.bell.ring("egress")
        wait_until(lambda: rows.audit_of(egress.engine, submitted).state == "queued", seconds=30, what="fetching")
    assert SECRET not in workplace.log("egress")


def test_claims_of_other_queues_leave_fetching_alone(egress: Egress) -> None:
    egress.submit("https://127.0.0.1/run.zip")
    assert queue.claim(egress.engine, ["cpu", "gpu"], "another", 60) is None
    assert queue.due_counts(egress.engine)["egress"].jobs == 1
    with egress.engine.connect() as connection:
        assert connection.execute(text("SELECT state FROM audits")).scalar_one() == "fetching"
