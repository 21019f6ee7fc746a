"""Makes words of a run harmless: class names, paths and yaml values are a stranger's, and reports show them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MOST_CHARACTERS: Final = 500


def plain(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """One line without control, escape, bidirectional or other invisible characters, and of bounded length.

    Those characters move a terminal's cursor, hide text, or reverse it (Unicode categories Cc, Cf, Co, Cs, Cn, Zl, Zp);
    each becomes a visible replacement character. White space is folded.
    """
    folded = " ".join(text.split())
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character)[0] == "C" else character for character in folded
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def markdown(text: str, *, most: int = MOST_CHARACTERS) -> str:
    """The text as literal Markdown: no markup, link, table cell border or HTML of its own.

    Only punctuation that can begin markup inside a line is escaped, so that sentences stay readable in the source.
    """
    escaped = "".join(_HTML.get(character, character) for character in plain(text, most=most))
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)


def code_span(text: str) -> str:
    """The text as a Markdown code span, whatever backticks it holds (CommonMark 6.1); fit for a table cell."""
    shown = plain(text).replace("|", "\N{BROKEN BAR}")
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def code_block(text: str, language: str) -> str:
    """The text as a fenced block that it can't end itself (CommonMark 4.5)."""
    lines = [plain(line, most=2000) if not line.startswith(" ") else _indented(line) for line in text.splitlines()]
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}{language}", *lines, fence))


def _indented(line: str) -> str:
    stripped = line.lstrip(" ")
    return " " * (len(line) - len(stripped)) + plain(stripped, most=2000)
