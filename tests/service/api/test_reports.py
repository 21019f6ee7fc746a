"""Reports over HTTP: five renderings by `?format=` and Accept, figures, and headers that keep a page to itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from runaudit.diagnostics.policy import Policy
from runaudit.reports.figures import figures
from runaudit.reports.html import CONTENT_SECURITY_POLICY
from runaudit.reports.renderings import render
from runaudit.reports.schema import Report
from runaudit_service.store import queue
from tests.reports.cases import build, faulty_evidence
from tests.reports.filled import HOSTILE, filled
from tests.service.clients import Api, claim, code_of


def audited(api: Api, engine: Engine, report: Report) -> str:
    """An audit that a worker ended with this report; its address."""
    audit_id = api.submit(report.headline.encode()).json()["id"]
    result = queue.Result(report.verdict, report.headline, [], "ultralytics", "1", report.model_dump_json())
    assert queue.succeed(engine, claim(engine, audit_id), result)
    return f"/v1/audits/{audit_id}"


def test_all_renderings_by_format_and_by_accept(api: Api, engine: Engine) -> None:
    report = build(faulty_evidence(), Policy(min_map50_95=0.9))
    place = audited(api, engine, report)
    for format, media_type, suffix, shown in (
        ("json", "application/json", "json", "inline"),
        ("html", "text/html; charset=utf-8", "html", "inline"),
        ("markdown", "text/markdown; charset=utf-8", "md", "inline"),
        ("junit", "application/xml", "xml", "attachment"),
        ("sarif", "application/sarif+json", "sarif", "attachment"),
    ):
        by_format = api.get(f"{place}/report", params={"format": format})
        by_accept = api.get(f"{place}/report", headers={"Accept": f"image/png, {media_type.partition(';')[0]};q=0.9"})
        for answer in (by_format, by_accept):
            assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
            audit_id = place.rpartition("/")[2]
            assert answer.headers["content-disposition"] == f'{shown}; filename="runaudit-{audit_id}.{suffix}"'
            assert answer.headers["x-content-type-options"] == "nosniff" and "Accept" in answer.headers["vary"]
        assert by_format.content == by_accept.content
        if format != "json":
            assert by_format.text == render(report, format)  # type: ignore[arg-type]
    assert json.loads(api.get(f"{place}/report").text) == report.model_dump(mode="json")
    # What a browser sends.
    seen = api.get(
        f"{place}/report", headers={"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    )
    assert seen.headers["content-type"].startswith("text/html")


def test_a_page_can_do_nothing_but_be_looked_at(api: Api, engine: Engine) -> None:
    place = audited(api, engine, filled(lambda: HOSTILE))
    page = api.get(f"{place}/report", params={"format": "html"})
    assert page.status_code == 200 and "<script" not in page.text
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY and "sandbox" in CONTENT_SECURITY_POLICY
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store, private"


def test_figures_are_drawn_from_the_report(api: Api, engine: Engine) -> None:
    report = build(faulty_evidence())
    place = audited(api, engine, report)
    names = {name for finding in report.findings for name in finding.figures}
    assert names
    for name in names:
        picture = api.get(f"{place}/figures/{name}")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/svg+xml")
        assert picture.text == figures(report)[name]
        assert picture.headers["content-security-policy"].startswith("default-src 'none'")
    for name in ("calibration.svg", "nothing", "..%2Freport", "losses.svg%00"):
        assert code_of(api.get(f"{place}/figures/{name}")) in ("figure_not_found", "not_found")


def test_figures_wait_for_the_report_as_it_does(api: Api) -> None:
    audit_id = api.submit().json()["id"]
    assert code_of(api.get(f"/v1/audits/{audit_id}/figures/losses.svg")) == "audit_not_ended"


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ({"params": {"format": "pdf"}}, "report_format_unknown"),
        ({"params": {"format": "text"}}, "report_format_unknown"),
        ({"headers": {"Accept": "image/png"}}, "not_acceptable"),
        ({"headers": {"Accept": "application/json;q=0"}}, "not_acceptable"),
        ({"headers": {"Accept": "text/markdown;q=x"}}, "not_acceptable"),
    ],
)
def test_a_format_that_is_not_served_is_told(api: Api, by: dict[str, Any], code: str) -> None:
    response = api.get(f"/v1/audits/{api.submit().json()['id']}/report", **by)
    assert (response.status_code, code_of(response)) == (406, code)
