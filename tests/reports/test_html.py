"""The HTML rendering: complete, self-contained, accessible, and no string of a run becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import count
from typing import Any

import pytest

from runaudit.diagnostics.policy import Policy
from runaudit.reports.elements import Markup, element, preformatted
from runaudit.reports.html import CONTENT_SECURITY_POLICY, render_html
from runaudit.reports.html_data import MOST_ROWS
from runaudit.reports.html_style import STYLE
from runaudit.reports.schema import Report
from tests.diagnostics import cases
from tests.reports.cases import build, faulty_evidence, hostile_evidence
from tests.reports.filled import HOSTILE, filled

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "article", "div"),
    *("h1", "h2", "h3", "h4", "p", "span", "strong", "a", "ul", "li", "dl", "dt", "dd", "pre", "code"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure"),
    *("svg", "line", "rect", "circle", "path", "text"),
}
VOID = {"meta"}


class Outline(HTMLParser):
    """Reads a page as a browser does, and holds it to what this page may have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.captions = self.tables = 0
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        names = {name for name, _ in attrs}
        assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in names), attrs
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "th":
            assert values.get("scope") in ("row", "col")
        if tag == "svg":
            assert values.get("role") == "img" and values.get("aria-label")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@pytest.mark.parametrize(
    "report",
    [
        build(cases.healthy()),
        build(faulty_evidence(), Policy(min_map50_95=0.9)),
        build(hostile_evidence(), Policy(min_class_map50_95={"<b>": 0.1})),
        build(cases.without_everything()),
        build(cases.curves_only(cases.run())),
        filled(lambda: HOSTILE),
    ],
    ids=["healthy", "faulty", "hostile", "configuration", "curves", "filled"],
)
def test_the_page_is_well_formed_and_holds_only_what_it_may(report: Report) -> None:
    page = render_html(report)
    outline = Outline(page)
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert outline.tables == outline.captions
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[0] for link in outline.links} == {"#"} and {link[1:] for link in outline.links} <= set(outline.ids)
    assert render_html(report) == page
    assert page.replace("\n", "").isprintable()


def test_the_style_is_the_one_that_the_policy_allows() -> None:
    page = render_html(build(cases.healthy()))
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None and style[1] == STYLE and page.count("<style") == 1
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert CONTENT_SECURITY_POLICY.startswith(policy[1]) and CONTENT_SECURITY_POLICY.endswith("; sandbox")


def test_every_value_of_the_report_is_on_the_page() -> None:
    numbers = count()
    report = filled(lambda: f"word{next(numbers)}x")
    page = render_html(report)
    document = report.model_dump(mode="json")
    left_out = {path for path, value in leaves(document) if not any(form in page for form in forms(value))}
    assert left_out == {
        "findings.0.impact.direction",  # told in words
        "findings.0.figures.0",  # the name of no figure
        "validation.ci95.key",  # the names of no metric
        "validation.difference.key",
        "validation.calibration.d_ece.bins",
        "validation.calibration.la_ece.bins",
    }


def test_long_curves_are_thinned_in_the_table() -> None:
    report = build(cases.curves_only(cases.run(cases.smooth(3000))))
    page = render_html(report)
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>', page[page.index("Curves by epoch") :].split("</table>")[0])
    assert len(rows) <= MOST_ROWS + 1 and rows[0] == "1" and rows[-1] == "3000"
    assert "every 6th of 3000" in page


def test_colours_can_be_read_in_light_and_dark() -> None:
    light, dark = (re.findall(r"--(\w+): (#[0-9a-f]{6})", part) for part in STYLE.split("@media (prefers", 1))
    for theme in (dict(light), dict(dark)):
        page = theme["page"]
        assert contrast(theme["words"], page) >= 7 and contrast(theme["words"], theme["panel"]) >= 7
        assert all(contrast(theme[name], page) >= 4.5 for name in ("good", "bad", "warn", "link"))


def test_elements_escape_all_but_markup() -> None:
    assert element("p", "<b>&\"'") == "<p>&lt;b&gt;&amp;&quot;&#x27;</p>"
    assert element("p", element("b", "x"), Markup("<i>y</i>")) == "<p><b>x</b><i>y</i></p>"
    assert element("a", href='"><script>', class_="c", aria_label="z", id=None) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="c" aria-label="z"></a>'
    )
    assert preformatted("a\n  <b>\x1b[31m\u202e\n") == "a\n  &lt;b&gt; "


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    match value:
        case dict():
            for key, item in value.items():
                name = re.sub(r"^(word\d+x|\d+)$", "*", str(key))
                yield from leaves(item, f"{path}.{name}".lstrip("."))
                if name == "*" and isinstance(key, str) and key.startswith("word"):
                    yield f"{path}.key", key
        case list():
            for item in value:
                yield from leaves(item, f"{path}.0")
        case _:
            yield path, value


def forms(value: Any) -> list[str]:
    """How a value may stand on the page."""
    match value:
        case None | bool():
            return [""]
        case float():
            return [f"{value:.4g}", f"{value:.3f}", f"{value:+.4f}", f"{value:.2f}", f"{value:.0f}"]
        case str():
            return [value, value.replace("_", " "), value.upper()]
        case _:
            return [str(value)]


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two sRGB colours."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_verdict_stands_apart_from_the_name():
    assert "<h1>Runaudit: <span" in render_html(build(faulty_evidence()))
