"""Traces go from a request to its job and on to the worker, and nothing of it is loaded where they are off."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from runaudit_service.store import log_context, tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(HTTPServer):
    """What spans are sent to: OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.services: set[str] = set()
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers.get("Content-Encoding") is None
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in sent.resource_spans:
            self.server.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            self.server.spans |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


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
    assert collector.services == {"runaudit-test"}
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
