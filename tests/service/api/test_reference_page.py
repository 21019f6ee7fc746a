"""The page of the API loads nothing from elsewhere, and all that it names is there."""

from __future__ import annotations

import re

from tests.service.clients import Api


def test_the_page_is_made_of_this_services_files(api: Api):
    page = api.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4 and not any("//" in one for one in named)
    for one in named:
        part = api.get(f"/{one}")
        assert part.status_code == 200 and part.content, one
        assert part.headers["x-content-type-options"] == "nosniff"


def test_the_page_may_run_no_script_of_others(api: Api):
    policy = api.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "connect-src 'self';" in policy


def test_the_ui_is_started_on_the_document_of_this_service(api: Api):
    assert 'url: "openapi.json"' in api.get("/docs/start.js").text
    assert "SwaggerUIBundle" in api.get("/docs/swagger-ui-bundle.js").text
