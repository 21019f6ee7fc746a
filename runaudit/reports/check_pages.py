"""A page for every check, made from the check itself: `python -m runaudit.reports.check_pages docs/checks`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.evidence import Check
from runaudit.diagnostics.thresholds import SOURCE


def page(check: Check) -> str:
    """The page of one check, as Markdown."""
    lines = [f"# {check.title}", "", f"Cause: `{check.cause}`", "", _sentence(check.question), ""]
    lines += ["## What is measured", "", check.statistic, "", "## Thresholds", ""]
    lines += ["| threshold | value | what set it |", "|---|---|---|"]
    lines += [f"| `{name}` | {value} | {_cell(source)} |" for name, value, source in thresholds(check)]
    lines += ["", "## What else looks like it", "", *(f"- {mode}" for mode in check.false_positives)]
    lines += ["", "## References", "", *(f"- {reference}" for reference in check.references)]
    return "\n".join(lines) + "\n"


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
