"""What a data child is to do, and what a reading of the data cache holds: reading.json, image index, labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from runaudit.isolation.data_cache import Place
from runaudit.isolation.folder import DataFiles
from runaudit.isolation.job import Limits
from runaudit.runs.base import Facts
from runaudit.runs.data_options import DataOptions
from runaudit.runs.facts import DatasetFacts

READING: Final = "reading.json"


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


def files_of(reading: Path) -> DataFiles:
    """The files of a reading in the cache."""
    return DataFiles(reading / "images.json", reading / "labels.safetensors")


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
    source = files_of(reading)
    shutil.copyfile(source.images, files.images)
    shutil.copyfile(source.labels, files.labels)
    return Reading.model_validate_json((reading / READING).read_bytes())
