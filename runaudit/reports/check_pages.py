"""A page for every check, made from the check itself: `python -m runaudit.reports.check_pages docs/checks`."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import cache
from pathlib import Path
from typing import Final

from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.evidence import Check
from runaudit.diagnostics.thresholds import SOURCE
from runaudit.proportions import wilson_interval

SCORES_FILE: Final = Path(__file__).with_name("planted_scores.json")
"""written by `python -m benchmarks.planted.score OUT.jsonl --write ...`"""
PICTURES_FILE: Final = Path(__file__).with_name("example_pictures.json")
"""written by `python -m benchmarks.planted.pictures`, as are the pictures"""


def page(check: Check) -> str:
    """The page of one check, as Markdown."""
    lines = [f"# {check.title}", "", f"Cause: `{check.cause}`", "", _sentence(check.question), ""]
    lines += _picture(check)
    lines += ["## What is measured", "", check.statistic, "", "## Thresholds", ""]
    lines += ["| threshold | value | what set it |", "|---|---|---|"]
    lines += [f"| `{name}` | {value} | {_cell(source)} |" for name, value, source in thresholds(check)]
    lines += ["", "## What else looks like it", "", *(f"- {mode}" for mode in check.false_positives)]
    lines += _scores(check)
    lines += ["", "## References", "", *(f"- {reference}" for reference in check.references)]
    return "\n".join(lines) + "\n"


def _picture(check: Check) -> list[str]:
    """The example picture, with what it shows."""
    shown = _example_pictures()[check.cause]
    return [
        f"![{shown['shows']}](pictures/{check.cause}.svg)",
        "",
        f"*{shown['shows'][0].upper()}{shown['shows'][1:]}. From the report on `{shown['case']}` of the benchmark of "
        f"planted faults, where it is `{shown['figure']}`.*",
        "",
    ]


@cache
def _example_pictures() -> dict[str, dict[str, str]]:
    shown: dict[str, dict[str, str]] = json.loads(PICTURES_FILE.read_text(encoding="utf-8"))
    return shown


def _scores(check: Check) -> list[str]:
    """What the benchmark of planted faults measured of the check, and what it did not."""
    scores = _planted_scores()[check.cause]
    return [
        "",
        "## How often it is right",
        "",
        "On the held-out data sets of the benchmark of planted faults (benchmarks/planted, docs/benchmark.md), with "
        "Wilson's 95 % interval:",
        "",
        *(f"- {sentence}: {_rate(*scores[name], name)}" for name, sentence in _SCORES.items()),
    ]


_SCORES: Final = {
    "found": "planted faults of this cause that it, or an equivalent cause, names",
    "among_three": "among the first three findings",
    "first": "as the first finding",
    "grave_alarms": "clean runs with a critical or major finding of it",
    "any_alarms": "clean runs with any finding of it",
    "confusable_alarms": "clean runs that look like it, with any finding of it",
}


_OF_CONTROLS: Final = ("grave_alarms", "any_alarms", "confusable_alarms")


@cache
def _planted_scores() -> dict[str, dict[str, tuple[int, int]]]:
    scores: dict[str, dict[str, tuple[int, int]]] = json.loads(SCORES_FILE.read_text(encoding="utf-8"))
    return scores


def _rate(hits: int, of: int, name: str) -> str:
    if not of:
        lacking = "such run was made" if name in _OF_CONTROLS else "fault of this cause was planted and verified there"
        return f"not measured by planting, because no {lacking}"
    low, high = wilson_interval(hits, of)
    return f"{hits} of {of} ({low:.2f} to {high:.2f})"


def thresholds(check: Check) -> list[tuple[str, str, str]]:
    """Name, value and source of each threshold of a check."""
    return _rows(check.thresholds, "")


def _rows(limits: object, prefix: str) -> list[tuple[str, str, str]]:
    """Thresholds that checks share stand in a dataclass of their own, as a field: `stability.spike`."""
    if not dataclasses.is_dataclass(limits) or isinstance(limits, type):
        raise TypeError(f"{limits!r}: thresholds are a frozen dataclass")
    rows = []
    for field in dataclasses.fields(limits):
        value = getattr(limits, field.name)
        if dataclasses.is_dataclass(value):
            rows += _rows(value, f"{prefix}{field.name}.")
        else:
            rows.append((f"{prefix}{field.name}", f"{value:g}", str(field.metadata[SOURCE])))
    return rows


def pages() -> dict[str, str]:
    """File name -> content, one for every cause and an index."""
    index = [
        "# Checks",
        "",
        "One for every cause, in the order of the report. Made by `runaudit.reports.check_pages`.",
        "",
    ]
    index += ["`diagnostics.md` and `yolo.md` in the sources of thresholds are the project's pages of research.", ""]
    index += [f"- [{check.title}]({check.cause}.md)" for check in CHECKS]
    return {"index.md": "\n".join(index) + "\n"} | {f"{check.cause}.md": page(check) for check in CHECKS}


def _sentence(value: str) -> str:
    return " ".join(value.split())


def _cell(value: str) -> str:
    return _sentence(value).replace("|", "\\|")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
