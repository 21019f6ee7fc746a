"""The ingest stage: unpack the archives and read run, checkpoint and data into plain files. CPU only, no torch.

Where the worker keeps a data cache and it lacks the data artifact, the stage stops once the run is read, leaves how the
data are to be read (`JobFolder.data_wanted`), and is started again when they are in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runaudit.diagnostics.depth import Depth
from runaudit.errors import DatasetError, RunNotFoundError, YamlError
from runaudit.isolation.conclude import NO_CHECKPOINT, conclude
from runaudit.isolation.folder import DataFiles
from runaudit.isolation.job import JobFolder, JobSpec, Progress, Source
from runaudit.isolation.read_data import Report, find_data, find_given_data, opened, read_into, timed
from runaudit.runs.data_options import DataOptions, Geometry
from runaudit.runs.facts import DatasetFacts, ImageIndex, IngestFacts, RunFacts, Task
from runaudit.runs.image_size import image_size
from runaudit.runs.run import read_run

_GEOMETRY: Final[dict[Task, Geometry]] = {"segment": "polygons", "obb": "polygons", "pose": "keypoints"}
"""what a task needs behind the boxes of its labels"""


class _NotCachedError(Exception):
    """The data artifact has to be read for the cache first."""


@dataclass(frozen=True)
class Work:
    """One job of this stage: where it lies, what it is, whom to tell, and the seconds that its steps took so far."""

    folder: JobFolder
    spec: JobSpec
    report: Report
    seconds: dict[str, float]

    @property
    def data_files(self) -> DataFiles:
        return DataFiles(self.folder.images, self.folder.labels)


def data_options(run: RunFacts, depth: Depth) -> DataOptions:
    """How the data set of a run is read."""
    data = run.argument("data")
    # A path of another machine, with either kind of slash; a folder's may end with one.
    named = data.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(data, str) else ""
    return DataOptions(
        named=named,
        single_cls=run.argument("single_cls") is True,
        class_folders=run.task == "classify",
        verify="pixels" if depth == "deep" else "files",
        geometry=_GEOMETRY.get(run.task) if run.framework == "ultralytics" else None,
    )


def read_data(work: Work, run: RunFacts, run_root: Path) -> tuple[DatasetFacts | None, str | None]:
    """The data set's facts, or None and why there are none. Writes the image index and the labels.

    Data that were handed in beside the run must be readable: raises DatasetError or YamlError. Those found inside the
    run artifact may be leftovers; what is wrong with them is told as the reason for their absence.
    Raises _NotCachedError if they are to be taken from the cache, which has not got them.
    """
    spec = work.spec
    if spec.depth == "curves":
        return None, "The audit was asked for with depth `curves`, which reads no data."
    options = data_options(run, spec.depth)
    if spec.data is not None:
        return given_data(work, spec.data, options), None
    try:
        with timed(work.seconds, "read_data"):
            found = find_data(run_root, options)
            if found is None:
                sought = "folders of images by class" if options.class_folders else "data.yaml"
                return (
                    None,
                    f"No data set came with the run: no {sought} in the artifact, and none was given beside it.",
                )
            return read_into(work.data_files, run_root, found, options, work.report, own_machine=spec.own_machine), None
    except (DatasetError, YamlError) as error:
        place = f"{error.place}: " if error.place else ""
        return None, f"The data set in the run artifact can't be used ({error.error_code}). {place}{error.detail}"


def given_data(work: Work, data: Source, options: DataOptions) -> DatasetFacts:
    """The facts of the data that came beside the run: from the cache if the worker has one, else from themselves."""
    spec = work.spec
    if spec.data_entry is not None:
        return cached_data(work, Path(spec.data_entry), options)
    with timed(work.seconds, "unpack_data"):
        root = opened(data, work.folder.unpacked / "data", spec.limits, work.report)
    with timed(work.seconds, "read_data"):
        named = data.kind == "data_yaml" and not options.class_folders
        found = Path(data.path) if named else find_given_data(root, options)
        return read_into(work.data_files, root, found, options, work.report, own_machine=spec.own_machine)


def cached_data(work: Work, entry: Path, options: DataOptions) -> DatasetFacts:
    """The facts that the cache has. Raises _NotCachedError if it has none.

    The seconds get what reading them took where this audit had them read, and else what taking them took.
    """
    from runaudit.isolation.data_cache import Place  # noqa: PLC0415 - a run without data needs none of it
    from runaudit.isolation.data_job import take_reading  # noqa: PLC0415

    taking: dict[str, float] = {}
    with timed(taking, "data_cache"):
        reading = take_reading(Place(entry), options, work.data_files)
    if reading is None:
        work.folder.data_wanted.write_text(options.model_dump_json())
        raise _NotCachedError
    work.seconds.update(reading.seconds if work.folder.data_wanted.exists() else taking)
    return reading.dataset


def read_annotators(spec: JobSpec, dataset: DatasetFacts, folder: JobFolder, report: Report) -> DatasetFacts:
    """The data set's facts with those of further annotators; their labels are written into the job folder.

    Raises DatasetError: labels that were handed in must belong to the images.
    """
    from runaudit.evaluation.annotator_agreement import OWN, LabelSet, agreements  # noqa: PLC0415
    from runaudit.evaluation.labels import too_crowded  # noqa: PLC0415
    from runaudit.evaluation.touching_boxes import TooCrowdedError  # noqa: PLC0415
    from runaudit.runs.annotators import read_annotator, write_annotator  # noqa: PLC0415
    from runaudit.runs.label_arrays import read_labels  # noqa: PLC0415

    index = ImageIndex.model_validate_json(folder.images.read_bytes())
    found = {}
    sets = {OWN: LabelSet.of(read_labels(folder.labels), range(len(index.images)), index)}
    for name, source in spec.annotators.items():
        root = opened(source, folder.unpacked / "labels" / name, spec.limits, report)
        found[name], labels = read_annotator(
            name,
            root,
            index,
            names=dataset.names,
            keypoint_values=dataset.keypoint_values,
            single_cls=dataset.single_cls,
        )
        write_annotator(folder.annotator(name), labels)
        sets[name] = LabelSet.of(labels.labels, labels.annotated, index)
    try:
        agreement = agreements(sets, len(dataset.names))
    except TooCrowdedError as error:
        crowded = index.images[error.group]
        raise too_crowded(crowded.file, crowded.split) from error
    return dataset.model_copy(update={"annotators": found, "agreement": agreement})


_RUN_HERE: Final = frozenset(
    {("yolov5", "detect"), *(("ultralytics", task) for task in ("detect", "segment", "pose", "obb", "classify"))}
)
"""framework and task of the networks that are rebuilt and run"""


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
            (run.framework, run.task) not in _RUN_HERE,
            f"Re-validation of {run.framework} {run.task} runs is not there yet.",
        ),
        (dataset is None, absent or ""),
        (validation is None, "The data set has no validation split that could be read."),
        (
            validation is not None and validation.instances == 0,
            "No validation image has a label, so there is nothing to measure against.",
        ),
    )
    return next((reason for applies, reason in reasons if applies), _why_not_measured(run, dataset))


def _why_not_measured(run: RunFacts, dataset: DatasetFacts | None) -> str | None:
    """Why the labels of the validation split are not enough for the run's task; None if they are."""
    validation = dataset.splits.get("val") if dataset is not None else None
    if dataset is None or validation is None or run.task not in _GEOMETRY:
        return None
    from runaudit.evaluation.labels import without_keypoints, without_outlines  # noqa: PLC0415

    if _GEOMETRY[run.task] == "polygons" and validation.rows_without_outline:
        return without_outlines("val", run.task, validation.rows_without_outline, validation.instances).detail
    if _GEOMETRY[run.task] == "keypoints" and dataset.keypoint_values // max(dataset.keypoints, 1) not in (2, 3):
        return without_keypoints("val").detail
    return None


