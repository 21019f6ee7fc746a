"""What clients send and get about resumable uploads."""

from __future__ import annotations

import uuid

from pydantic import BaseModel, ConfigDict, Field

from runaudit_service.api.audits.schemas import RequestModel, Sha256


class UploadRequest(RequestModel):
    """An artifact that is to come in by pieces."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "length": 5368709120,
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                }
            ]
        }
    )

    # The largest number that a column of PostgreSQL and every JSON reader hold exactly.
    length: int = Field(ge=1, le=2**53 - 1, description="bytes of the whole artifact")
    sha256: Sha256 | None = Field(default=None, description="its digest; what comes in is held against it at the end")


class UploadBody(BaseModel):
    """An upload that has begun: send bytes from `offset` on to its Location."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "019abf3e-6d5f-7c1e-8b1a-2f6f0a3f9b10", "offset": 0}]}
    )

    id: uuid.UUID
    offset: int
