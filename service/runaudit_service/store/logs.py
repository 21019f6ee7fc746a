"""Logging of every process of the service: one line an event, to standard error, as JSON or as plain text."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal

from runaudit_service.store import log_context

LogFormat = Literal["json", "text"]

# What every record has; anything beside it was given by `extra=`, and is told. `color_message` is uvicorn's message
# once more, unfilled and for a terminal.
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# A line for each bell says nothing that the lines about audits do not; httpx tells of each request twice.
_QUIET: Final = ("celery.worker.strategy", "celery.app.trace", "httpx", "httpcore")


class JsonFormatter(logging.Formatter):
    """A line of JSON: time (RFC 3339), level, logger, message, ids of what is worked on, whatever else is known."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **log_context.fields(),
            **_extra(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: the ids follow the message."""

    def __init__(self) -> None:
        self.converter = time.gmtime
        super().__init__("%(asctime)sZ %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        known = {**log_context.fields(), **_extra(record)}
        return super().formatMessage(record) + "".join(f" {name}={value}" for name, value in known.items())


def log_to_stderr(log_format: LogFormat) -> None:
    """Set logging up for this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN and not name.startswith("_")}
