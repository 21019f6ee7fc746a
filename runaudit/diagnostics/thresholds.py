"""A threshold that carries the measurement or source that set it, so that its page can name it."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

T = TypeVar("T")

SOURCE = "source"


def threshold(value: T, source: str) -> T:
    """A dataclass field with the default `value`; `source` says what set it and goes onto the check's page."""
    return dataclasses.field(default=value, metadata={SOURCE: source})
