"""Liveness, readiness and figures."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runaudit_service.api import metrics
from runaudit_service.api.app import create_app
from runaudit_service.store.models import QUEUES
from runaudit_service.store.settings import Settings
from tests.service.clients import Api, code_of
from tests.service.conftest import Owner

AWAY = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"


def not_ready(settings: Settings, runner: asyncio.Runner, **change: str) -> set[str]:
    """The parts that a service with these settings finds failed."""
    with Api(create_app(settings.model_copy(update=change)), runner, None) as api:
        assert api.get("/healthz").json() == {"status": "alive"}
        response = api.get("/readyz")
        assert (response.status_code, code_of(response)) == (503, "not_ready")
        assert int(response.headers["Retry-After"]) > 0
        return {error["pointer"] for error in response.json()["errors"]}


def test_ready_with_all_parts(api: Api) -> None:
    assert (api.get("/healthz").json(), api.get("/readyz").json()) == ({"status": "alive"}, {"status": "ready"})


def test_each_part_that_fails_is_named(settings: Settings, runner: asyncio.Runner, empty_postgres_url: str) -> None:
    assert not_ready(settings, runner, broker_url="redis://127.0.0.1:1") == {"broker"}
    assert not_ready(settings, runner, broker_url="") == {"broker"}
    assert not_ready(settings, runner, database_url=empty_postgres_url) == {"migrations"}
    assert not_ready(settings, runner, database_url=AWAY) == {"database", "migrations"}


def test_audits_are_taken_in_without_a_broker(settings: Settings, runner: asyncio.Runner, owner: Owner) -> None:
    away = create_app(settings.model_copy(update={"broker_url": "redis://127.0.0.1:1"}))
    with Api(away, runner, owner.key) as api:
        assert api.submit(b"without a broker").status_code == 202


def figures(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What /metrics tells, by name and labels."""
    response = api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_the_figures_follow_the_rows(api: Api) -> None:
    waiting = ("runaudit_jobs", (("queue", "cpu"), ("state", "queued")))
    before = figures(api)[waiting]
    audit = api.submit(b"counted", depth="curves").json()
    api.get(f"/v1/audits/{audit['id']}")
    after = figures(api)
    assert after[waiting] == before + 1
    assert after[("runaudit_audits", (("state", "queued"), ("verdict", "")))] >= 1
    assert after[("runaudit_oldest_queued_job_seconds", (("queue", "cpu"),))] >= 0
    route = (("method", "GET"), ("route", "/v1/audits/{audit_id}"), ("status", "200"))
    assert after[("runaudit_http_request_seconds_count", route)] == 1
    assert not any(audit["id"] in str(labels) for _, labels in after)


def test_a_queue_that_is_empty_has_a_depth_and_an_age(api: Api) -> None:
    """A figure that is there only while something waits can't be told from one of a service that is down."""
    told = figures(api)
    for queue in QUEUES:
        assert told["runaudit_oldest_queued_job_seconds", (("queue", queue),)] >= 0
        for state in ("queued", "running"):
            assert told["runaudit_jobs", (("queue", queue), ("state", state))] >= 0


def test_messages_that_nobody_sends_are_seen(api: Api) -> None:
    pending = ("runaudit_webhook_deliveries", (("state", "pending"),))
    before = figures(api)[pending]
    assert api.submit(b"who tells", callback_url="https://ci.example.com/hook").status_code == 202
    first = figures(api)
    assert first[pending] == before + 1
    assert figures(api)["runaudit_oldest_due_delivery_seconds", ()] > first["runaudit_oldest_due_delivery_seconds", ()]


@pytest.mark.parametrize(("share", "seen"), [(1e9, 1), (1e-9, 0)])
def test_history_is_counted_for_a_share_of_the_time_only(
    api: Api, monkeypatch: pytest.MonkeyPatch, share: float, seen: int
) -> None:
    """What has ended may be millions of rows; what is open is always told as it is."""
    monkeypatch.setattr(metrics, "COUNT_SHARE", share)

    def cancelled() -> float:
        told = re.search(r'runaudit_audits{state="cancelled",verdict=""} (.+)', api.get("/metrics").text)
        return float(told[1]) if told else 0

    before = cancelled()
    api.post(f"{api.submit(str(share).encode()).headers['Location']}/cancel")
    assert cancelled() == before + seen
