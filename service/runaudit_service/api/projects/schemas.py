"""What clients send and get about projects."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from runaudit_service.api.audits.schemas import GivenPolicy, Instant, Name, RequestModel

# A century: nobody means more, and PostgreSQL can still reckon with it.
LONGEST_RETENTION_DAYS: Final = 36_525

RetentionDays = Annotated[
    int, Field(ge=1, le=LONGEST_RETENTION_DAYS, description="audits that ended longer ago are deleted")
]


class ProjectRequest(RequestModel):
    """A project to make."""

    name: Name = Field(examples=["road-signs"])
    default_policy: GivenPolicy | None = Field(
        default=None, description="for audits that come without a policy", examples=[{"min_map50_95": 0.5}]
    )
    retention_days: RetentionDays | None = Field(default=None, description="without it audits are kept for ever")


class ProjectChange(RequestModel):
    """What shall be another in a project; what is left out stays. `null` takes a policy or a retention away."""

    name: Name | None = Field(default=None, description="null changes nothing: a project has a name")
    default_policy: GivenPolicy | None = Field(default=None, examples=[{"min_map50_95": 0.6}])
    retention_days: RetentionDays | None = Field(default=None, examples=[365])


class ProjectBody(BaseModel):
    """A project: a group of audits with a default policy."""

    id: uuid.UUID
    name: str
    default_policy: dict[str, Any]
    retention_days: int | None = Field(description="null: audits are kept for ever")
    created_at: Instant


class NewSecretBody(ProjectBody):
    """A project with the secret that signs its callbacks."""

    signing_secret: str = Field(
        description="shown this once; verifies callbacks by the Standard Webhooks specification",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    previous_expires_at: Instant | None = Field(
        description="until when callbacks carry a second signature by the secret before"
    )


class ProjectList(BaseModel):
    """All projects of the tenant, by name; the token is always empty."""

    items: list[ProjectBody]
    next_page_token: str = ""
