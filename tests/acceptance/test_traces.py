"""One trace from the request to the webhook: API, worker and sender as processes, and a collector that takes spans."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.conftest import wait_until
from tests.embedded.service import serving
from tests.service.collector import collecting
from tests.worker.webhooks.receiver import receiving
from tests.worker.workplace import curves_run

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


def test_a_request_its_audit_and_its_webhooks_are_one_trace(tmp_path: Path) -> None:
    with collecting() as collector, receiving() as receiver:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            # Spans wait so many milliseconds to be sent together.
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "RUNAUDIT_WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
            "RUNAUDIT_WEBHOOK_ALLOW_HTTP": "true",
        }
        with serving(tmp_path / "data", environment=environment) as service:
            url, key = service.credentials["url"], service.credentials["key"]
            callback = f'{{"callback_url": "{receiver.url("/told?token=secret")}"}}'
            answer = httpx.post(
                f"{url}/v1/audits",
                files={"artifact": ("run.zip", curves_run()), "request": (None, callback, "application/json")},
                headers={"Authorization": f"Bearer {key}", "traceparent": f"00-{TRACE}-{CALLER}-01"},
                timeout=30,
            )
            assert answer.status_code == 202, answer.text
            wait_until(lambda: "webhook audit.succeeded" in collector.spans, seconds=60, what="the last span")
    ours = [(service, span) for service, span in collector.sent if span.trace_id.hex() == TRACE]
    spans = {span.name: span for _, span in ours}
    assert {service for service, _ in ours} == {"runaudit-api", "runaudit-worker", "runaudit-sender"}
    request, audit = spans["POST /v1/audits"], spans["audit"]
    assert request.parent_span_id.hex() == CALLER
    assert audit.parent_span_id == request.span_id
    # What the children did, as their progress tells.
    stages = [span for _, span in ours if span.parent_span_id == audit.span_id]
    assert {"read_run", "diagnose"} <= {span.name for span in stages}, sorted(span.name for span in stages)
    told = spans["webhook audit.succeeded"]
    assert told.parent_span_id == request.span_id
    attributes = {one.key: one.value for one in told.attributes}
    assert attributes["http.response.status_code"].int_value == 204
    assert "secret" not in str(told)
