"""The data stage: a child unpacks and reads one data artifact for the data cache, and sees nothing else of an audit.

It leaves in `made/` of its job folder what becomes part of the entry: `tree/`, unless the entry has one, and
`readings/NAME/` with reading.json (Reading), images.json and labels.safetensors.
"""

from __future__ import annotations

from pathlib import Path

from runaudit.isolation.data_cache import Place
from runaudit.isolation.data_job import READING, DataJob, Reading, files_of
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.job import Source
from runaudit.isolation.read_data import Report, find_given_data, opened, read_into, timed
from runaudit.isolation.trees import make_read_only, take_stock


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
        dataset = read_into(files_of(reading), tree, found, options, report, moves_to=place.tree)
    (reading / READING).write_text(Reading(dataset=dataset, seconds=seconds).model_dump_json())
