"""From a verdict or an error to the exit code: 0 pass, 1 findings or a broken policy, 2 input, 3 service."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from runaudit.errors import CancelledError, InputError, RunauditError

EXIT_PASS: Final = 0
EXIT_FINDINGS: Final = 1
EXIT_INPUT: Final = 2
EXIT_SERVICE: Final = 3
EXIT_OF_SIGNAL: Final = 128
"""and the signal's number, as shells have it"""
EXIT_INTERRUPTED: Final = EXIT_OF_SIGNAL + 2


class FailOn(StrEnum):
    """The least severity of a finding that makes the command exit with 1."""

    critical = "critical"
    major = "major"
    minor = "minor"


_GRAVITY: Final = {"minor": 1, "major": 2, "critical": 3}


class UsageError(RunauditError):
    """The command can't be done as it was given."""

    code = "usage"
    status = 400
    title = "The command can't be done as it was given"


def exit_code(severities: Iterable[str], policy_outcomes: Iterable[str], fail_on: FailOn) -> int:
    """0, or 1 for a finding at or above `fail_on` or a broken rule of the policy.

    `inconclusive` is no failure here: it exits with 0, as design.md has it, and says so in its report.
    """
    grave = any(_GRAVITY[severity] >= _GRAVITY[fail_on] for severity in severities)
    return EXIT_FINDINGS if grave or "broken" in policy_outcomes else EXIT_PASS


def error_exit_code(error: RunauditError) -> int:
    """2 for what the caller can mend, 130 for what the caller stopped, 3 for the rest."""
    if isinstance(error, CancelledError):
        return EXIT_INTERRUPTED
    if isinstance(error, InputError | UsageError):
        return EXIT_INPUT
    return problem_exit_code(getattr(error, "http_status", error.status))


def problem_exit_code(status: int) -> int:
    """2 for a client's error by HTTP status (but for 429, which time mends), else 3."""
    return EXIT_INPUT if 400 <= status < 500 and status != 429 else EXIT_SERVICE
