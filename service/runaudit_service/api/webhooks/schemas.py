"""What clients send and get about webhooks."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from runaudit_service.api.audits.schemas import Instant, Name, RequestModel
from runaudit_service.store.web_address import MAX_CHARACTERS
from runaudit_service.store.webhooks import EVENT_TYPES, DeliveryState, EventType, Format

_EXAMPLE_ID: Final = "019abf40-3a1b-7e55-9c41-6f0f4b7d2a10"


def _in_order(events: list[EventType]) -> list[EventType]:
    """Each once, in the order of an audit's life."""
    return [event for event in EVENT_TYPES if event in events]


Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
Events = Annotated[list[EventType], Field(min_length=1, max_length=50), AfterValidator(_in_order)]


class WebhookRequest(RequestModel):
    """An endpoint to tell of events."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://ci.example.com/hooks/runaudit", "events": ["audit.succeeded", "audit.failed"]},
                {
                    "url": "https://hooks.slack.com/services/T0/B0/x",
                    "events": ["audit.succeeded"],
                    "format": "slack",
                    "project": "default",
                },
            ]
        }
    )

    url: Url = Field(description="of https, without a user name or a fragment")
    events: Events = Field(description="what to tell of; `ping` is sent when you ask for one")
    format: Format = Field(
        default="standard",
        description="`standard`: the event with the whole audit; `slack`, `teams`: a short message for people",
    )
    project: Name | None = Field(default=None, description="only audits of this project; without one, of all")


class WebhookChange(RequestModel):
    """What to change of an endpoint; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}, {"events": ["audit.failed"]}]})

    # What is not named has no value that anyone looks at; a factory keeps it out of the document as a default.
    url: Url = Field(default_factory=str)
    events: Events = Field(default_factory=list)
    format: Format = Field(default_factory=lambda: "standard")
    project: Name | None = Field(default=None, description="null: all projects")
    enabled: bool = Field(
        default_factory=bool, description="true also takes an endpoint back that was disabled by failing"
    )


WEBHOOK_EXAMPLE: Final[dict[str, Any]] = {
    "id": _EXAMPLE_ID,
    "url": "https://ci.example.com/hooks/runaudit",
    "events": ["audit.succeeded", "audit.failed"],
    "format": "standard",
    "project": None,
    "enabled": True,
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "previous_secret_expires_at": None,
    "created_at": "2026-11-24T08:15:00.000000Z",
}


class WebhookBody(BaseModel):
    """An endpoint without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [WEBHOOK_EXAMPLE]})

    id: uuid.UUID
    url: str
    events: list[EventType]
    format: Format
    project: str | None
    enabled: bool
    disabled_at: Instant | None
    disabled_reason: str | None
    failing_since: Instant | None = Field(description="the first failure after the last success")
    previous_secret_expires_at: Instant | None = Field(
        description="until then messages are signed with the secret before the last rotation as well"
    )
    created_at: Instant


class NewWebhookBody(WebhookBody):
    """An endpoint just made, or with a secret just made."""

    secret: str = Field(description="shown this once; verify signatures with it", examples=["whsec_..."])


class WebhookList(BaseModel):
    """All endpoints of the tenant, oldest first; the token is always empty."""

    items: list[WebhookBody]
    next_page_token: str = ""


class AttemptBody(BaseModel):
    """One attempt to deliver."""

    started_at: Instant
    seconds: float
    status: int | None = Field(description="of the answer; null if none came")
    error: str | None = Field(description="a code for why there was no answer, or why it was not taken")
    response: str | None = Field(description="the first kilobyte of the answer")


class DeliveryBody(BaseModel):
    """One message for one endpoint or callback, and how it went so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019abf41-7c1d-7b0a-8d5e-2b9a4c6f1e02",
                    "message_id": "msg_0f4e2a7c9b1d4e5f8a6b7c8d9e0f1a2b",
                    "type": "audit.succeeded",
                    "audit_id": "019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10",
                    "url": None,
                    "state": "pending",
                    "attempt": 1,
                    "created_at": "2026-11-24T08:15:31.000000Z",
                    "next_attempt_at": "2026-11-24T08:15:36.400000Z",
                    "ended_at": None,
                    "body": '{"type":"audit.succeeded","timestamp":"2026-11-24T08:15:31.000000Z","data":{}}',
                    "attempts": [
                        {
                            "started_at": "2026-11-24T08:15:31.050000Z",
                            "seconds": 0.12,
                            "status": 500,
                            "error": None,
                            "response": "oops",
                        }
                    ],
                }
            ]
        }
    )

    id: uuid.UUID
    message_id: str = Field(description="the header webhook-id, the same in every attempt")
    type: EventType
    audit_id: uuid.UUID | None = Field(description="null for a ping")
    url: str | None = Field(description="of a callback; null for an endpoint, which has its own")
    state: DeliveryState = Field(
        description="`skipped`: the endpoint was disabled; `failed`: the last attempt of the schedule failed"
    )
    attempt: int = Field(description="how many were made")
    created_at: Instant
    next_attempt_at: Instant | None = Field(description="null while one is made, and at the end")
    ended_at: Instant | None
    body: str | None = Field(description="as sent; null before the first attempt")
    attempts: list[AttemptBody] = Field(description="the newest 20, oldest first")


class DeliveryList(BaseModel):
    """One page of deliveries, newest first. An empty `next_page_token` is the end."""

    items: list[DeliveryBody]
    next_page_token: str


class DeliveryFilter(RequestModel):
    """Which deliveries to list. A filter given several times takes any of its values."""

    state: list[DeliveryState] = Field(default=[], max_length=10)
    type: list[EventType] = Field(default=[], max_length=10)
    created_after: Instant | None = Field(default=None, description="this moment is not in")
    created_before: Instant | None = Field(default=None, description="this moment is not in")
    page_size: int = Field(default=50, ge=1, description="at most 200; more is taken as 200")
    page_token: str = Field(default="", max_length=1000)


class RedeliveryRequest(RequestModel):
    """What to send again: all that failed or was skipped since a moment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"since": "2026-11-20T00:00:00Z"}]})

    since: Instant


class RedeliveryBody(BaseModel):
    """How many deliveries will be made again."""

    redelivered: int


BODIES: Final = (WebhookRequest, WebhookChange, RedeliveryRequest)
"""those that the endpoints read themselves"""
