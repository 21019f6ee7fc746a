"""What can go wrong with another server. The sentences name its host at most: what it is behind, nobody learns."""

from __future__ import annotations

from runaudit.errors import InputError, RunauditError


class EgressError(RunauditError):
    """Base of both: catch this one."""

    code = "egress_failed"
    status = 502
    title = "Another server did not answer as it should"


class EgressRefusedError(EgressError, InputError):
    """The address, or what it leads to, is not taken. Trying again would end the same."""

    code = "egress_refused"
    status = 422
    title = "What the URL leads to is not taken"


class EgressFailedError(EgressError):
    """No answer, or a broken one. Another try may succeed; `retry_after` is when the server wants it, in seconds."""

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after
