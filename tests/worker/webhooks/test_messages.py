"""What is sent: the audit as it is over HTTP, and messages for people in which no name does anything but be read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from runaudit_service.store.deliveries import Claimed
from runaudit_worker.webhooks.messages import body_of

BASE = "https://audits.example.com"
HOSTILE = "<!channel> [click](https://evil.example) & *x* " + "y" * 5000
AUDIT: dict[str, Any] = {
    "id": "019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10",
    "run_name": "exp1",
    "state": "succeeded",
    "verdict": "fail",
    "headline": "It learns too fast.",
    "causes": ["learning_rate", "data_leakage", "overfitting", "class_imbalance"],
    "created_at": "2026-11-24T10:15:00.5+02:00",
    "started_at": "2026-11-24T08:15:01+00:00",
    "ended_at": "2026-11-24T08:15:31+00:00",
    "attempt": 1,
    "labels": {},
    "error": None,
    "rerun_of": None,
    "progress_stage": "report",
    "progress_done": 1,
    "progress_total": 1,
}
FAILED = {"state": "failed", "verdict": None, "headline": None, "causes": [], "error": {"detail": "No run was found."}}


def delivery(kind: str, event: str = "audit.succeeded", **changes: Any) -> Claimed:
    return Claimed(
        id=uuid4(),
        fence=1,
        message_id="msg_1",
        type=event,
        occurred_at=datetime(2026, 11, 24, 10, 15, 31, tzinfo=timezone(timedelta(hours=2))),
        target="t",
        endpoint_id=uuid4(),
        url="https://example.com",
        format=kind,
        secrets=("whsec_eA==",),
        step=0,
        snapshot={"audit": AUDIT | changes, "project": "p", "artifacts": []},
        body=None,
    )


def sent(kind: str, event: str = "audit.succeeded", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(body_of(delivery(kind, event, **changes), BASE))
    return body


def texts(message: Any) -> str:
    """All that a person could read."""
    if isinstance(message, dict):
        return "\n".join(texts(value) for value in message.values())
    if isinstance(message, list):
        return "\n".join(texts(value) for value in message)
    return str(message)


def test_an_event_has_the_times_in_utc() -> None:
    event = sent("standard")
    assert (event["type"], event["timestamp"]) == ("audit.succeeded", "2026-11-24T08:15:31.000000Z")
    assert event["data"]["created_at"] == "2026-11-24T08:15:00.500000Z"
    assert event["data"]["project"] == "p"
    assert datetime.fromisoformat(event["timestamp"]) == datetime(2026, 11, 24, 8, 15, 31, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["standard", "slack", "teams"])
def test_what_was_sent_once_is_sent_again_as_it_was(kind: str) -> None:
    assert body_of(replace(delivery(kind), body="as before", snapshot=None), BASE) == "as before"


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_people_read_verdict_headline_causes_and_where_to_look(kind: str) -> None:
    said = texts(sent(kind))
    for part in ("exp1 failed", "It learns too fast.", "learning rate, data leakage, overfitting"):
        assert part in said
    assert "class imbalance" not in said
    assert f"{BASE}/v1/audits/{AUDIT['id']}/report?format=html" in said


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_an_audit_that_failed_says_why(kind: str) -> None:
    said = texts(sent(kind, "audit.failed", **FAILED))
    assert "exp1: failed" in said
    assert "No run was found." in said


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_a_ping_says_hello(kind: str) -> None:
    assert "hello" in texts(json.loads(body_of(replace(delivery(kind), type="ping", snapshot={}), BASE)))


def test_slack_sees_no_mention_and_no_link_in_a_name() -> None:
    message = sent("slack", run_name=HOSTILE, headline=HOSTILE)
    header, section = message["blocks"]
    # Plain text is shown as it is; the others are read as Slack's own markup.
    assert header["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150
    for marked in (
        message["text"],
        section["text"]["text"].replace(f"<{BASE}/v1/audits/{AUDIT['id']}/report?format=html|Read more>", ""),
    ):
        assert "<" not in marked
        assert ">" not in marked
        assert "&lt;!channel&gt;" in marked
    assert len(section["text"]["text"]) <= 3000


def test_teams_reads_no_markdown_in_a_name() -> None:
    message = sent("teams", run_name=HOSTILE, headline=HOSTILE)
    (attachment,) = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    # Teams takes messages of up to 28 KB.
    assert len(json.dumps(message)) < 20_000
    assert [action["url"] for action in card["actions"]] == [f"{BASE}/v1/audits/{AUDIT['id']}/report?format=html"]


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_the_links_lead_to_calls_that_are_there(kind: str) -> None:
    """Not to pages that are not: those are described in the API's document only once they are."""
    paths = json.loads((Path(__file__).parents[3] / "openapi" / "openapi.json").read_text())["paths"]
    said = (
        texts(sent(kind)),
        texts(sent(kind, "audit.failed", **FAILED)),
    )
    for one in said:
        (place,) = set(re.findall(rf"{re.escape(BASE)}(/[^\s|>?\"]*)", one))
        assert place.replace(AUDIT["id"], "{audit_id}") in paths
