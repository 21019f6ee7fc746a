"""The ingest stage: unpack the archives and read run, checkpoint and data into plain files. CPU only, no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runaudit.errors import DatasetError, RunNotFoundError, YamlError
from runaudit.isolation.conclude import NO_CHECKPOINT, conclude
from runaudit.isolation.job import JobFolder, JobSpec, Limits, Progress, Source
from runaudit.runs.facts import DatasetFacts, ImageIndex, IngestFacts, RunFacts
from runaudit.runs.run import read_run

Report = Callable[[Progress], None]


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall clock of the block to `seconds[name]`."""
    start = time.perf_counter()
    yield
    seconds[name] = round(seconds.get(name, 0) + time.perf_counter() - start, 4)


def opened(source: Source, target: Path, limits: Limits, report: Report) -> Path:
    """The folder that holds the source's files: the folder itself, or the archive unpacked into `target`."""
    if source.kind == "folder":
        return Path(source.path)
    if source.kind == "data_yaml":
        return Path(source.path).parent
    from runaudit.runs.archive import unpack  # noqa: PLC0415 - a folder needs none of it
    from runaudit.runs.archive_limits import ArchiveLimits  # noqa: PLC0415

    target.mkdir(parents=True)
    unpack(
        Path(source.path),
        target,
        ArchiveLimits(unpacked_bytes=limits.unpacked_bytes, members=limits.members, ratio=limits.ratio),
        lambda done, total: report(Progress(stage="unpack", done=done, total=total)),
    )
    return target


def given_data_yaml(
    data: Source, run: RunFacts, folder: JobFolder, limits: Limits, report: Report
) -> tuple[Path, Path]:
    """Root and data.yaml of the data that came beside the run. Raises DatasetError if they hold no data.yaml."""
    from runaudit.runs.data_yaml import find_data_yaml  # noqa: PLC0415

    root = opened(data, folder.unpacked / "data", limits, report)
    found = Path(data.path) if data.kind == "data_yaml" else find_data_yaml(root, named=named_data(run))
    if found is None:
        raise DatasetError(
            "The data hold no data.yaml: a YAML file with `names` and `train` or `val` is needed.",
            code="data_yaml_missing",
        )
    return root, found


def named_data(run: RunFacts) -> str | None:
    """The data.yaml that the training was started with, as it was written."""
    data = run.argument("data")
    return data if isinstance(data, str) else None


def read_data(
    spec: JobSpec, run: RunFacts, run_root: Path, folder: JobFolder, report: Report
) -> tuple[DatasetFacts | None, str | None]:
    """The data set's facts, or None and why there are none. Writes the image index and the labels.

    Data that were handed in beside the run must be readable: raises DatasetError or YamlError. Those found inside the
    run artifact may be leftovers; what is wrong with them is told as the reason for their absence.
    """
    if spec.depth == "curves":
        return None, "The audit was asked for with depth `curves`, which reads no data."
    if spec.data is not None:
        root, yaml_path = given_data_yaml(spec.data, run, folder, spec.limits, report)
        return write_data(root, yaml_path, spec, folder, report), None
    from runaudit.runs.data_yaml import find_data_yaml  # noqa: PLC0415 - depth `curves` needs none of it

    try:
        found = find_data_yaml(run_root, named=named_data(run))
        if found is None:
            return None, "No data set came with the run: no data.yaml in the artifact, and none was given beside it."
        return write_data(run_root, found, spec, folder, report), None
    except (DatasetError, YamlError) as error:
        place = f"{error.place}: " if error.place else ""
        return None, f"The data set in the run artifact can't be used ({error.error_code}). {place}{error.detail}"


def write_data(root: Path, yaml_path: Path, spec: JobSpec, folder: JobFolder, report: Report) -> DatasetFacts:
    """Read the data set; its index and labels go into the job folder, its facts are returned."""
    from runaudit.runs.dataset import read_dataset  # noqa: PLC0415
    from runaudit.runs.label_arrays import write_labels  # noqa: PLC0415

    facts, index, labels = read_dataset(
        root,
        yaml_path,
        own_machine=spec.own_machine,
        on_progress=lambda done, total: report(Progress(stage="read_data", done=done, total=total)),
    )
    folder.images.write_text(index.model_dump_json())
    write_labels(folder.labels, labels)
    return facts


