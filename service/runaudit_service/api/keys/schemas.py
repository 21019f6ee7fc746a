"""What clients send and get about API keys."""

from __future__ import annotations

import uuid
from typing import Final

from pydantic import BaseModel, Field

from runaudit_service.api.audits.schemas import Instant, Name, RequestModel
from runaudit_service.store.keys import Scope

DEFAULT_GRACE_SECONDS: Final = 24 * 3600
LONGEST_GRACE_SECONDS: Final = 30 * 24 * 3600


class KeyRequest(RequestModel):
    """A key to make."""

    name: Name = Field(examples=["training pipeline"])
    scopes: list[Scope] = Field(min_length=1, max_length=10, examples=[["audits:read", "audits:write"]])
    expires_at: Instant | None = None


class RotationRequest(RequestModel):
    """How a key changes its secret."""

    grace_seconds: int = Field(
        default=DEFAULT_GRACE_SECONDS,
        ge=0,
        le=LONGEST_GRACE_SECONDS,
        description="how long the secret before goes on working; 0: it stops at once",
    )


class KeyBody(BaseModel):
    """A key without its secret."""

    id: uuid.UUID
    name: str
    scopes: list[Scope]
    created_at: Instant
    last_used_at: Instant | None = Field(description="to the minute")
    expires_at: Instant | None
    revoked_at: Instant | None
    previous_expires_at: Instant | None = Field(description="until when the secret before the last rotation works")


class NewKeyBody(KeyBody):
    """A key just made."""

    key: str = Field(description="shown this once; only a hash is kept", examples=["ra_..."])


class KeyList(BaseModel):
    """All keys of the tenant, oldest first; the token is always empty."""

    items: list[KeyBody]
    next_page_token: str = ""
