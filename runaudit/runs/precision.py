"""Which precision a run's arguments ask validation to compute in."""

from __future__ import annotations

from typing import Final

from runaudit.runs.facts import RunFacts

_NAMES_OF_HALF: Final = (16, "16", "fp16")
"""values of `quantize`, which replaced `half` in ultralytics 8.4 (cfg/default.yaml)"""


def asked_for_half(run: RunFacts) -> bool:
    """Whether the run's arguments ask for validation in half precision."""
    return run.argument("half") is True or run.argument("quantize") in _NAMES_OF_HALF
