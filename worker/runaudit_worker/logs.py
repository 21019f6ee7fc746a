"""Logging of the workshop's processes, as the settings say."""

from __future__ import annotations

from runaudit_service.store import logs
from runaudit_service.store.settings import settings


def log_to_stderr() -> None:
    """Sets logging up."""
    logs.log_to_stderr(settings().log_format)