def read_annotators(spec: JobSpec, dataset: DatasetFacts, folder: JobFolder, report: Report) -> DatasetFacts:
    """The data set's facts with those of further annotators; their labels are written into the job folder.

    Raises DatasetError: labels that were handed in must belong to the images.
    """
    from runaudit.runs.annotators import read_annotator, write_annotator  # noqa: PLC0415

    index = ImageIndex.model_validate_json(folder.images.read_bytes())
    found = {}
    for name, source in spec.annotators.items():
        root = opened(source, folder.unpacked / "labels" / name, spec.limits, report)
        found[name], labels = read_annotator(
            name, root, index, names=dataset.names, keypoint_values=dataset.keypoint_values
        )
        write_annotator(folder.annotator(name), labels)
    return dataset.model_copy(update={"annotators": found})


def why_not_evaluated(spec: JobSpec, run: RunFacts, dataset: DatasetFacts | None, absent: str | None) -> str | None:
    """Why the model can't be run, as a sentence; None if it can."""
    checkpoint = run.checkpoint
    validation = dataset.splits.get("val") if dataset is not None else None
    reasons = (
        (spec.depth == "curves", "The audit was asked for with depth `curves`, which runs no model."),
        (checkpoint is None, NO_CHECKPOINT),
        (
            checkpoint is not None and checkpoint.problem is not None,
            f"The checkpoint can't be used: {checkpoint.problem.detail}" if checkpoint and checkpoint.problem else "",
        ),
        (
            run.framework not in ("ultralytics", "yolov5") or run.task != "detect",
            f"Re-validation of {run.framework} {run.task} runs is not there yet.",
        ),
        (dataset is None, absent or ""),
        (validation is None, "The data set has no validation split that could be read."),
        (
            validation is not None and validation.instances == 0,
            "No validation image has a label, so there is nothing to measure against.",
        ),
    )
    return next((reason for applies, reason in reasons if applies), None)


def _without_run(root: Path, error: RunNotFoundError) -> RunNotFoundError:
    """The error for what holds no run; where it is a data set instead, it says so."""
    from runaudit.runs.data_yaml import find_data_yaml  # noqa: PLC0415

    try:
        found = find_data_yaml(root)
    except (DatasetError, YamlError):
        return error
    if found is None:
        return error
    return RunNotFoundError(
        "This is a data set without a training run. Hand in the folder that training wrote, and this with --data or as "
        "`data`.",
        code="data_without_run",
        place=found.relative_to(root).as_posix(),
    )


def _required(dataset: DatasetFacts | None, absent: str | None, spec: JobSpec) -> DatasetFacts:
    if dataset is None:
        raise DatasetError(
            f"Labels of {', '.join(spec.annotators)} were given, but no images to hold them against. {absent}",
            code="labels_without_data",
        )
    return dataset


def ingest(folder: JobFolder, spec: JobSpec, report: Report, walls: dict[str, str]) -> None:
    """Do the stage: leaves facts.json and what evaluate needs or, where no model can be run, the report itself."""
    seconds: dict[str, float] = {}
    with timed(seconds, "unpack"):
        run_root = opened(spec.run, folder.unpacked / "run", spec.limits, report)
    report(Progress(stage="read_run"))
    with timed(seconds, "read_run"):
        try:
            run = read_run(run_root, weights_out=folder.weights, environment=spec.environment)
        except RunNotFoundError as error:
            raise _without_run(run_root, error) from error
    with timed(seconds, "read_data"):
        dataset, absent = read_data(spec, run, run_root, folder, report)
        if spec.annotators:
            dataset = read_annotators(spec, _required(dataset, absent, spec), folder, report)
    facts = IngestFacts(run=run, dataset=dataset, dataset_absent=absent, seconds=seconds)
    why_not = why_not_evaluated(spec, run, dataset, absent)
    if why_not is not None:
        conclude(folder, spec, facts, evaluation=None, why_not_evaluated=why_not, report=report, walls=walls)
        return
    folder.facts.write_text(facts.model_dump_json())
