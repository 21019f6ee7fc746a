"""What is being worked on, for log lines: the ids of request, tenant, audit and job, kept by a context variable.

A thread begins with an empty context: start one for the same work by `contextvars.copy_context().run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import UUID

FIELDS: Final = ("request_id", "tenant_id", "audit_id", "job_id")
_EMPTY: Final[Mapping[str, str]] = {}
_fields: Final[ContextVar[Mapping[str, str]]] = ContextVar("log fields", default=_EMPTY)
_traceparent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)


def fields() -> Mapping[str, str]:
    """The fields that are known here, by name."""
    return _fields.get()


def request_id() -> str | None:
    """The id of the request that is being answered, or that asked for this work."""
    return _fields.get().get("request_id")


def traceparent() -> str | None:
    """The W3C trace context to hand on (version-trace-parent-flags), where traces are made."""
    return _traceparent.get()


def note(**known: str | UUID | None) -> None:
    """From here on lines of this context have these fields, names of FIELDS. None takes one away."""
    merged = {**_fields.get(), **{name: str(value) for name, value in known.items() if value is not None}}
    _fields.set({name: value for name, value in merged.items() if known.get(name, "") is not None})


def begin(**known: str | UUID | None) -> None:
    """As `note`, with nothing of what was known before."""
    _fields.set({name: str(value) for name, value in known.items() if value is not None})
    _traceparent.set(None)


def hand_on(trace: str | None) -> None:
    """What `traceparent` gives from here on."""
    _traceparent.set(trace)


@contextmanager
def noted(**known: str | UUID | None) -> Iterator[None]:
    """`note` for the time of the context."""
    token = _fields.set(_fields.get())
    try:
        note(**known)
        yield
    finally:
        _fields.reset(token)
