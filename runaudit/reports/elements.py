"""Elements of HTML, SVG and XML. Text is escaped unless it is `Markup`, so no string of a run can become markup."""

from __future__ import annotations

import html
from typing import Final

from runaudit.reports.escape import visible, visible_code

VOID: Final = frozenset({"meta", "br"})
"""HTML elements that have no end tag; SVG and JUnit have none of these names"""


class Markup(str):
    """Text that is markup already. Making one vouches for it: constants and what is put together here, no run's."""

    __slots__ = ()


def escaped(value: str) -> str:
    """Text as one visible line in which nothing is markup; markup as it is.

    What XML can't hold (control characters, surrogates, U+FFFE) is not visible either, so none of it is left.
    """
    return value if isinstance(value, Markup) else html.escape(visible(value))


def joined(*parts: str) -> Markup:
    """Parts one after the other; those that are plain text are escaped."""
    return Markup("".join(escaped(part) for part in parts))


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """`<name ...>children</name>`. Attributes of None are left out; `class_` is `class`, `_` inside a name is `-`."""
    pairs = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{joined(*children)}</{name}>")


def preformatted(text: str) -> Markup:
    """Text whose lines and spaces are kept, as in a block of code; other invisible characters become spaces."""
    return Markup("\n".join(html.escape(visible_code(line)) for line in text.rstrip("\n").split("\n")))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else f"{value:.6g}"
