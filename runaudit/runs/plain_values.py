"""Turns values of the inert pickle reader into plain JSON data of bounded size."""

from __future__ import annotations

import re
from typing import Any

from pydantic import JsonValue

from runaudit.runs.pickle_values import Ref, Stub

_DEPTH = 16
_VALUES = 200_000
_CHARACTERS = 10_000
_TOTAL_CHARACTERS = 4_000_000
_SURROGATES = re.compile("[\ud800-\udfff]")
_NAMESPACES = (
    "ultralytics.utils.IterableSimpleNamespace",
    "ultralytics.yolo.utils.IterableSimpleNamespace",
    "argparse.Namespace",
    "types.SimpleNamespace",
)


class _Budget:
    """What may still be given out: an alias of an alias is small in the pickle and endless when written out."""

    def __init__(self) -> None:
        self.values = _VALUES
        self.characters = _TOTAL_CHARACTERS


def plain(value: Any) -> JsonValue:
    """`value` as JSON data.

    Paths become text with slashes, namespaces and attribute objects become dicts, tuples and sets become lists, tensors
    and other objects their type's name in angle brackets. What lies deeper than 16 levels, or beyond 200,000 values or
    4 million characters, is None; a text over 10,000 characters is cut and ends in an ellipsis; lone surrogates become
    question marks. NaN and infinity stay as they are.
    """
    return _plain(value, 0, _Budget())


def text(value: Any) -> str | None:
    """`value` if it is a text (cut and cleaned as `plain` does), else None."""
    return _text(value, _Budget()) if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """`value` as a float (NaN and infinity included), None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def whole(value: Any) -> int | None:
    """`value` if it is an integer of at most 63 bits, else None."""
    return value if type(value) is int and value.bit_length() < 64 else None


def dictionary(value: Any) -> dict[str, JsonValue]:
    """The attributes or items of a dict or of a namespace, as plain data; empty for anything else."""
    found = plain(value)
    return found if isinstance(found, dict) else {}


def _plain(value: Any, depth: int, budget: _Budget) -> JsonValue:
    budget.values -= 1
    if budget.values < 0 or depth > _DEPTH:
        return None
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return _scalar(value, budget)
    if isinstance(value, dict):
        return _items(value, depth, budget)
    if isinstance(value, (set, frozenset)):
        # Sets have no order of their own and reports must not depend on one.
        value = sorted(value, key=str)
    if isinstance(value, (list, tuple)):
        return _list(value, depth, budget)
    return _object(value, depth, budget)


def _scalar(value: bool | float | str | bytes | None, budget: _Budget) -> JsonValue:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _text(value, budget)
    if isinstance(value, int) and value.bit_length() >= 64:
        return str(value)
    return value


def _list(values: list[Any] | tuple[Any, ...], depth: int, budget: _Budget) -> list[JsonValue]:
    items: list[JsonValue] = []
    for item in values:
        if budget.values < 0:
            break
        items.append(_plain(item, depth + 1, budget))
    return items


def _items(value: dict[Any, Any], depth: int, budget: _Budget) -> dict[str, JsonValue]:
    items: dict[str, JsonValue] = {}
    for key, item in value.items():
        if budget.values < 0:
            break
        items[_text(str(key), budget)] = _plain(item, depth + 1, budget)
    return items


def _object(value: Any, depth: int, budget: _Budget) -> JsonValue:
    if not isinstance(value, Stub):
        return _text(f"<{value.path}>", budget) if isinstance(value, Ref) else "<tensor>"
    if value.path.startswith("pathlib."):
        return _text("/".join(part for part in value.arguments if isinstance(part, str)), budget)
    state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
    if value.path in _NAMESPACES and isinstance(state, dict):
        return _items(state, depth, budget)
    if value.path.startswith("omegaconf.") and isinstance(state, dict):
        return _plain(state.get("_content", state.get("_val")), depth + 1, budget)
    return _items(value.entries, depth, budget) if value.entries else _text(f"<{value.path}>", budget)


def _text(value: str, budget: _Budget) -> str:
    cut = value if len(value) <= _CHARACTERS else value[:_CHARACTERS] + "…"
    if len(cut) > budget.characters:
        cut = "…"
    budget.characters -= len(cut)
    return cut if cut.isascii() else _SURROGATES.sub("?", cut)
