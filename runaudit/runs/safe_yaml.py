"""Plain YAML, read from parser events without building anything that a file asks for.

The events of the parser are turned into dicts, lists and scalars by our own loop, which keeps the line of each key and
never recurses. What a run or a data set has no need of is refused, each with a stable code and a place: tags, anchors
and aliases, merge keys, duplicate keys, further documents, deep nesting, large files, other encodings than UTF-8
(security.md, B, rows Y105 to Y114).

Scalars are read by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2), not by the YAML 1.1 rules of
PyYAML: `no`, `off` and `1:30` stay text, `012` is 12, `1e-3` is a number. Keys are always text, as written.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

from runaudit.errors import YamlError
from runaudit.runs.regular_file import open_regular

MAX_BYTES = 1 << 20
"""The largest real file of the corpus has 7 kB; 1 MiB holds a data.yaml of 10 000 classes several times."""
MAX_DEPTH = 64
MAX_INTEGER_DIGITS = 40
"""Longer integers stay text: no argument has one, and Python's own conversion of them is quadratic."""

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONSTANTS: dict[str, JsonValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGERS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"[-+]?[0-9]+\Z"), 10),
    (re.compile(r"0o[0-7]+\Z"), 8),
    (re.compile(r"0x[0-9a-fA-F]+\Z"), 16),
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


@dataclass(frozen=True)
class YamlDocument:
    """A mapping read from YAML.

    `source` names the file for citing. `lines` has the line (from 1) of each key of the first and second level,
    by its path: `("hyp",)`, `("hyp", "lr0")`.
    """

    source: str
    values: dict[str, JsonValue]
    lines: dict[tuple[str, ...], int]

    def place(self, *path: str) -> str:
        """`data.yaml:3` for the key at `path`, or for its nearest ancestor that has a line."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.source}:{self.lines[path[:end]]}"
        return f"{self.source}:1"


def load_yaml(path_or_bytes: Path | bytes, *, source: str, verbatim: Container[str] = ()) -> YamlDocument:
    """Read one YAML mapping.

    Parameters
    ----------
    path_or_bytes : the file, or its content.
    source : how errors and places name it, `args.yaml` for one.
    verbatim : keys of the first level below which every scalar stays text as written, `names` for one.

    Raises
    ------
    YamlError : with a place and one of the codes `yaml_invalid`, `yaml_encoding`, `yaml_too_large`, `yaml_too_deep`,
        `yaml_tag`, `yaml_alias`, `yaml_merge_key`, `yaml_duplicate_key`, `yaml_several_documents`,
        `yaml_not_a_mapping`.
    """
    text = _decode(_content(path_or_bytes, source), source)
    builder = _Builder(source, verbatim)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except (ValueError, RecursionError) as error:
        raise YamlError(f"{source} is not valid YAML: {error}.", place=f"{source}:1") from None
    if not isinstance(builder.root, dict):
        raise YamlError(
            f"{source} must hold `key: value` lines; it holds {_kind(builder.root)}.",
            code="yaml_not_a_mapping",
            place=f"{source}:1",
        )
    return YamlDocument(source=source, values=builder.root, lines=builder.lines)


def scalar(text: str) -> JsonValue:
    """The value of a plain scalar by the YAML 1.2 core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    for pattern, base in _INTEGERS:
        if pattern.match(text):
            return int(text, base) if len(text) <= MAX_INTEGER_DIGITS else text
    return float(text) if _FLOAT.match(text) else text


def _content(path_or_bytes: Path | bytes, source: str) -> bytes:
    if isinstance(path_or_bytes, bytes):
        content = path_or_bytes
    else:
        try:
            with open_regular(path_or_bytes) as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise YamlError(f"{source} can't be opened: {error.strerror}.", place=source) from None
    if len(content) > MAX_BYTES:
        raise YamlError(f"{source} is larger than {MAX_BYTES >> 20} MiB.", code="yaml_too_large", place=f"{source}:1")
    return content


def _decode(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(
            f"{source} is not UTF-8 (byte {error.start}). Save it as UTF-8.",
            code="yaml_encoding",
            place=f"{source}:{line}",
        ) from None


def _events(text: str) -> Iterator[yaml.Event]:
    return iter(yaml.parse(text, Loader=_LOADER))


def _syntax_error(error: yaml.YAMLError, source: str) -> YamlError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it can't be parsed"
    return YamlError(f"{source} is not valid YAML in line {line}: {problem}.", place=f"{source}:{line}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _kind(value: JsonValue) -> str:
    return "nothing" if value is None else "a list" if isinstance(value, list) else "a single value"


@dataclass
class _Container:
    """A mapping or sequence that is still open; `key` is the mapping's key that waits for its value."""

    value: dict[str, JsonValue] | list[JsonValue]
    path: tuple[str, ...]
    key: str | None = None


@dataclass
class _Builder:
    """Turns parser events into plain values, with an explicit stack instead of recursion."""

    source: str
    verbatim: Container[str]
    root: JsonValue = None
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    _stack: list[_Container] = field(default_factory=list)
    _documents: int = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._refuse_node_properties(event)
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._refuse_node_properties(event)
                self._open({}, event)
            case yaml.SequenceStartEvent():
                self._refuse_node_properties(event)
                self._open([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._stack.pop()
            case yaml.AliasEvent():
                raise self._refusal(event, "yaml_alias", "an alias (`*`); write the value out")
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._refusal(event, "yaml_several_documents", "a second document (`---`)")

    def _refuse_node_properties(
        self, event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent
    ) -> None:
        if event.anchor is not None:
            raise self._refusal(event, "yaml_alias", "an anchor (`&`); write the value out")
        if event.tag is not None:
            raise self._refusal(event, "yaml_tag", f"the tag `{event.tag[:80]}`; only plain values are read")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self._key(parent, event)
            return
        text = str(event.value)
        plain = event.style in (None, "") and not self._keeps_text(parent)
        self._attach(scalar(text) if plain else text)

    def _keeps_text(self, parent: _Container | None) -> bool:
        if parent is None:
            return False
        first = parent.path[0] if parent.path else parent.key
        return first is not None and first in self.verbatim

    def _key(self, parent: _Container, event: yaml.ScalarEvent) -> None:
        key = str(event.value)
        if key == "<<" and event.style in (None, ""):
            raise self._refusal(event, "yaml_merge_key", "a merge key (`<<`); write the keys out")
        if key in parent.value:
            raise self._refusal(event, "yaml_duplicate_key", f"the key `{key[:80]}` twice")
        parent.key = key
        path = (*parent.path, key)
        if len(path) <= 2:
            self.lines[path] = _line(event)

    def _open(self, value: dict[str, JsonValue] | list[JsonValue], event: yaml.Event) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            raise self._refusal(event, "yaml_invalid", "a key that is not plain text")
        if len(self._stack) >= MAX_DEPTH:
            raise self._refusal(event, "yaml_too_deep", f"more than {MAX_DEPTH} levels of nesting")
        path: tuple[str, ...] = ()
        if parent is not None:
            # A list's items share the list's path; a dot-less marker keeps their keys out of `lines`.
            step = parent.key if parent.key is not None else "[]"
            path = (*parent.path, step)
        self._attach(value)
        self._stack.append(_Container(value, path))

    def _attach(self, value: JsonValue) -> None:
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, dict):
            if parent.key is not None:
                parent.value[parent.key] = value
                parent.key = None
        else:
            parent.value.append(value)

    def _refusal(self, event: yaml.Event, code: str, what: str) -> YamlError:
        line = _line(event)
        return YamlError(f"{self.source} has {what} in line {line}.", code=code, place=f"{self.source}:{line}")
