"""One audit from input to report: child processes one after the other, joined by a job folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runaudit.errors import ChildError
from runaudit.isolation.job import ChildName, JobFolder, JobSpec
from runaudit.isolation.process import Child, StartChild, start_child
from runaudit.isolation.supervisor import OnProgress, ShouldStop, run_child

if TYPE_CHECKING:
    from runaudit.isolation.data_cache import DataCache, Place
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
    spec: JobSpec,
    folder: Path,
    *,
    on_progress: OnProgress,
    should_stop: ShouldStop,
    start: StartChild = start_child,
    started: Child | None = None,
    data_cache: DataCache | None = None,
) -> Report:
    """Audit one run in child processes.

    `folder` is an empty folder of this audit's own; the caller deletes it. `on_progress` is called from this thread.
    `should_stop` is asked several times a second. `start` starts the children; `started` is an ingest child of this
    folder that waits already.
    With `data_cache` a data artifact is unpacked and read once, and by later audits taken from there.

    Raises: InputError (handing in the same again fails again), ChildError (another attempt may succeed),
    ChildTimeoutError, CancelledError. No child is left running, whatever happens.
    """
    job = JobFolder(folder)

    def run(stage: ChildName, started: Child | None = None, meanwhile: Callable[[], None] | None = None) -> None:
        seconds = spec.limits.evaluate_seconds if stage == "evaluate" else spec.limits.ingest_seconds
        run_child(
            stage,
            job,
            seconds=seconds,
            on_progress=on_progress,
            should_stop=should_stop,
            start=start,
            started=started,
            meanwhile=meanwhile,
        )

    with _room_made(data_cache), _place_of_data(spec, data_cache) as place:
        if place is not None:
            spec = spec.model_copy(update={"data_entry": str(place.folder)})
        job.spec.write_text(spec.model_dump_json())
        run("ingest", started, _prepare)
        if data_cache is not None and place is not None and job.data_wanted.exists():
            from runaudit.isolation.fill_cache import make_reading  # noqa: PLC0415 - not without a cache

            make_reading(
                data_cache, place, job.data_wanted, spec, on_progress=on_progress, should_stop=should_stop, start=start
            )
            run("ingest")
        # Ingest writes the report itself where there is no model to run.
        if not job.report.exists():
            run("evaluate")
    return read_report(job, spec.limits.report_bytes)


@contextmanager
def _room_made(cache: DataCache | None) -> Iterator[None]:
    """Where the disk is full, the cache gives up what no audit uses, so that another attempt may find room."""
    try:
        yield
    except ChildError as error:
        if cache is not None and error.error_code == "disk_full":
            cache.shrink(0)
        raise


@contextmanager
def _place_of_data(spec: JobSpec, cache: DataCache | None) -> Iterator[Place | None]:
    """The place of the data artifact in the cache, kept from removal; None if it is none, or no data are read."""
    data = spec.data
    if cache is None or data is None or data.kind != "archive" or data.sha256 is None or spec.depth == "curves":
        yield None
        return
    with cache.use(data.sha256) as place:
        yield place


def _prepare() -> None:
    """Load what the end of an audit needs, while the child reads the run: the schema takes as long as a short run."""
    from runaudit.reports.schema import Report  # noqa: PLC0415

    Report.model_rebuild()
