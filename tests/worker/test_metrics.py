"""Figures of the workshop's processes: what they count, and the port on which Prometheus finds them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from runaudit.isolation.job import Progress
from runaudit_service.embedded.valkey import free_port
from runaudit_service.store.queue import Settled
from runaudit_service.store.settings import Settings
from runaudit_worker.metrics import count_delivery, count_expiries, show_metrics
from runaudit_worker.stages import StageClock


def figures(port: int) -> dict[tuple[str, str], float]:
    """By name and the value of the first label."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).raise_for_status().text
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_a_process_did_is_shown_on_its_port() -> None:
    port = free_port()
    show_metrics(Settings(metrics_port=port))
    before = figures(port)
    assert ("runaudit_lease_expiries_total", "cancelled") in before, "there is a figure before anything was lost"
    count_expiries(Settled(requeued=2, failed=1))
    count_delivery(204, 0.02)
    count_delivery(None, 15)
    passed: list[Progress] = []
    clock = StageClock(passed.append)
    for stage in ("unpack", "read_run", "read_run"):
        clock(Progress(stage=stage))
    clock.stop()
    clock.stop()
    after = figures(port)
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert grown["runaudit_lease_expiries_total", "requeued"] == 2
    assert grown["runaudit_lease_expiries_total", "failed"] == 1
    assert grown["runaudit_webhook_attempt_seconds_count", "2xx"] == 1
    assert grown["runaudit_webhook_attempt_seconds_count", "none"] == 1
    assert {stage: grown["runaudit_stage_seconds_count", stage] for stage in ("unpack", "read_run")} == {
        "unpack": 1,
        "read_run": 1,
    }
    assert [progress.stage for progress in passed] == ["unpack", "read_run", "read_run"]


def test_a_port_that_is_taken_or_not_wanted_stops_nothing() -> None:
    port = free_port()
    for number in (0, port, port):
        show_metrics(Settings(metrics_port=number))
