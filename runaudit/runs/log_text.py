"""A console log as short texts that may say something, each with its line: bounded, without colours, bars unrolled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 16 << 20
"""A thousand epochs with a progress bar rewritten ten times a second leave about 5 MB. Of a longer log the first and
the last half are read: how it began and how it ended."""
MAX_TEXTS = 50_000
MAX_CHARACTERS = 8_192
"""The printed arguments of ultralytics 8.4 have 2 kB."""

_ANSI = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_BARS = str.maketrans("", "", "\b\a")


@dataclass(frozen=True)
class LogContent:
    """The bytes of a log that are looked at. `cut` is the place in them where a middle part was left out, if it was;
    `lines_before_cut` and `lines_left_out` keep the count of lines right behind it."""

    source: str
    content: bytes
    cut: int | None = None
    lines_left_out: int = 0

    def line(self, newlines: int, position: int) -> int:
        """The line, from 1, of a position with `newlines` line ends before it in `content`."""
        return newlines + 1 + (self.lines_left_out if self.cut is not None and position >= self.cut else 0)


@dataclass(frozen=True)
class LogText:
    """One text of a log: a line, or what stands between two carriage returns of one."""

    text: str
    line: int
    position: int


def read_log(path: Path, *, source: str) -> LogContent:
    """The log's bytes without terminal codes. Raises OSError.

    Of a log over `MAX_BYTES` a middle part is left out; its lines are still counted, up to 1 GiB of them.
    """
    half = MAX_BYTES // 2
    with path.open("rb") as file:
        head = file.read(MAX_BYTES)
        size = path.stat().st_size
        if len(head) < MAX_BYTES or size <= MAX_BYTES:
            return LogContent(source, _plain(head))
        left_out = head[half:].count(b"\n")
        position = MAX_BYTES
        while position < min(size - half, 1 << 30):
            block = file.read(min(1 << 20, size - half - position))
            if not block:
                break
            left_out += block.count(b"\n")
            position += len(block)
        file.seek(size - half)
        tail = file.read(half)
    first, last = _plain(head[:half]), _plain(tail)
    return LogContent(source, first + last, cut=len(first), lines_left_out=left_out)


def from_text(text: str, *, source: str) -> LogContent:
    """A log that came as text, the tail of one for instance."""
    return LogContent(source, _plain(text[-MAX_BYTES:].encode("utf-8", "replace")))


def texts_with(log: LogContent, words: Iterable[bytes]) -> list[LogText]:
    """The texts that hold one of `words`, in order; of those with one word no more than `MAX_TEXTS`.

    Progress bars make a log long and say little: they are passed over by searching for words, not line by line.
    """
    content = log.content
    starts: dict[int, int] = {}
    for word in words:
        found = content.find(word)
        count = 0
        while found >= 0 and count < MAX_TEXTS:
            begin, end = _bounds(content, found)
            starts[begin] = end
            count += 1
            found = content.find(word, max(end, found + 1))
    texts: list[LogText] = []
    newlines = previous = 0
    for begin in sorted(starts):
        newlines += _line_ends(content, previous, begin)
        previous = begin
        raw = content[begin : min(starts[begin], begin + MAX_CHARACTERS)]
        text = raw.decode("utf-8", "replace").translate(_BARS).rstrip()
        texts.append(LogText(text, log.line(newlines, begin), begin))
    return texts


def following(log: LogContent, text: LogText, count: int) -> list[LogText]:
    """Up to `count` lines behind `text`."""
    content, position = log.content, text.position
    line = text.line
    found: list[LogText] = []
    while len(found) < count:
        end = content.find(b"\n", position)
        if end < 0 or end + 1 >= len(content):
            break
        line += content[max(end - 1, 0)] != 13
        position = end + 1
        stop = content.find(b"\n", position)
        stop = len(content) if stop < 0 else stop
        raw = content[position : min(stop, position + MAX_CHARACTERS)]
        found.append(LogText(raw.decode("utf-8", "replace").translate(_BARS).rstrip(), line, position))
    return found


def _plain(content: bytes) -> bytes:
    content = _ANSI.sub(b"", content) if b"\x1b" in content else content
    # A carriage return alone ends a text and no line; written like this, texts can be told apart by `\\n` only.
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\r\n") if b"\r" in content else content


def _line_ends(content: bytes, begin: int, end: int) -> int:
    return content.count(b"\n", begin, end) - content.count(b"\r\n", begin, end)


def _bounds(content: bytes, position: int) -> tuple[int, int]:
    """Begin and end of the text around a position."""
    end = content.find(b"\n", position)
    return content.rfind(b"\n", 0, position) + 1, len(content) if end < 0 else end
