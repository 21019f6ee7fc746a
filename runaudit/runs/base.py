"""The base of all facts, apart from them: a process that needs no facts loads none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Facts(BaseModel):
    """Base of all facts: frozen, closed, and able to carry NaN and infinity through JSON (as strings)."""

    # Most processes need few of the models: each is built when it is first used.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", defer_build=True)
