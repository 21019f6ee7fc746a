"""Lines of the log: JSON or plain text, with the ids of what is worked on, one line an event."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import uuid
from typing import Any

from runaudit_service.store import log_context
from runaudit_service.store.logs import JsonFormatter, TextFormatter


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("runaudit", logging.WARNING, __file__, 1, message, arguments, None)
    vars(made).update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    told: dict[str, Any] = json.loads(text)
    return told


def test_a_line_tells_what_is_worked_on() -> None:
    audit = uuid.uuid4()
    log_context.begin(request_id="r-1")
    with log_context.noted(audit_id=audit, job_id=None):
        told = line(record("took %d", 3, seconds=1.5))
    assert (told["message"], told["level"], told["seconds"]) == ("took 3", "warning", 1.5)
    assert (told["request_id"], told["audit_id"]) == ("r-1", str(audit))
    assert "job_id" not in told and told["time"].endswith("+00:00")
    assert "audit_id" not in line(record("after it"))
    coloured = record("Finished server process [%d]", 7, color_message="Finished server process [\x1b[36m%d\x1b[0m]")
    assert "\\u001b" not in JsonFormatter().format(coloured) and "color_message" not in line(coloured)
    log_context.begin(request_id="r-2")
    assert line(record("another"))["request_id"] == "r-2"


def test_what_strangers_write_stays_within_its_line() -> None:
    hostile = 'x"}\n{"level":"info","message":"forged'
    assert line(record("named %s", hostile))["message"] == f"named {hostile}"


def test_a_trace_is_part_of_the_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: broken" in line(made)["trace"]


def test_plain_text_ends_with_the_ids() -> None:
    log_context.begin(request_id="r-3")
    text = TextFormatter().format(record("took %d", 3, seconds=1.5))
    assert text.endswith("WARNING runaudit: took 3 request_id=r-3 seconds=1.5")


def test_a_thread_knows_only_what_it_is_given() -> None:
    log_context.begin(request_id="r-4")
    seen: list[str | None] = []

    def look() -> None:
        seen.append(log_context.request_id())

    copied = contextvars.copy_context()
    for target in (look, lambda: copied.run(look)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert seen == [None, "r-4"]
