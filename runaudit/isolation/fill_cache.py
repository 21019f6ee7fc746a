"""Filling the data cache: a data child reads one artifact, and what it made is taken in."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from runaudit.errors import ChildError
from runaudit.isolation.data_cache import DataCache, Place
from runaudit.isolation.data_job import DataJob, kept_reading
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.job import JobSpec
from runaudit.isolation.process import StartChild, start_child
from runaudit.isolation.supervisor import OnProgress, ShouldStop, run_child
from runaudit.runs.data_options import DataOptions


def make_reading(
    cache: DataCache,
    place: Place,
    wanted: Path,
    spec: JobSpec,
    *,
    on_progress: OnProgress,
    should_stop: ShouldStop,
    start: StartChild = start_child,
) -> None:
    """Have a data child read the data of `spec` as the file `wanted` says, and take what it makes into the cache.

    If another audit has that made already, its end is waited for, nothing is made twice, and `wanted` is removed.
    Raises as `run_child` does.
    """
    options = _wanted(wanted)
    if spec.data is None:
        raise ValueError("no data came beside the run")
    with cache.making(place, should_stop) as root:
        if kept_reading(place, options) is not None:
            wanted.unlink()
            return
        folder = JobFolder(root)
        job = DataJob(archive=spec.data.path, options=options, limits=spec.limits, entry=str(place.folder))
        folder.spec.write_text(job.model_dump_json())
        seconds = spec.limits.ingest_seconds
        run_child("data", folder, seconds=seconds, on_progress=on_progress, should_stop=should_stop, start=start)
        cache.take_in(place, folder.made)


def _wanted(file: Path) -> DataOptions:
    """What an ingest child asked for. It read a hostile run, and is not trusted. Raises ChildError."""
    try:
        return DataOptions.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ChildError("The ingest process asked for data in no known way.", code="child_output_invalid") from error
