"""Exit codes, from findings, policies and errors."""

from __future__ import annotations

import pytest

from runaudit.client.errors import CredentialsError, ProblemError, ServiceUnreachableError, WaitTimeoutError
from runaudit.commands.outcome import FailOn, UsageError, error_exit_code, exit_code
from runaudit.errors import (
    ArchiveError,
    CancelledError,
    ChildError,
    ChildTimeoutError,
    RunauditError,
    RunNotFoundError,
    YamlError,
)


@pytest.mark.parametrize(
    ("severities", "policy", "fail_on", "code"),
    [
        ([], [], "major", 0),
        ([], ["met", "inconclusive", "not_run"], "minor", 0),
        ([], ["met", "broken"], "critical", 1),
        (["minor"], [], "major", 0),
        (["minor"], [], "minor", 1),
        (["major"], [], "critical", 0),
        (["minor", "major"], [], "major", 1),
        (["critical"], [], "critical", 1),
    ],
)
def test_findings_and_policy(severities: list[str], policy: list[str], fail_on: str, code: int) -> None:
    assert exit_code(severities, policy, FailOn(fail_on)) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (RunNotFoundError("x"), 2),
        (ArchiveError("x"), 2),
        (YamlError("x"), 2),
        (CredentialsError("x"), 2),
        (ProblemError({"code": "invalid_request"}, 422), 2),
        (ProblemError({"code": "unauthenticated"}, 401), 2),
        (ProblemError({"code": "not_found"}, 404), 2),
        (ProblemError({"code": "rate_limited"}, 429), 3),
        (ProblemError({"code": "not_ready"}, 503), 3),
        (ServiceUnreachableError("x"), 3),
        (WaitTimeoutError("x"), 3),
        (ChildError("x"), 3),
        (ChildTimeoutError("x"), 3),
        (RunauditError("x"), 3),
        (CancelledError("x"), 130),
    ],
)
def test_errors(error: RunauditError, code: int) -> None:
    assert error_exit_code(error) == code