def _without_run(root: Path, error: RunNotFoundError) -> RunNotFoundError:
    """The error for what holds no run; where it is a data set instead, it says so."""
    try:
        found = find_data(root, DataOptions()) or find_data(root, DataOptions(class_folders=True))
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


def _required(dataset: DatasetFacts | None, absent: str | None, spec: JobSpec, run: RunFacts) -> DatasetFacts:
    """The data set that annotators' labels are of. Raises DatasetError if there is none, or if it can have none."""
    if run.task == "classify":
        raise DatasetError(
            f"Labels of {', '.join(spec.annotators)} were given, but the classes of a classification run are folders: "
            "there are no label files to compare.",
            code="labels_of_classifier",
        )
    if dataset is None:
        raise DatasetError(
            f"Labels of {', '.join(spec.annotators)} were given, but no images to hold them against. {absent}",
            code="labels_without_data",
        )
    return dataset


def ingest(folder: JobFolder, spec: JobSpec, report: Report, walls: dict[str, str]) -> None:
    """Do the stage: leaves facts.json and what evaluate needs or, where no model can be run, the report itself."""
    run_root = folder.unpacked / "run" if spec.run.kind == "archive" else Path(spec.run.path)
    work = Work(folder, spec, report, {})
    run = run_read_before(work) or unpack_and_read_run(work, run_root)
    if spec.depth != "curves" and spec.data is not None and run.checkpoint is not None:
        image_size(run)  # data may take long to read: a size that nothing can be validated with is told before
    try:
        dataset, absent = read_data(work, run, run_root)
    except _NotCachedError:
        folder.run_facts.write_text(IngestFacts(run=run, seconds=work.seconds).model_dump_json())
        return
    if spec.annotators:
        with timed(work.seconds, "read_data"):
            dataset = read_annotators(spec, _required(dataset, absent, spec, run), folder, report)
    facts = IngestFacts(run=run, dataset=dataset, dataset_absent=absent, seconds=work.seconds)
    why_not = why_not_evaluated(spec, run, dataset, absent)
    if why_not is not None:
        conclude(folder, spec, facts, examination=None, why_not_evaluated=why_not, report=report, walls=walls)
        return
    folder.facts.write_text(facts.model_dump_json())


def run_read_before(work: Work) -> RunFacts | None:
    """The run's facts, of a stage that is started again."""
    if not work.folder.run_facts.exists():
        return None
    before = IngestFacts.model_validate_json(work.folder.run_facts.read_bytes())
    work.seconds.update(before.seconds)
    return before.run


def unpack_and_read_run(work: Work, run_root: Path) -> RunFacts:
    """The run's facts; its weights go into the job folder. Raises InputError."""
    with timed(work.seconds, "unpack"):
        opened(work.spec.run, run_root, work.spec.limits, work.report)
    work.report(Progress(stage="read_run"))
    with timed(work.seconds, "read_run"):
        try:
            return read_run(run_root, weights_out=work.folder.weights, environment=work.spec.environment)
        except RunNotFoundError as error:
            raise _without_run(run_root, error) from error
