"""A job folder: what the parent hands to the child processes, and what they leave for each other and for it.

job.json             JobSpec, written by the parent
unpacked/run/        the run archive, unpacked by the ingest child
unpacked/data/       the data archive, likewise
unpacked/labels/NAME/  the archive of a further annotator's labels, likewise
facts.json           IngestFacts, by ingest
run.json             IngestFacts of the run alone, by an ingest child that waits for the data
data_wanted.json     DataOptions, likewise: how the data artifact is to be read
made/                what a data child makes for the data cache (`runaudit.isolation.data_stage`)
images.json          ImageIndex, by ingest
labels.safetensors   the labels, by ingest
labels.NAME.safetensors  a further annotator's labels, by ingest
weights.safetensors  the state dict, by ingest
report.json          the Report, by the last child
problem.json         a problem document, by a child that found the input unreadable
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ChildName = Literal["ingest", "data", "evaluate"]

INPUT_ERROR: Final = 3
"""exit code of a child that found the input unreadable"""
MACHINE_ERROR: Final = 4
"""exit code of a child that this machine failed"""


@dataclass(frozen=True)
class DataFiles:
    """Where the image index and the labels of a data set are written."""

    images: Path
    labels: Path


@dataclass(frozen=True)
class JobFolder:
    """The paths of a job folder."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "job.json"

    @property
    def unpacked(self) -> Path:
        return self.root / "unpacked"

    @property
    def facts(self) -> Path:
        return self.root / "facts.json"

    @property
    def run_facts(self) -> Path:
        return self.root / "run.json"

    @property
    def data_wanted(self) -> Path:
        return self.root / "data_wanted.json"

    @property
    def made(self) -> Path:
        return self.root / "made"

    @property
    def images(self) -> Path:
        return self.root / "images.json"

    @property
    def labels(self) -> Path:
        return self.root / "labels.safetensors"

    def annotator(self, name: str) -> Path:
        return self.root / f"labels.{name}.safetensors"

    @property
    def weights(self) -> Path:
        return self.root / "weights.safetensors"

    @property
    def report(self) -> Path:
        return self.root / "report.json"

    @property
    def problem(self) -> Path:
        return self.root / "problem.json"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def log(self) -> Path:
        return self.root / "child.log"
