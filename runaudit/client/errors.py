"""The errors that a client of the service can meet, beside those of its own input."""

from __future__ import annotations

from typing import Any

from runaudit.errors import RunauditError


class ProblemError(RunauditError):
    """The service answered with a problem document (RFC 9457).

    `error_code` is the document's stable code and `http_status` the status of the answer. An answer that is no
    problem document, from a proxy for one, has the code `service_error`.
    """

    code = "service_error"
    status = 502
    title = "The service refused the request"

    def __init__(self, document: dict[str, Any], http_status: int) -> None:
        errors = document.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        pointer = first.get("pointer")
        super().__init__(
            str(document.get("detail") or document.get("title") or f"the service answered {http_status}"),
            code=str(document.get("code") or self.code),
            place=pointer if isinstance(pointer, str) else None,
        )
        self.http_status = http_status
        self.document = document

    def problem(self) -> dict[str, Any]:
        """The document as the service sent it."""
        return self.document


class ServiceUnreachableError(RunauditError):
    """No answer could be had, after all retries."""

    code = "service_unreachable"
    status = 503
    title = "The service can't be reached"


class WaitTimeoutError(RunauditError):
    """The audit had not ended when the time that the caller gave was over. The audit itself goes on."""

    code = "wait_timed_out"
    status = 504
    title = "The audit has not ended yet"


class CredentialsError(RunauditError):
    """It is not known where the service is, or the credentials file can't be read."""

    code = "credentials_missing"
    status = 401
    title = "The service's address and key are not known"
