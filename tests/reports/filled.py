"""A report in which every field of the schema is filled, made from the schema, so that no new field is forgotten."""

from __future__ import annotations

import types
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue

from runaudit.causes import CAUSES
from runaudit.reports.schema import Report

HOSTILE = (
    "\x1b[31mred\x1b[0m ]]> <script>alert(1)</script> <img src=x onerror=alert(1)> \" ' & ${x} {0} [l](javascript:x) "
    "<!-- --> </style><style>*{} \u202etxt.exe \u2066 \x07\x00\x0b\x7f\x85 \u2028 \ufffe \U000e0041 \r\n::error::x end"
)
"""Markup, control characters, terminal sequences, writing directions, what XML forbids, and GitHub's log commands."""


def filled(text: Callable[[], str], *, entries: int = 1) -> Report:
    """Every optional part is there; each list and mapping has `entries` entries; every free string is a `text()`."""
    filler = _Filler(text, entries)
    document = filler.value(Report)
    document["checks"] = [
        filler.value(Report.model_fields["checks"].annotation)[0] | {"cause": cause, "outcome": outcome}
        for cause, outcome in zip(CAUSES, ["failed", "warned", "passed", "inconclusive", "not_run"] * 5, strict=False)
    ]
    finding = document["findings"][0]
    severities = ("critical", "major", "minor")
    document["findings"] = [
        finding | {"rank": rank, "cause": CAUSES[rank - 1], "severity": severity}
        for rank, severity in enumerate(severities, start=1)
    ]
    document["findings"][0]["impact"] = finding["impact"] | {"metric": "map50_95"}
    share = {"name": "share of images", "value": 0.5, "threshold": 0.02}
    document["findings"][0]["evidence"] = [*finding["evidence"], share]
    document["interventions"][0] |= {"metric": "map50_95"}
    document["validation"]["per_size"][0] |= {"size": "small"}
    rule = document["policy"][0]
    document["policy"] = [rule | {"outcome": outcome} for outcome in ("met", "broken", "inconclusive", "not_run")]
    # A classifier has no boxes: a report has the metrics of one or of the other.
    document["validation"]["metrics"] |= {"top1": None, "top5": None}
    document["curves"] = {
        "source": text(),
        "epochs": [1, 2, 3],
        "columns": {
            name: [1.5, None, 1e300]
            for name in ("train/box", "val/box", "metrics/map50_95", "metrics/map50", "lr/pg0", f"train/{text()}")
        },
    }
    return Report.model_validate(document)


class _Filler:
    def __init__(self, text: Callable[[], str], entries: int) -> None:
        self._text = text
        self._entries = entries
        self._numbers = count(101)

    def value(self, kind: Any) -> Any:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return {name: self.value(field.annotation) for name, field in kind.model_fields.items()}
        if kind is JsonValue:
            return [self._text(), {self._text(): self._text()}]
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self.value(parts[0])
        if origin is Literal:
            return parts[0]
        if origin in (Union, types.UnionType):
            return self.value(next(part for part in reversed(parts) if part is not type(None)))
        return self._collection(origin, parts) if origin is not None else self._single(kind)

    def _collection(self, origin: Any, parts: tuple[Any, ...]) -> Any:
        if origin is tuple:
            return [self.value(part) for part in parts]
        if origin is list:
            return [self.value(parts[0]) for _ in range(self._entries)]
        assert origin is dict
        if get_origin(parts[0]) is Literal:
            return {key: self.value(parts[1]) for key in get_args(parts[0])}
        return {self.value(parts[0]): self.value(parts[1]) for _ in range(self._entries)}

    def _single(self, kind: type) -> Any:
        if kind is bool:
            return True
        if kind is str:
            return self._text()
        return next(self._numbers) if kind is int else next(self._numbers) / 1000
