"""Logging of the workshop's processes: one line an event, to standard error."""

from __future__ import annotations

import logging
import time


def log_to_stderr() -> None:
    """Sets logging up; times are UTC in RFC 3339."""
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # A line for each bell says nothing that the lines about audits do not.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
