"""Values of a run made fit for the report: no NaN, no lone surrogates, nothing without a bound."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import JsonValue

from runaudit.evaluation.facts import Interval
from runaudit.runs.facts import Note

MOST_NOTES = 100
MOST_NAMES = 1000
MOST_TEXT = 4000
MOST_DEPTH = 20


def text(value: str) -> str:
    """A string that UTF-8 can carry (lone surrogates become the replacement character), cut at MOST_TEXT."""
    clean = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return clean if len(clean) <= MOST_TEXT else clean[: MOST_TEXT - 1] + "…"


def finite(value: float | None) -> float | None:
    """The number, or None where it is missing, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def interval(value: Interval | None) -> Interval | None:
    """The interval, or None if one of its ends is not finite."""
    return value if value is not None and all(math.isfinite(end) for end in value) else None


def scalar(value: float | int | str | bool | None) -> float | int | str | bool | None:
    """A measured value; a float that JSON can't hold becomes its name, `nan` or `inf`."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def json_value(value: JsonValue, depth: int = 0) -> JsonValue:
    """Any argument of a run as JSON can carry it; nesting beyond MOST_DEPTH is cut."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return (
            {text(str(key)): json_value(item, depth + 1) for key, item in value.items()} if depth < MOST_DEPTH else {}
        )
    if isinstance(value, list):
        return [json_value(item, depth + 1) for item in value] if depth < MOST_DEPTH else []
    return value


def names(values: Iterable[str]) -> list[str]:
    """The first MOST_NAMES names, and how many were left out."""
    listed = [text(value) for value in values]
    left = len(listed) - MOST_NAMES
    return listed if left <= 0 else [*listed[:MOST_NAMES], f"… and {left} more"]


def notes(values: Iterable[Note]) -> list[str]:
    """Notes as sentences with their places, the first MOST_NOTES of them."""
    listed = list(values)
    lines = [text(f"{note.place}: {note.detail}" if note.place else note.detail) for note in listed[:MOST_NOTES]]
    left = len(listed) - MOST_NOTES
    return lines if left <= 0 else [*lines, f"… and {left} more"]
