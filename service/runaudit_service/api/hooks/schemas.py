"""What other systems send, and what they are answered."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

Text = Annotated[str, StringConstraints(max_length=1000)]


class HookModel(BaseModel):
    """Base of what other systems send: they add keys with their versions, which are no mistake here."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ModelVersion(HookModel):
    """The `data` of MLflow's model_version.created."""

    name: Text
    version: Text
    source: Text | None = None
    run_id: Text | None = None
    tags: dict[str, str] = {}


class MlflowEvent(HookModel):
    """A message of MLflow's webhooks: what happened to which kind of thing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "entity": "model_version",
                    "action": "created",
                    "timestamp": "2026-11-24T08:15:00.000000+00:00",
                    "data": {
                        "name": "road-signs",
                        "version": "7",
                        "source": "runs:/0a1b2c3d4e5f60718293a4b5c6d7e8f9/weights",
                        "run_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                        "tags": {"runaudit.data_path": "road-signs"},
                        "description": None,
                    },
                }
            ]
        }
    )

    entity: Text
    action: Text
    data: dict[str, JsonValue]


class ModelVersionCreated(MlflowEvent):
    """The message of a new model version."""

    data: ModelVersion  # type: ignore[assignment] # narrower than that of any event


class GenericEvent(HookModel):
    """A message of any system that can post JSON with a bearer key, such as an automation of Weights & Biases.

    Other keys with plain values become labels of the audit.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_type": "LINK_ARTIFACT",
                    "artifact_version_string": "team/registry/road-signs:v7",
                    "artifact_url": "https://artifacts.example.org/runs/road-signs-v7.tar.gz",
                    "run_name": "road-signs:v7",
                }
            ]
        }
    )

    artifact_url: Text | None = Field(default=None, description="as in a request for an audit")
    artifact_sha256: Text | None = None
    project: Text | None = None
    run_name: str | None = None
    data: dict[str, JsonValue] | None = None
    depth: Text | None = None
    policy: dict[str, JsonValue] | None = None
    labels: dict[str, JsonValue] = {}
    callback_url: Text | None = None
    force: bool = False


class HookBody(BaseModel):
    """What became of a message."""

    outcome: Literal["queued", "repeated", "ignored"] = Field(
        description="`repeated`: the message, or the audit, was there before; `ignored`: it asks for no audit"
    )
    audit_id: uuid.UUID | None
    detail: str = Field(examples=["Audit of version 7 of road-signs."])
