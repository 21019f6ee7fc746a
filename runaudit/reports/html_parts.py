"""What the parts of the HTML report have in common: tables, definitions, sections, blocks of code, folded details."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runaudit.reports.elements import Markup, element, joined, preformatted


def section(identifier: str, title: str, *children: str) -> Markup:
    """A part of the page with its heading; empty where there is nothing to put under it."""
    body = [child for child in children if child]
    return element("section", element("h2", title), *body, id=identifier) if body else Markup("")


def titled(title: str, *children: str) -> Markup:
    """A smaller part; empty where there is nothing to put under it."""
    body = [child for child in children if child]
    return joined(element("h3", title), *body) if body else Markup("")


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table whose first column heads its rows; empty without rows. It scrolls by itself where it is too wide."""
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    if not body:
        return Markup("")
    head = element("tr", *(element("th", name, scope="col") for name in header))
    made = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", made, class_="wide")


def definitions(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names with what they stand for; empty without any."""
    rows = [joined(element("dt", name), element("dd", value)) for name, value in pairs]
    return element("dl", *rows) if rows else Markup("")


def items(values: Iterable[str]) -> Markup:
    """A list; empty without any item."""
    entries = [element("li", value) for value in values]
    return element("ul", *entries) if entries else Markup("")


def code(text: str) -> Markup:
    """A block of code, line by line as it stands."""
    return element("pre", element("code", preformatted(text)))


def folded(summary: str, *children: str) -> Markup:
    """Details that are shown when asked for; empty where there are none."""
    body = [child for child in children if child]
    return element("details", element("summary", summary), *body) if body else Markup("")


def plain_json(value: Any) -> str:
    """A value of the report as JSON in one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def settings(values: Mapping[str, Any]) -> Markup:
    """Names and values of a mapping whose keys the report does not fix."""
    return definitions((name, plain_json(value)) for name, value in values.items())
