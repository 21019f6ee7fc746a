"""Webhooks over HTTP: endpoints, secrets, deliveries, callbacks, and that nobody sees another's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from runaudit_service.api.app import create_app
from runaudit_service.api.webhooks.service import MAX_WEBHOOKS
from runaudit_service.store import queue
from runaudit_service.store.models import Project
from runaudit_service.store.settings import Settings
from runaudit_service.store.webhooks import WebhookDelivery
from tests.conftest import wait_until
from tests.service.clients import Api, claim, code_of
from tests.service.conftest import Owner
from tests.worker.webhooks.receiver import Receiver, Reply, receiving
from tests.worker.webhooks.sending import sending

URL = "https://ci.example.com/hook?token=1"
RESULT = queue.Result("fail", "It learns too fast.", ["learning_rate"], "ultralytics", "1", "{}")
SHOWN = {
    "id",
    "url",
    "events",
    "format",
    "project",
    "enabled",
    "disabled_at",
    "disabled_reason",
    "failing_since",
    "previous_secret_expires_at",
    "created_at",
}


@pytest.fixture
def settings(postgres_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=postgres_url,
        broker_url=valkey_url,
        data_dir=tmp_path / "data",
        webhook_allow_cidrs="127.0.0.0/8",
        webhook_allow_http=True,
    )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def create(api: Api, url: str = URL, events: tuple[str, ...] = ("audit.succeeded",), **more: Any) -> dict[str, Any]:
    response = api.post("/v1/webhooks", json={"url": url, "events": list(events), **more})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def deliveries(api: Api, webhook: dict[str, Any], **filters: Any) -> list[dict[str, Any]]:
    response = api.get(f"/v1/webhooks/{webhook['id']}/deliveries", params=filters)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def succeed(engine: Engine, audit: dict[str, Any]) -> None:
    assert queue.succeed(engine, claim(engine, audit["id"]), RESULT)


def test_a_secret_is_shown_once(api: Api) -> None:
    made = create(api, events=("audit.failed", "audit.queued", "audit.failed"))
    assert made.keys() == SHOWN | {"secret"}
    assert made["secret"].startswith("whsec_")
    Webhook(made["secret"])
    assert made["events"] == ["audit.queued", "audit.failed"]
    assert (made["format"], made["project"], made["enabled"]) == ("standard", None, True)
    (listed,) = api.get("/v1/webhooks").json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert made["secret"] not in api.get(f"/v1/webhooks/{made['id']}/deliveries").text
    rotated = api.post(f"/v1/webhooks/{made['id']}/rotate-secret").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_expires_at"] is not None
    assert rotated["secret"] not in api.get("/v1/webhooks").text


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://10.0.0.1/", "url_not_allowed"),
        ("https://169.254.169.254/latest", "url_not_allowed"),
        ("https://[::1]/", "url_not_allowed"),
        ("https://[::ffff:127.0.0.1]/", "url_not_allowed"),
        ("https://[64:ff9b::a9fe:a9fe]/", "url_not_allowed"),
        ("https://2130706433/", "url_not_allowed"),
        ("https://0x7f.1/", "url_not_allowed"),
        ("https://93.184.216.34:22/", "url_not_allowed"),
        ("https://user:password@example.com/", "url_not_allowed"),
        ("https://example.com/#fragment", "url_not_allowed"),
        ("https://example.com/\r\nX: 1", "url_not_allowed"),
        ("ftp://example.com/", "url_not_allowed"),
        ("file:///etc/passwd", "url_not_allowed"),
        ("nonsense", "url_not_allowed"),
        ("", "invalid_request"),
    ],
)
def test_urls_that_lead_nowhere_good_are_refused(api: Api, url: str, code: str) -> None:
    made = create(api)
    for response, place in (
        (api.post("/v1/webhooks", json={"url": url, "events": ["audit.failed"]}), "/url"),
        (api.request("PATCH", f"/v1/webhooks/{made['id']}", json={"url": url}), "/url"),
    ):
        assert (response.status_code, code_of(response)) == (422, code)
        assert response.json()["errors"][0]["pointer"] == place
    if url:
        called = api.submit(callback_url=url)
        assert (called.status_code, code_of(called)) == (422, code)
        assert called.json()["errors"][0]["pointer"] == "/callback_url"
    assert [one["url"] for one in api.get("/v1/webhooks").json()["items"]] == [URL]


def test_without_settings_neither_http_nor_this_machine_is_allowed(
    settings: Settings, owner: Owner, runner: Any
) -> None:
    plain = settings.model_copy(update={"webhook_allow_cidrs": "", "webhook_allow_http": False})
    with Api(create_app(plain), runner, owner.key) as api:
        for url in ("http://example.com/", "https://127.0.0.1/", "https://localhost/", "https://example.com:8443/"):
            response = api.post("/v1/webhooks", json={"url": url, "events": ["audit.failed"]})
            assert (response.status_code, code_of(response)) == (422, "url_not_allowed"), url
        assert api.post("/v1/webhooks", json={"url": "https://example.com/", "events": ["ping"]}).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"url": URL}, 422, "invalid_request"),
        ({"url": URL, "events": []}, 422, "invalid_request"),
        ({"url": URL, "events": ["audit.exploded"]}, 422, "invalid_request"),
        ({"url": URL, "events": ["ping"], "format": "fax"}, 422, "invalid_request"),
        ({"url": URL, "events": ["ping"], "colour": "red"}, 422, "invalid_request"),
        ({"url": URL, "events": ["ping"], "project": "other"}, 404, "project_not_found"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    response = api.post("/v1/webhooks", json=body)
    assert (response.status_code, code_of(response)) == (status, code)


def test_what_is_not_named_stays(api: Api) -> None:
    made = create(api, project="default", format="slack")
    path = f"/v1/webhooks/{made['id']}"
    assert api.request("PATCH", path, json={}).json()["format"] == "slack"
    changed = api.request("PATCH", path, json={"events": ["audit.failed"], "project": None}).json()
    assert (changed["events"], changed["project"], changed["url"]) == (["audit.failed"], None, URL)
    assert code_of(api.request("PATCH", path, json={"url": None})) == "invalid_request"
    assert code_of(api.request("PATCH", path, json={"events": []})) == "invalid_request"
    assert api.delete(path).status_code == 204
    assert code_of(api.delete(path)) == "webhook_not_found"


def test_there_is_an_end_to_webhooks(api: Api, owner: Owner, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_endpoints (id, tenant_id, url, events, secret) "
                "SELECT gen_random_uuid(), :tenant, 'https://example.com', '{}', 's' FROM generate_series(1, :number)"
            ),
            {"tenant": owner.tenant.id, "number": MAX_WEBHOOKS},
        )
    response = api.post("/v1/webhooks", json={"url": URL, "events": ["ping"]})
    assert (response.status_code, code_of(response)) == (409, "too_many_webhooks")


def test_submitting_and_cancelling_write_deliveries(api: Api) -> None:
    made = create(api, events=("audit.queued", "audit.cancelled"))
    audit = api.submit().json()
    cancelled = api.post(f"/v1/audits/{audit['id']}/cancel").json()
    found = deliveries(api, made)
    assert [(one["type"], one["audit_id"], one["state"]) for one in found] == [
        ("audit.cancelled", audit["id"], "pending"),
        ("audit.queued", audit["id"], "pending"),
    ]
    again = api.post(f"/v1/audits/{audit['id']}/rerun").json()
    newest = deliveries(api, made)[0]
    assert (newest["type"], newest["audit_id"]) == ("audit.queued", again["id"])
    assert cancelled["state"] == "cancelled"


def test_from_the_request_to_the_receiver(
    api: Api, engine: Engine, postgres_url: str, receiver: Receiver, owner: Owner
) -> None:
    """The data of an event is the audit, to the byte as it is asked for; a callback is signed by the project."""
    made = create(api, receiver.url("/hook"), ("audit.queued", "audit.succeeded"))
    with sending(engine, postgres_url):
        audit = api.submit(run_name="a run", labels={"branch": "main"}, callback_url=receiver.url("/back")).json()
        wait_until(lambda: len(receiver.received) == 2)
        succeed(engine, audit)
        wait_until(lambda: len(receiver.at("/hook")) == 2 and len(receiver.at("/back")) == 3)
        asked = api.get(f"/v1/audits/{audit['id']}").text
        wait_until(lambda: {one["state"] for one in deliveries(api, made)} == {"succeeded"})
    verifier = Webhook(made["secret"])
    messages = {
        message["type"]: (message, one)
        for one in receiver.at("/hook")
        for message in [verifier.verify(one.body, one.headers)]
    }
    queued, succeeded = messages["audit.queued"][0], messages["audit.succeeded"][0]
    assert queued["data"] == audit
    assert (succeeded["data"]["verdict"], succeeded["data"]["headline"]) == ("fail", "It learns too fast.")
    assert messages["audit.succeeded"][1].body.decode().endswith(f'"data":{asked}}}')
    assert succeeded["timestamp"].endswith("Z")
    with Session(engine) as session:
        secret = session.scalars(select(Project.signing_secret).where(Project.id == owner.project.id)).one()
    assert secret is not None
    types = {Webhook(secret).verify(one.body, one.headers)["type"] for one in receiver.at("/back")}
    assert types == {"audit.queued", "audit.started", "audit.succeeded"}
    # One event has one id, whoever is told of it.
    back = {one.headers["webhook-id"] for one in receiver.at("/back")}
    assert {one.headers["webhook-id"] for one in receiver.at("/hook")} < back
    (told, _) = deliveries(api, made)
    (attempt,) = told["attempts"]
    assert (told["attempt"], attempt["status"], attempt["error"], told["next_attempt_at"]) == (1, 204, None, None)
    assert told["body"] == messages["audit.succeeded"][1].body.decode()


def test_the_same_run_again_calls_its_new_callback_too(api: Api, engine: Engine, owner: Owner) -> None:
    audit = api.submit(b"the same").json()
    first = "https://example.com/first"
    while_it_waits = api.submit(b"the same", callback_url=first)
    assert (while_it_waits.status_code, while_it_waits.json()["id"]) == (200, audit["id"])
    succeed(engine, audit)
    second = "https://example.com/second"
    for _ in range(2):
        assert api.submit(b"the same", callback_url=second).status_code == 200
    with Session(engine) as session:
        query = select(WebhookDelivery.url, WebhookDelivery.type).where(
            WebhookDelivery.tenant_id == owner.tenant.id, WebhookDelivery.endpoint_id.is_(None)
        )
        found = sorted(tuple(row) for row in session.execute(query))
    assert found == [(first, "audit.started"), (first, "audit.succeeded"), (second, "audit.succeeded")]


def test_what_a_callback_was_told_is_seen_and_told_again(
    api: Api, engine: Engine, postgres_url: str, receiver: Receiver
) -> None:
    """Nobody made an endpoint for it, so that the log is that of the audit."""
    receiver.replies["/back"] = Reply(410, body=b"moved")
    audit = api.submit(b"called back", callback_url=receiver.url("/back")).json()
    other = api.submit(b"another", callback_url=receiver.url("/other")).json()
    log, of_other = (f"/v1/audits/{one['id']}/deliveries" for one in (audit, other))
    create(api, receiver.url("/hook"), ("audit.queued",))

    def told() -> dict[str, Any]:
        (one,) = api.get(log).json()["items"]
        return dict(one)

    with sending(engine, postgres_url):
        wait_until(lambda: told()["state"] == "failed")
        failed = told()
        assert (failed["url"], failed["type"], failed["audit_id"]) == (
            receiver.url("/back"),
            "audit.queued",
            audit["id"],
        )
        assert [(one["status"], one["response"]) for one in failed["attempts"]] == [(410, "moved")]
        receiver.replies["/back"] = Reply(204)
        again = api.post(f"{log}/{failed['id']}/redeliver")
        assert (again.status_code, again.json()["state"]) == (202, "pending")
        wait_until(lambda: told()["state"] == "succeeded")
    assert {one.headers["webhook-id"] for one in receiver.at("/back")} == {failed["message_id"]}
    assert len(receiver.at("/back")) == 2
    assert code_of(api.post(f"{of_other}/{failed['id']}/redeliver")) == "delivery_not_found"
    assert code_of(api.post(f"{log}/{audit['id']}/redeliver")) == "delivery_not_found"


def test_a_ping_and_what_came_of_it(api: Api, engine: Engine, postgres_url: str, receiver: Receiver) -> None:
    receiver.replies["/hook"] = Reply(418, body=b"I am a teapot")
    made = create(api, receiver.url("/hook"))
    response = api.post(f"/v1/webhooks/{made['id']}/ping")
    assert (response.status_code, response.json()["type"], response.json()["audit_id"]) == (202, "ping", None)
    with sending(engine, postgres_url):
        wait_until(lambda: deliveries(api, made)[0]["state"] == "failed")
    (one,) = deliveries(api, made)
    assert (one["attempts"][0]["status"], one["attempts"][0]["response"]) == (418, "I am a teapot")
    message = Webhook(made["secret"]).verify(receiver.received[0].body, receiver.received[0].headers)
    assert (message["type"], message["data"]) == ("ping", {"webhook_id": made["id"]})


def test_deliveries_are_made_again_one_or_since(
    api: Api, engine: Engine, postgres_url: str, receiver: Receiver
) -> None:
    receiver.replies["/hook"] = Reply(410)
    made = create(api, receiver.url("/hook"), ("audit.queued",))
    path = f"/v1/webhooks/{made['id']}"
    with sending(engine, postgres_url):
        first = api.submit(b"1").json()
        wait_until(lambda: not api.get("/v1/webhooks").json()["items"][0]["enabled"])
        (gone,) = deliveries(api, made)
        assert gone["state"] == "failed"
        # What happens while it is disabled is kept, and told when it is asked for.
        second = api.submit(b"2").json()
        assert [one["audit_id"] for one in deliveries(api, made, state="skipped")] == [second["id"]]
        for call in (f"{path}/deliveries/{gone['id']}/redeliver", f"{path}/ping"):
            assert code_of(api.post(call)) == "webhook_disabled"
        since = {"since": gone["created_at"]}
        assert code_of(api.post(f"{path}/redeliver", json=since)) == "webhook_disabled"

        receiver.replies["/hook"] = Reply(200)
        assert api.request("PATCH", path, json={"enabled": True}).json()["disabled_reason"] is None
        later = {"since": deliveries(api, made)[0]["created_at"]}
        assert api.post(f"{path}/redeliver", json=later).json() == {"redelivered": 1}
        wait_until(lambda: len(receiver.received) == 2)
        assert api.post(f"{path}/redeliver", json=since).json() == {"redelivered": 1}
        wait_until(lambda: len(receiver.received) == 3)
        wait_until(lambda: {one["state"] for one in deliveries(api, made)} == {"succeeded"})
        # One that was taken may be sent again, too.
        again = api.post(f"{path}/deliveries/{gone['id']}/redeliver")
        assert (again.status_code, again.json()["state"]) == (202, "pending")
        wait_until(lambda: len(receiver.received) == 4)
        wait_until(lambda: {one["state"] for one in deliveries(api, made)} == {"succeeded"})
    ids = [one.headers["webhook-id"] for one in receiver.received]
    assert ids[0] == ids[2] == ids[3] == gone["message_id"] != ids[1]
    assert receiver.received[0].body == receiver.received[3].body
    (told,) = [one for one in deliveries(api, made) if one["audit_id"] == first["id"]]
    assert [attempt["status"] for attempt in told["attempts"]] == [410, 200, 200]


def test_what_is_sent_at_this_moment_can_not_be_sent_again(api: Api, engine: Engine) -> None:
    made = create(api)
    ping = api.post(f"/v1/webhooks/{made['id']}/ping").json()
    with engine.begin() as connection:
        sending_now = text("UPDATE webhook_deliveries SET state = 'sending' WHERE id = :id")
        connection.execute(sending_now, {"id": ping["id"]})
    response = api.post(f"/v1/webhooks/{made['id']}/deliveries/{ping['id']}/redeliver")
    assert (response.status_code, code_of(response)) == (409, "delivery_being_sent")
    assert deliveries(api, made)[0]["next_attempt_at"] is None


def test_disabling_skips_what_waits(api: Api) -> None:
    made = create(api, events=("audit.queued",))
    api.submit()
    disabled = api.request("PATCH", f"/v1/webhooks/{made['id']}", json={"enabled": False}).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "disabled over the API")
    assert [one["state"] for one in deliveries(api, made)] == ["skipped"]


def test_pages_of_deliveries(api: Api) -> None:
    made, other = create(api), create(api)
    for _ in range(5):
        api.post(f"/v1/webhooks/{made['id']}/ping")
    path = f"/v1/webhooks/{made['id']}/deliveries"
    seen: list[str] = []
    token = ""
    for expected in (2, 2, 1):
        page = api.get(path, params={"page_size": 2, "page_token": token}).json()
        assert len(page["items"]) == expected
        seen += [one["id"] for one in page["items"]]
        token = page["next_page_token"]
    assert token == ""
    assert seen == [one["id"] for one in deliveries(api, made)]
    assert len(set(seen)) == 5
    token = api.get(path, params={"page_size": 2}).json()["next_page_token"]
    for wrong in (
        api.get(path, params={"page_token": token, "state": "failed"}),
        api.get(f"/v1/webhooks/{other['id']}/deliveries", params={"page_token": token}),
    ):
        assert code_of(wrong) == "page_token_invalid"
    assert deliveries(api, made, state="failed") == []
    assert deliveries(api, made, type="audit.failed") == []
    newest = deliveries(api, made)[0]["created_at"]
    assert len(deliveries(api, made, created_before=newest)) == 4
    assert deliveries(api, made, created_after=newest) == []


def test_another_tenant_sees_and_changes_nothing(
    api: Api, client_of: Callable[[str | None], Api], new_owner: Callable[..., Owner], app: FastAPI
) -> None:
    made = create(api, events=("audit.queued",))
    audit = api.submit().json()
    (delivery,) = deliveries(api, made)
    stranger = client_of(new_owner().key)
    own = create(stranger, "https://example.com/own", ("audit.queued",))
    path, nothing = f"/v1/webhooks/{made['id']}", str(uuid.uuid4())
    for method, call, body in (
        ("PATCH", path, {"enabled": False}),
        ("DELETE", path, None),
        ("POST", f"{path}/ping", None),
        ("POST", f"{path}/rotate-secret", None),
        ("GET", f"{path}/deliveries", None),
        ("POST", f"{path}/redeliver", {"since": "2026-01-01T00:00:00Z"}),
        ("POST", f"{path}/deliveries/{delivery['id']}/redeliver", None),
    ):
        foreign = stranger.request(method, call, json=body)
        assert (foreign.status_code, code_of(foreign)) == (404, "webhook_not_found"), call
        unknown = stranger.request(method, call.replace(made["id"], nothing), json=body)
        assert foreign.json()["detail"].replace(made["id"], nothing) == unknown.json()["detail"]
    # A delivery is found below its own webhook only.
    below = stranger.post(f"/v1/webhooks/{own['id']}/deliveries/{delivery['id']}/redeliver")
    assert (below.status_code, code_of(below)) == (404, "delivery_not_found")
    assert [one["id"] for one in stranger.get("/v1/webhooks").json()["items"]] == [own["id"]]
    assert deliveries(stranger, own) == []
    assert deliveries(api, made) == [delivery]
    assert audit["state"] == "queued"
