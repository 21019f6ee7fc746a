"""What clients get about projects."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel

from runaudit_service.api.audits.schemas import Instant


class ProjectBody(BaseModel):
    """A project: a group of audits with a default policy."""

    id: uuid.UUID
    name: str
    default_policy: dict[str, Any]
    created_at: Instant


class ProjectList(BaseModel):
    """All projects of the tenant, by name; the token is always empty."""

    items: list[ProjectBody]
    next_page_token: str = ""
