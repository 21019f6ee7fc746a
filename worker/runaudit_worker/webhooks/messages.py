"""What is sent: the event with the audit as it is over HTTP, or a short message for Slack or Microsoft Teams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from runaudit_service.store.audit_body import ArtifactRef, AuditBody, audit_body, place_to_read
from runaudit_service.store.deliveries import Claimed
from runaudit_service.store.webhooks import PING

MOST_CAUSES: Final = 3
_HEADER_CHARACTERS: Final = 150  # Slack's limit of a header block
_TEXT_CHARACTERS: Final = 2900  # below Slack's 3,000 of a section
_SHOWN_VERDICTS: Final = {
    "pass": "passed",
    "warn": "passed with warnings",
    "fail": "failed",
    "inconclusive": "is inconclusive",
}
_LINK: Final = "Read more"
_CARD_COLOURS: Final = {"pass": "good", "warn": "warning", "fail": "attention", "inconclusive": "warning"}


@dataclass(frozen=True)
class Summary:
    """An audit in a few words."""

    title: str
    headline: str
    causes: tuple[str, ...]
    link: str
    verdict: str | None


def body_of(delivery: Claimed, base_url: str) -> str:
    """The body of a delivery: that of the attempt before, so that all attempts send the same, else made now.

    `base_url` is where links of people's messages begin.
    """
    if delivery.body is not None:
        return delivery.body
    snapshot = delivery.snapshot or {}
    if delivery.format == "standard":
        return _standard(delivery, snapshot)
    summary = _ping_summary(base_url) if delivery.type == PING else _summary(delivery.type, snapshot, base_url)
    message = _slack(summary) if delivery.format == "slack" else _teams(summary)
    return json.dumps(message, ensure_ascii=False)


def _standard(delivery: Claimed, snapshot: dict[str, Any]) -> str:
    data = json.dumps(snapshot) if delivery.type == PING else _audit(snapshot).model_dump_json()
    return f'{{"type":{json.dumps(delivery.type)},"timestamp":"{_written(delivery.occurred_at)}","data":{data}}}'


def _written(moment: datetime) -> str:
    """RFC 3339, as in the audit's own times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _audit(snapshot: dict[str, Any]) -> AuditBody:
    artifacts = [ArtifactRef.model_validate(given) for given in snapshot["artifacts"]]
    return audit_body(snapshot["audit"], snapshot["project"], artifacts)


def _summary(event: str, snapshot: dict[str, Any], base_url: str) -> Summary:
    audit = _audit(snapshot)
    name = audit.run_name or f"audit {audit.id}"
    if audit.state == "succeeded" and audit.verdict is not None:
        title = f"{name} {_SHOWN_VERDICTS[audit.verdict]}"
    else:
        title = f"{name}: {event.removeprefix('audit.')}"
    headline = audit.headline or (audit.error or {}).get("detail", "")
    causes = tuple(cause.replace("_", " ") for cause in snapshot["audit"]["causes"][:MOST_CAUSES])
    return Summary(title, headline, causes, base_url + place_to_read(audit.id, audit.state), audit.verdict)


def _ping_summary(base_url: str) -> Summary:
    return Summary("Runaudit says hello", "This channel will be told of audits.", (), f"{base_url}/docs", None)


def _slack(summary: Summary) -> dict[str, Any]:
    """A message for an incoming webhook of Slack; `text` is what notifications show."""
    lines = [_slack_text(summary.headline)] if summary.headline else []
    if summary.causes:
        lines.append("*Causes:* " + _slack_text(", ".join(summary.causes)))
    lines.append(f"<{summary.link}|{_LINK}>")
    return {
        "text": _slack_text(f"{summary.title}: {summary.headline}" if summary.headline else summary.title),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": _short(summary.title, _HEADER_CHARACTERS)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}},
        ],
    }


def _slack_text(text: str) -> str:
    """Text that Slack shows as it is: with these three escaped it sees neither links nor mentions in it."""
    short = _short(text, _TEXT_CHARACTERS // 5)
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(summary: Summary) -> dict[str, Any]:
    """An Adaptive Card for a Workflows webhook of Teams, in rich text: other text of a card is read as Markdown."""
    body: list[dict[str, Any]] = [
        _card_text(
            summary.title, size="large", weight="bolder", color=_CARD_COLOURS.get(summary.verdict or "", "default")
        )
    ]
    if summary.headline:
        body.append(_card_text(summary.headline))
    if summary.causes:
        body.append(_card_text("Causes: " + ", ".join(summary.causes), isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": _LINK, "url": summary.link}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _card_text(text: str, **style: Any) -> dict[str, Any]:
    run = {"type": "TextRun", "text": _short(text, _TEXT_CHARACTERS), **style}
    inlines: Sequence[dict[str, Any]] = [run]
    return {"type": "RichTextBlock", "inlines": inlines}


def _short(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "\u2026"
