"""The renderings of a report by name, with their media types: what the service and the command line offer."""

from __future__ import annotations

from typing import Final, Literal

from runaudit.reports.schema import Report

Rendering = Literal["json", "html", "markdown", "junit", "sarif", "text"]

MEDIA_TYPES: Final[dict[Rendering, str]] = {
    "json": "application/json",
    "html": "text/html",
    "markdown": "text/markdown",
    "junit": "application/xml",
    "sarif": "application/sarif+json",
    "text": "text/plain",
}
SUFFIXES: Final[dict[Rendering, str]] = {
    "json": ".json",
    "html": ".html",
    "markdown": ".md",
    "junit": ".xml",
    "sarif": ".sarif",
    "text": ".txt",
}
"""what a file of a rendering is called; GitHub and Visual Studio know SARIF by its suffix"""


def render(report: Report, rendering: Rendering) -> str:
    """The report in one of its renderings; the same report gives the same text."""
    # Loaded when asked for: SARIF brings every check's page with it, and most callers want one rendering.
    match rendering:
        case "json":
            return report.model_dump_json(indent=2) + "\n"
        case "html":
            from runaudit.reports.html import render_html  # noqa: PLC0415

            return render_html(report)
        case "markdown":
            from runaudit.reports.markdown import render_markdown  # noqa: PLC0415

            return render_markdown(report)
        case "junit":
            from runaudit.reports.junit import render_junit  # noqa: PLC0415

            return render_junit(report)
        case "sarif":
            from runaudit.reports.sarif import render_sarif  # noqa: PLC0415

            return render_sarif(report)
        case "text":
            from runaudit.reports.text import render_text  # noqa: PLC0415

            return render_text(report)
