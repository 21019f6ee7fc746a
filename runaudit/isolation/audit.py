"""One audit from input to report: two child processes one after the other, joined by a job folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runaudit.errors import ChildError
from runaudit.isolation.job import JobFolder, JobSpec
from runaudit.isolation.process import Child
from runaudit.isolation.supervisor import OnProgress, ShouldStop, run_child

if TYPE_CHECKING:
    from runaudit.reports.schema import Report


def read_report(folder: JobFolder, limit: int) -> Report:
    """The report that a child left, validated: a child is not trusted. Raises ChildError."""
    from runaudit.reports.schema import Report  # noqa: PLC0415 - loaded while the child works (`_prepare`)

    size = folder.report.stat().st_size
    if size > limit:
        raise ChildError(f"The report has {size} bytes; {limit} are allowed.", code="report_too_large")
    try:
        return Report.model_validate_json(folder.report.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ChildError(
            f"The report breaks its schema at {first['loc']}: {first['msg']}", code="report_invalid"
        ) from error


def run_audit(
    spec: JobSpec, folder: Path, *, on_progress: OnProgress, should_stop: ShouldStop, started: Child | None = None
) -> Report:
    """Audit one run in child processes.

    `folder` is an empty folder of this audit's own; the caller deletes it. `on_progress` is called from this thread.
    `should_stop` is asked several times a second. `started` is an ingest child of this folder that waits already.

    Raises: InputError (handing in the same again fails again), ChildError (another attempt may succeed),
    ChildTimeoutError, CancelledError. No child is left running, whatever happens.
    """
    job = JobFolder(folder)
    job.spec.write_text(spec.model_dump_json())
    run_child(
        "ingest",
        job,
        seconds=spec.limits.ingest_seconds,
        on_progress=on_progress,
        should_stop=should_stop,
        started=started,
        meanwhile=_prepare,
    )
    # Ingest writes the report itself where there is no model to run.
    if not job.report.exists():
        run_child(
            "evaluate", job, seconds=spec.limits.evaluate_seconds, on_progress=on_progress, should_stop=should_stop
        )
    return read_report(job, spec.limits.report_bytes)


def _prepare() -> None:
    """Load what the end of an audit needs, while the child reads the run: the schema takes as long as a short run."""
    from runaudit.reports.schema import Report  # noqa: PLC0415

    Report.model_rebuild()
