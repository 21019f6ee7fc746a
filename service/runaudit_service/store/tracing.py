"""Traces from request to runner by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT says where to send them.

Without that variable nothing of OpenTelemetry is imported and every call here does nothing. The other variables of
OpenTelemetry (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS) hold as they always do. A job carries
the trace of the request that asked for it as `traceparent` (W3C Trace Context), so that the worker's spans join it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runaudit_service.store import log_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_NAME: Final = "OTEL_SERVICE_NAME"


class Tracing:
    """What makes spans in this process; nothing until `begin`."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: TracerProvider | None = None

    def begin(self, service_name: str) -> None:
        """Send spans, if the environment says where to. Raises ImportError if the extra `otel` is not installed."""
        if not os.environ.get(ENDPOINT):
            return
        # ruff: noqa: PLC0415 - nothing is imported where no traces are wanted
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": os.environ.get(_NAME, service_name)})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("runaudit")

    def end(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()
        self._tracer = self._provider = None

    @contextmanager
    def span(self, name: str, *, parent: str | None = None) -> Iterator[Span | None]:
        """A span for the time of the context, below `parent` (a traceparent) or else below the span around it.

        What is made within hands its traceparent on. None where no traces are made.
        """
        if self._tracer is None:
            yield None
            return
        from opentelemetry.propagate import extract, inject

        context = extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(name, context=context) as span:
            carrier: dict[str, str] = {}
            inject(carrier)
            before = log_context.traceparent()
            log_context.hand_on(carrier.get("traceparent"))
            try:
                yield span
            finally:
                log_context.hand_on(before)

    def past(self, name: str, *, begun: float, ended: float) -> None:
        """A span that is over, below the one around it; times in seconds since 1970."""
        if self._tracer is not None:
            span = self._tracer.start_span(name, start_time=int(begun * 1e9))
            span.end(int(ended * 1e9))


tracing: Final = Tracing()
"""this process' own"""
