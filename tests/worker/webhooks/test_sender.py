"""The sender against real receivers over HTTP: what arrives, when it is tried again, and who waits for whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from standardwebhooks import Webhook, WebhookVerificationError

from runaudit_service.store import queue, signing
from tests.conftest import wait_until
from tests.worker.rows import submit
from tests.worker.webhooks import rows
from tests.worker.webhooks.receiver import Received, Receiver, Reply
from tests.worker.webhooks.sending import sending
from tests.worker.webhooks.test_events import RESULT

DELAYS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


def verified(secret: str, one: Received) -> dict[str, object]:
    """The message, if an independent implementation takes its signature."""
    message: dict[str, object] = Webhook(secret).verify(one.body, one.headers)
    return message


def ended(engine: Engine, *delivery_ids: UUID) -> bool:
    """Whether nothing of these is to be sent any more."""
    query = text("SELECT count(*) FROM webhook_deliveries WHERE id = ANY(:ids) AND ended_at IS NOT NULL")
    with engine.connect() as connection:
        return bool(connection.execute(query, {"ids": list(delivery_ids)}).scalar_one() == len(delivery_ids))


def attempted(engine: Engine, delivery_id: UUID, times: int) -> None:
    """Waits until so many attempts are written down."""
    wait_until(lambda: len(rows.attempts(engine, delivery_id)) >= times, seconds=60, what=f"attempt {times}")


def test_events_arrive_signed_when_they_happen(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What arrives before that was not looked for: the database woke the sender.
    monkeypatch.setattr("runaudit_worker.sender.LOOK_SECONDS", 600.0)
    made = rows.endpoint(engine, receiver.url("/hook?token=1"))
    with sending(engine, fresh_postgres_url):
        submitted = submit(engine)
        claim = queue.claim(engine, ["cpu"], "worker", 60)
        assert claim is not None
        assert queue.succeed(engine, claim, RESULT)
        wait_until(lambda: len(receiver.received) == 3, seconds=60)
        wait_until(lambda: ended(engine, *(one.id for one in rows.deliveries(engine))))
    messages = [verified(made.secret, one) for one in receiver.received]
    assert sorted(message["type"] for message in messages) == ["audit.queued", "audit.started", "audit.succeeded"]  # type: ignore[type-var]
    assert {one.path for one in receiver.received} == {"/hook?token=1"}
    assert {message["data"]["id"] for message in messages} == {str(submitted.audit_id)}  # type: ignore[index]
    ids = [one.headers["webhook-id"] for one in receiver.received]
    assert len(set(ids)) == 3
    assert all(one.startswith("msg_") and "." not in one for one in ids)
    for delivery in rows.deliveries(engine):
        (attempt,) = rows.attempts(engine, delivery.id)
        assert (delivery.state, delivery.attempts, attempt.status, attempt.error) == ("succeeded", 1, 204, None)
        sent = next(one for one in receiver.received if one.headers["webhook-id"] == delivery.message_id)
        assert sent.body.decode() == delivery.body
    with pytest.raises(WebhookVerificationError):
        verified(signing.new_secret(), receiver.received[0])


def test_a_callback_is_signed_with_the_projects_secret(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver
) -> None:
    submitted = submit(engine)
    rows.callback(engine, submitted.audit_id, receiver.url("/callback"))
    with engine.connect() as connection:
        secret = connection.execute(text("SELECT signing_secret FROM projects")).scalar_one()
    claim = queue.claim(engine, ["cpu"], "worker", 60)
    assert claim is not None
    queue.fail(engine, claim, {"code": "run_not_found", "detail": "No run."})
    old = signing.new_secret()
    with engine.begin() as connection:
        rotated = text(
            "UPDATE projects SET previous_signing_secret = :old, "
            "previous_signing_secret_expires_at = now() + interval '1 hour'"
        )
        connection.execute(rotated, {"old": old})
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: len(receiver.received) == 2, seconds=60)
    messages = [verified(secret, one) for one in receiver.received]
    assert messages == [verified(old, one) for one in receiver.received]
    assert {message["type"] for message in messages} == {"audit.started", "audit.failed"}


def test_during_a_rotation_both_secrets_sign(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    now = datetime.now(UTC)
    old, older = signing.new_secret(), signing.new_secret()
    rotated = rows.endpoint(
        engine, receiver.url("/a"), previous_secret=old, previous_secret_expires_at=now + timedelta(hours=1)
    )
    done = rows.endpoint(
        engine, receiver.url("/b"), previous_secret=older, previous_secret_expires_at=now - timedelta(seconds=1)
    )
    rows.message(engine, rotated)
    rows.message(engine, done)
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: len(receiver.received) == 2, seconds=60)
    (first,), (second,) = receiver.at("/a"), receiver.at("/b")
    assert verified(rotated.secret, first) == verified(old, first) == {"type": "audit.succeeded"}
    assert verified(done.secret, second)
    with pytest.raises(WebhookVerificationError):
        verified(older, second)


def test_the_schedule_from_the_first_attempt_to_the_last(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver
) -> None:
    receiver.replies["/down"] = Reply(500, body=b"out of \x00 order " + b"x" * 3000)
    made = rows.endpoint(engine, receiver.url("/down"))
    (one,) = rows.message(engine, made)
    with sending(engine, fresh_postgres_url):
        for number, delay in enumerate(DELAYS, start=1):
            attempted(engine, one, number)
            waiting = rows.delivery_now(engine, one)
            assert (waiting.state, waiting.attempts) == ("pending", number)
            assert waiting.next_attempt_at is not None
            last = rows.attempts(engine, one)[-1]
            pause = (waiting.next_attempt_at - last.started_at).total_seconds()
            assert delay <= pause <= 1.2 * delay + 5
            # Failing for so long disables the endpoint, which is another test's.
            with engine.begin() as connection:
                connection.execute(text("UPDATE webhook_endpoints SET failing_since = NULL"))
            rows.let_time_pass(engine, timedelta(seconds=1.2 * delay + 1))
        attempted(engine, one, 10)
        wait_until(lambda: ended(engine, one))
        time.sleep(0.1)
    over = rows.delivery_now(engine, one)
    assert (over.state, over.attempts, over.next_attempt_at) == ("failed", 10, None)
    assert len(receiver.received) == 10
    assert {one.headers["webhook-id"] for one in receiver.received} == {over.message_id}
    assert len({one.body for one in receiver.received}) == 1
    for attempt in rows.attempts(engine, one):
        assert attempt.status == 500
        assert attempt.response is not None
        assert attempt.response.startswith("out of \ufffd order")
        assert len(attempt.response.encode()) <= 1026  # the character in place of NUL has three bytes


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_receiver_may_ask_for_a_longer_pause(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, status: int, form: str
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    receiver.replies["/busy"] = Reply(status, {"Retry-After": "600" if form == "seconds" else date})
    receiver.replies["/broken"] = Reply(500, {"Retry-After": "600"})
    busy, broken = (rows.endpoint(engine, receiver.url(path)) for path in ("/busy", "/broken"))
    (first,), (second,) = rows.message(engine, busy), rows.message(engine, broken)
    with sending(engine, fresh_postgres_url):
        attempted(engine, first, 1)
        attempted(engine, second, 1)
    now = datetime.now(UTC)
    asked, planned = (rows.delivery_now(engine, one).next_attempt_at for one in (first, second))
    assert asked is not None
    assert planned is not None
    assert 590 < (asked - now).total_seconds() < 605
    assert (planned - now).total_seconds() < 7


def test_an_endpoint_that_is_gone_is_disabled(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    receiver.replies["/gone"] = Reply(410)
    made = rows.endpoint(engine, receiver.url("/gone"))
    first, *others = rows.message(engine, made, 3)
    with engine.begin() as connection:
        later = text("UPDATE webhook_deliveries SET next_attempt_at = now() + interval '1 hour' WHERE id <> :id")
        connection.execute(later, {"id": first})
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: ended(engine, first, *others), seconds=60)
    states = sorted(rows.delivery_now(engine, one).state for one in (first, *others))
    assert states == ["failed", "skipped", "skipped"]
    assert len(receiver.received) == 1
    now = rows.endpoint_now(engine, made)
    assert now.disabled_at is not None
    assert now.disabled_reason == "gone: it answered 410"


def test_failing_for_days_disables_an_endpoint_and_a_success_in_between_does_not(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver
) -> None:
    receiver.replies["/down"] = Reply(500)
    made = rows.endpoint(engine, receiver.url("/down"))
    (one,) = rows.message(engine, made)
    with sending(engine, fresh_postgres_url):
        attempted(engine, one, 1)
        assert rows.endpoint_now(engine, made).failing_since is not None
        receiver.replies["/down"] = Reply(200)
        rows.let_time_pass(engine, timedelta(days=6))
        attempted(engine, one, 2)
        wait_until(lambda: ended(engine, one))
        assert rows.endpoint_now(engine, made).failing_since is None

        receiver.replies["/down"] = Reply(500)
        (second,) = rows.message(engine, made)
        attempted(engine, second, 1)
        rows.let_time_pass(engine, timedelta(days=4.9))
        attempted(engine, second, 2)
        assert rows.endpoint_now(engine, made).disabled_at is None
        rows.let_time_pass(engine, timedelta(days=0.2))
        attempted(engine, second, 3)
        wait_until(lambda: ended(engine, second))
    now = rows.endpoint_now(engine, made)
    assert now.disabled_reason == "failing for 5 days"
    assert rows.delivery_now(engine, second).state == "skipped"


def test_redirects_are_not_followed(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    receiver.replies["/moved"] = Reply(307, {"Location": receiver.url("/elsewhere")})
    (one,) = rows.message(engine, rows.endpoint(engine, receiver.url("/moved")))
    with sending(engine, fresh_postgres_url):
        attempted(engine, one, 1)
    (attempt,) = rows.attempts(engine, one)
    assert (attempt.status, attempt.error) == (307, "redirect_not_followed")
    assert receiver.at("/elsewhere") == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:{port}/", "address_not_allowed"),
        ("http://localhost:{port}/", "address_not_allowed"),
        ("http://[::1]:{port}/", "address_not_allowed"),
        ("http://169.254.169.254/latest/meta-data", "address_not_allowed"),
        ("http://user:secret@example.com/", "url_not_allowed"),
    ],
)
def test_private_addresses_are_not_reached(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, url: str, error: str
) -> None:
    (one,) = rows.message(engine, rows.endpoint(engine, url.format(port=receiver.port)))
    with sending(engine, fresh_postgres_url, allow=""):
        attempted(engine, one, 1)
    (attempt,) = rows.attempts(engine, one)
    assert (attempt.status, attempt.error, attempt.response) == (None, error, None)
    assert receiver.received == []


def test_http_is_for_those_who_allow_it(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    (one,) = rows.message(engine, rows.endpoint(engine, receiver.url()))
    with sending(engine, fresh_postgres_url, allow_http=False):
        attempted(engine, one, 1)
    assert [attempt.error for attempt in rows.attempts(engine, one)] == ["url_not_allowed"]
    assert receiver.received == []


def test_slow_and_dead_receivers_delay_no_other(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a machine that is busy makes the quick receiver a slow one.
    monkeypatch.setattr("runaudit_worker.webhooks.attention.QUICK_SECONDS", 30.0)
    first_end, rest_end = threading.Event(), threading.Event()

    def slowly(_one: Received) -> Reply:
        return Reply(500, until=first_end if len(receiver.at("/slow")) <= 20 else rest_end)

    receiver.replies["/slow"] = slowly
    slow = [rows.endpoint(engine, receiver.url("/slow")) for _ in range(40)]
    dead = rows.endpoint(engine, "http://127.0.0.1:1/")
    quick = rows.endpoint(engine, receiver.url("/quick"))
    late = rows.endpoint(engine, receiver.url("/late"))
    rows.message(engine, quick)
    with sending(engine, fresh_postgres_url, seconds=300):
        # A place is earned by an answer.
        wait_until(lambda: len(receiver.at("/quick")) == 1, seconds=60)
        for one in slow:
            rows.message(engine, one, 5)
        rows.message(engine, dead, 50)
        wait_until(lambda: len(receiver.at("/slow")) >= 31, seconds=60)
        rows.message(engine, quick, 50)
        wait_until(lambda: len(receiver.at("/quick")) == 51, seconds=60)
        # No place of a slow one became free for that: they have half of them, one each, and hold them.
        assert 31 <= len(receiver.at("/slow")) <= 32
        # One that never answered before waits until a place of the slow ones is free, however much waits for those.
        rows.message(engine, late)
        time.sleep(1)
        assert receiver.at("/late") == []
        first_end.set()
        wait_until(lambda: len(receiver.at("/late")) == 1, seconds=60)
        assert len(receiver.at("/slow")) < 80
        rest_end.set()


def test_a_receiver_out_of_time_is_tried_again(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    receiver.replies["/slow"] = Reply(seconds=5)
    (one,) = rows.message(engine, rows.endpoint(engine, receiver.url("/slow")))
    with sending(engine, fresh_postgres_url, seconds=0.3):
        attempted(engine, one, 1)
    (attempt,) = rows.attempts(engine, one)
    assert (attempt.status, attempt.error) == (None, "too_slow")
    assert 0.25 < attempt.seconds < 4.5
    assert rows.delivery_now(engine, one).state == "pending"


def test_a_ping_is_sent_once_and_says_nothing_about_audits(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver
) -> None:
    receiver.replies["/down"] = Reply(500)
    up, down = rows.endpoint(engine, receiver.url("/up")), rows.endpoint(engine, receiver.url("/down"))
    pings = [rows.ping(engine, one) for one in (up, down)]
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: ended(engine, *pings), seconds=60)
    assert [rows.delivery_now(engine, one).state for one in pings] == ["succeeded", "failed"]
    message = verified(up.secret, receiver.at("/up")[0])
    assert (message["type"], message["data"]) == ("ping", {"webhook_id": str(up.id)})
    assert rows.endpoint_now(engine, down).failing_since is None


def sender_process(database_url: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RUNAUDIT_DATABASE_URL": database_url,
        "RUNAUDIT_WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
        "RUNAUDIT_WEBHOOK_ALLOW_HTTP": "true",
    }
    command = [sys.executable, "-m", "runaudit_worker.sender"]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


def test_a_killed_sender_leaves_nothing_unsent_and_no_secret_in_its_log(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.replies["/hook?token=in-the-url"] = Reply(seconds=30)
    made = rows.endpoint(engine, receiver.url("/hook?token=in-the-url"))
    (one,) = rows.message(engine, made)
    log = tmp_path / "sender.log"
    with sender_process(fresh_postgres_url, log) as first:
        wait_until(lambda: len(receiver.received) == 1, seconds=30)
        first.send_signal(signal.SIGKILL)
    held = rows.delivery_now(engine, one)
    assert (held.state, held.attempts, held.fence) == ("sending", 0, 1)

    receiver.replies["/hook?token=in-the-url"] = Reply(500, body=b"no")
    with sender_process(fresh_postgres_url, log) as second:
        # The lease still holds, whoever asks.
        time.sleep(1.5)
        assert len(receiver.received) == 1
        rows.let_time_pass(engine, timedelta(seconds=31))
        attempted(engine, one, 1)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
    before, after = receiver.received
    assert before.headers["webhook-id"] == after.headers["webhook-id"]
    assert before.body == after.body
    assert rows.delivery_now(engine, one).fence == 2
    said = log.read_text()
    assert "sender begins" in said
    assert f"delivery {one} to http://127.0.0.1:{receiver.port}: 500" in said
    assert made.secret not in said
    assert "in-the-url" not in said


def test_told_to_stop_a_sender_gives_back_what_it_can_not_finish(
    engine: Engine, fresh_postgres_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runaudit_worker.sender.STOP_SECONDS", 0.2)
    receiver.replies["/slow"] = Reply(seconds=30)
    (one,) = rows.message(engine, rows.endpoint(engine, receiver.url("/slow")))
    with sending(engine, fresh_postgres_url, seconds=15):
        wait_until(lambda: len(receiver.received) == 1, seconds=60)
    back = rows.delivery_now(engine, one)
    assert (back.state, back.attempts) == ("pending", 0)
    assert back.next_attempt_at is not None
    assert back.next_attempt_at <= datetime.now(UTC)


def test_two_senders_send_nothing_twice(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    made = [rows.endpoint(engine, receiver.url(f"/{number}")) for number in range(4)]
    with sending(engine, fresh_postgres_url), sending(engine, fresh_postgres_url):
        sent = [delivery for one in made for delivery in rows.message(engine, one, 50)]
        wait_until(lambda: ended(engine, *sent), seconds=60)
    ids = [one.headers["webhook-id"] for one in receiver.received]
    assert len(ids) == len(set(ids)) == 200


def test_people_are_told_in_their_channels(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    for name in ("slack", "teams"):
        rows.endpoint(engine, receiver.url(f"/{name}"), format=name, events=["audit.succeeded"])
    submitted = submit(engine)
    claim = queue.claim(engine, ["cpu"], "worker", 60)
    assert claim is not None
    queue.succeed(engine, claim, RESULT)
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: len(receiver.received) == 2, seconds=60)
    (slack,), (teams,) = receiver.at("/slack"), receiver.at("/teams")
    for one in (slack, teams):
        assert f"https://audits.example.com/v1/audits/{submitted.audit_id}/report?format=html" in one.body.decode()
    assert json.loads(slack.body)["blocks"][0]["type"] == "header"
    assert json.loads(teams.body)["attachments"][0]["content"]["type"] == "AdaptiveCard"


def test_old_deliveries_are_forgotten(engine: Engine, fresh_postgres_url: str, receiver: Receiver) -> None:
    made = rows.endpoint(engine, receiver.url("/"))
    old, new = rows.message(engine, made, 2)
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: ended(engine, old, new), seconds=60)
    with engine.begin() as connection:
        long_ago = text("UPDATE webhook_deliveries SET ended_at = now() - interval '31 days' WHERE id = :id")
        connection.execute(long_ago, {"id": old})
    with sending(engine, fresh_postgres_url):
        wait_until(lambda: len(rows.deliveries(engine)) == 1, seconds=60)
    assert [one.id for one in rows.deliveries(engine)] == [new]
    assert rows.attempts(engine, old) == []
