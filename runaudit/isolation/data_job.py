"""The data stage: a child unpacks and reads one data artifact for the data cache, and sees nothing else of an audit.

It leaves in `made/` of its job folder what becomes part of the entry: `tree/`, unless the entry has one, and
`readings/NAME/` with reading.json (Reading), images.json and labels.safetensors.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from runaudit.isolation.data_cache import Place
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.job import Limits, Source
from runaudit.isolation.read_data import DataFiles, Report, find_given_data, opened, read_into, timed
from runaudit.isolation.trees import make_read_only, take_stock
from runaudit.runs.base import Facts
from runaudit.runs.data_options import DataOptions
from runaudit.runs.facts import DatasetFacts

_READING: Final = "reading.json"


class DataJob(Facts):
    """What a data child is to do: read `archive` with `options`, for the entry that will lie at `entry`.

    `options` come from a hostile run; all that they can do is to choose another reading of the same data.
    """

    archive: str
    options: DataOptions
    limits: Limits
    entry: str


class Reading(Facts):
    """The facts of a data set, and what getting them took."""

    dataset: DatasetFacts
    seconds: dict[str, float]


def _files(reading: Path) -> DataFiles:
    return DataFiles(reading / "images.json", reading / "labels.safetensors")


def read_artifact(folder: JobFolder, job: DataJob, report: Report) -> None:
    """Do the stage. Raises InputError, as unpacking and reading do."""
    seconds: dict[str, float] = {}
    place, made = Place(Path(job.entry)), Place(folder.made)
    entry = place.entry()
    if entry is None:
        tree = made.tree
        with timed(seconds, "unpack_data"):
            opened(Source(kind="archive", path=job.archive), tree, job.limits, report)
            make_read_only(tree)
        yaml_names = take_stock(tree).yaml_names
    else:
        tree, yaml_names = place.tree, entry.yaml_names
    options = job.options.among(yaml_names)
    reading = made.reading(options.key())
    reading.mkdir(parents=True)
    with timed(seconds, "read_data"):
        found = find_given_data(tree, options)
        dataset = read_into(_files(reading), tree, found, options, report, moves_to=place.tree)
    (reading / _READING).write_text(Reading(dataset=dataset, seconds=seconds).model_dump_json())


def kept_reading(place: Place, options: DataOptions) -> Path | None:
    """The folder of the reading with these options, if the cache has it."""
    entry = place.entry()
    reading = place.reading(options.among(entry.yaml_names).key()) if entry is not None else None
    return reading if reading is not None and reading.exists() else None


def take_reading(place: Place, options: DataOptions, files: DataFiles) -> Reading | None:
    """The reading that the entry at `place` holds, its files copied to `files`; None if it holds none."""
    reading = kept_reading(place, options)
    if reading is None:
        return None
    source = _files(reading)
    shutil.copyfile(source.images, files.images)
    shutil.copyfile(source.labels, files.labels)
    return Reading.model_validate_json((reading / _READING).read_bytes())
