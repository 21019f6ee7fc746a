"""Reading the data set of a job: from the folder or archive that was handed in, into plain files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from runaudit.errors import DatasetError
from runaudit.isolation.folder import DataFiles
from runaudit.isolation.job import Limits, Progress, Source
from runaudit.runs.data_options import DataOptions
from runaudit.runs.facts import DatasetFacts

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


def find_data(root: Path, options: DataOptions) -> Path | None:
    """The data.yaml below `root` or, of a classifier, the folder that holds the splits; None if there is none."""
    if options.class_folders:
        from runaudit.runs.class_tree import find_class_tree  # noqa: PLC0415 - depth `curves` needs none of it

        return find_class_tree(root, named=options.named)
    from runaudit.runs.data_yaml import find_data_yaml  # noqa: PLC0415

    return find_data_yaml(root, named=options.named)


def find_given_data(root: Path, options: DataOptions) -> Path:
    """`find_data` of data that were handed in. Raises DatasetError if they hold none."""
    found = find_data(root, options)
    if found is None and options.class_folders:
        raise DatasetError(
            "The data hold no class folders: a classifier needs a folder with train and val in it, and in each a "
            "folder of images for each class.",
            code="class_folders_missing",
        )
    if found is None:
        raise DatasetError(
            "The data hold no data.yaml: a YAML file with `names` and `train` or `val` is needed.",
            code="data_yaml_missing",
        )
    return found


def read_into(
    files: DataFiles,
    root: Path,
    found: Path,
    options: DataOptions,
    report: Report,
    *,
    own_machine: bool = False,
    moves_to: Path | None = None,
) -> DatasetFacts:
    """Read the data set `found` (`find_data`) below `root`; index and labels go into `files`, its facts are returned.

    `moves_to` is the folder that `root` will have become when the index is used.
    """
    from runaudit.runs.class_folders import read_class_folders  # noqa: PLC0415
    from runaudit.runs.dataset import read_dataset  # noqa: PLC0415
    from runaudit.runs.label_arrays import write_labels  # noqa: PLC0415
    from runaudit.runs.same_images import same_images  # noqa: PLC0415

    read = read_class_folders if options.class_folders else partial(read_dataset, geometry=options.geometry)
    facts, index, labels = read(
        root,
        found,
        own_machine=own_machine,
        single_cls=options.single_cls,
        on_progress=lambda done, total: report(Progress(stage="read_data", done=done, total=total)),
    )
    facts = facts.model_copy(update={"same_images": same_images(index, labels, facts.names)})
    if options.verify is not None:
        from runaudit.isolation.verify_data import verified  # noqa: PLC0415

        facts = verified(facts, index, options.verify, report)
    if moves_to is not None:
        index = index.model_copy(update={"root": str(moves_to)})
    files.images.write_text(index.model_dump_json())
    write_labels(files.labels, labels)
    return facts
