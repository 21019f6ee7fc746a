"""The errors a person can meet: each has a stable code, an HTTP status and a sentence that says what to do."""

from __future__ import annotations

from typing import Any, ClassVar


class RunauditError(Exception):
    """Root of the tree.

    `code` is stable and documented in docs/errors.md; `status` is the HTTP status of its problem document;
    `place` names where in the input it was found, as `data.yaml:3` (file inside the artifact, line from 1).
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Runaudit failed"

    def __init__(self, detail: str, *, code: str | None = None, place: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.place = place
        self.error_code = code or self.code

    def problem(self) -> dict[str, Any]:
        """This error as an RFC 9457 problem document (without `request_id`)."""
        body: dict[str, Any] = {
            "type": f"https://runaudit.dev/problems/{self.error_code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.error_code,
        }
        if self.place is not None:
            body["errors"] = [{"pointer": self.place, "detail": self.detail}]
        return body


class InputError(RunauditError):
    """What was handed in can't be audited; handing in the same again will fail again."""

    code = "input_unreadable"
    status = 422
    title = "The input can't be read"


class ArchiveError(InputError):
    """An archive that is damaged, hostile, too large, or of an unknown format."""

    code = "archive_unreadable"
    title = "The archive can't be unpacked"


class RunNotFoundError(InputError):
    """Neither results.csv, args.yaml, opt.yaml nor weights were found."""

    code = "run_not_found"
    title = "No training run was found"


class YamlError(InputError):
    """A YAML file that is not plain data: a syntax error, a tag, an alias, a duplicate key, or far too large."""

    code = "yaml_invalid"
    title = "A YAML file can't be read"


class CurvesError(InputError):
    """A results.csv in which no epoch can be read."""

    code = "results_unreadable"
    title = "results.csv can't be read"


class DatasetError(InputError):
    """A data.yaml that names no images or contradicts itself."""

    code = "dataset_unreadable"
    title = "The data set can't be read"


class CheckpointError(InputError):
    """A checkpoint that is damaged, of an unknown format, or hostile. Reported by a check, not as a failed audit."""

    code = "checkpoint_unreadable"
    title = "The checkpoint can't be read"


class ChildError(RunauditError):
    """A child process ended without a result; another attempt may succeed."""

    code = "child_crashed"
    title = "An audit process ended unexpectedly"


class ChildTimeoutError(ChildError):
    """A child process ran past its wall clock; it would do so again, so it is not tried again."""

    code = "audit_timed_out"
    title = "The audit ran out of time"


class ChildMemoryError(ChildError):
    """A child process ran out of memory, its own or a GPU's. What shares that memory may give it back, so a worker
    tries once more, after a pause; not more often, since the same input mostly needs the same again.
    """

    code = "out_of_memory"
    title = "The audit ran out of memory"


class WorkerLostError(RunauditError):
    """A worker was not heard of any more while it held the audit, as often as an audit is tried."""

    code = "worker_lost"
    title = "The worker was lost"


class CancelledError(RunauditError):
    """The audit was cancelled while it ran."""

    code = "cancelled"
    status = 409
    title = "The audit was cancelled"


_INPUT_ERRORS: dict[str, type[InputError]] = {
    kind.__name__: kind
    for kind in (
        InputError,
        ArchiveError,
        RunNotFoundError,
        YamlError,
        CurvesError,
        DatasetError,
        CheckpointError,
    )
}


def dump_error(error: RunauditError) -> dict[str, str | None]:
    """An error as plain data, for another process; `load_input_error` is its inverse for input errors."""
    kind = type(error).__name__
    return {"kind": kind, "code": error.error_code, "detail": error.detail, "place": error.place}


def load_input_error(data: dict[str, str | None]) -> InputError:
    """The input error that `dump_error` wrote. An unknown kind becomes a plain InputError."""
    kind = _INPUT_ERRORS.get(data.get("kind") or "", InputError)
    return kind(data.get("detail") or kind.title, code=data.get("code"), place=data.get("place"))


def load_machine_error(data: dict[str, str | None]) -> ChildError:
    """The error of the machine that `dump_error` wrote in a child. Any other kind becomes a plain ChildError."""
    kind = ChildMemoryError if data.get("kind") == ChildMemoryError.__name__ else ChildError
    return kind(data.get("detail") or kind.title, code=data.get("code"), place=data.get("place"))
