"""How deep an audit goes."""

from __future__ import annotations

from typing import Literal

Depth = Literal["curves", "standard", "deep"]
