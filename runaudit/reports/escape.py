"""Strings of a run are hostile: made harmless for a terminal and for Markdown."""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences, colours among them
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands and their like: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (writing direction, zero width), surrogate, private and unassigned characters, and line "
"separators."""

_MARKDOWN = re.compile(
    r"[\\`*\[\]|~#@]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word, where names have it, it is no emphasis (CommonMark 6.2)
    r"|:(?=//)|(?<=www)\.|(?<=mailto):|(?<=xmpp):"  # what GitHub makes a link of by itself (GFM 6.9)
    r"|^[-+](?=\s|$)|^[-=](?=[-=]*$)"  # a list item, a rule, or what makes a heading of the line above
)
"""What would be markup in this place, and no more: people read the source too, in mails and terminals."""
_LIST_NUMBER = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def visible(value: str) -> str:
    """One line of visible characters: terminal sequences are removed, other control characters become a space."""
    if value.isprintable():
        # The most of all strings: no character of _INVISIBLE is printable.
        return " ".join(value.split())
    without = _ANSI.sub("", value)
    shown = "".join(" " if unicodedata.category(character) in _INVISIBLE else character for character in without)
    return " ".join(shown.split())


def markdown(value: str) -> str:
    """Text that Markdown shows as it stands: one visible line, no markup, no HTML, no automatic link."""
    escaped = "".join(_HTML.get(character, character) for character in visible(value))
    # The semicolons of the entities above are not special, their ampersands are already spent.
    return _LIST_NUMBER.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", escaped))


def code_block(value: str, language: str) -> list[str]:
    """The lines of a fenced block; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [visible_code(line) for line in value.rstrip("\n").split("\n")]
    return [f"{fence}{language}", *lines, fence]


def visible_code(line: str) -> str:
    """A line of code without control characters; its spaces are kept."""
    return "".join(
        character if unicodedata.category(character) not in _INVISIBLE else " " for character in _ANSI.sub("", line)
    )
