"""Traces go from a request to its job and on to the worker, and nothing of it is loaded where they are off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runaudit_service.store import log_context, tracing
from tests.service.collector import Collector, collecting

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def test_spans_join_the_trace_that_they_are_given(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracing.ENDPOINT, collector.url)
    ours = tracing.Tracing()
    ours.begin("runaudit-test")
    with ours.span("POST", parent=PARENT):
        handed_on = log_context.traceparent()
        assert handed_on is not None
    assert log_context.traceparent() is None
    with ours.span("audit", parent=handed_on):
        ours.past("validate", begun=1000.0, ended=1002.5)
    ours.end()
    request, audit, stage = (collector.spans[name] for name in ("POST", "audit", "validate"))
    assert {service for service, _ in collector.sent} == {"runaudit-test"}
    assert {span.trace_id.hex() for span in (request, audit, stage)} == {PARENT.split("-")[1]}
    assert request.parent_span_id.hex() == PARENT.split("-")[2]
    assert (audit.parent_span_id, stage.parent_span_id) == (request.span_id, audit.span_id)
    assert stage.end_time_unix_nano - stage.start_time_unix_nano == 2_500_000_000


def test_without_an_endpoint_nothing_is_imported() -> None:
    program = (
        "import sys; from runaudit_service.store.tracing import tracing; tracing.begin('x')\n"
        "with tracing.span('y') as span: assert span is None\n"
        "tracing.past('z', begun=1, ended=2); tracing.end()\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
