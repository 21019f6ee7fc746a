"""A job folder: what the parent hands to the child processes, and what they leave for each other and for it.

job.json             JobSpec, written by the parent
unpacked/run/        the run archive, unpacked by the ingest child
unpacked/data/       the data archive, likewise
facts.json           IngestFacts, by ingest
images.json          ImageIndex, by ingest
labels.safetensors   the labels, by ingest
weights.safetensors  the state dict, by ingest
report.json          the Report, by the last child
problem.json         a problem document, by a child that found the input unreadable
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue

from runaudit.diagnostics.depth import Depth
from runaudit.runs.base import Facts

ChildName = Literal["ingest", "evaluate"]

INPUT_ERROR: Final = 3
"""exit code of a child that found the input unreadable"""
MACHINE_ERROR: Final = 4
"""exit code of a child that this machine failed"""


class Source(Facts):
    """Where a run or a data set lies: an archive file, a folder, or (on one's own machine) a data.yaml file."""

    kind: Literal["archive", "folder", "data_yaml"]
    path: str
    sha256: str | None = None


class Limits(Facts):
    """What a child may use. Bytes, counts and seconds."""

    unpacked_bytes: int = 50 * 2**30
    members: int = 1_000_000
    ratio: int = 200
    """largest unpacked-to-packed ratio of an archive, judged once 64 MiB have been unpacked"""
    memory_bytes: int = 6 * 2**30
    """address space of the ingest child (the evaluate child may use CUDA, where RLIMIT_AS does not work)"""
    ingest_seconds: float = 1800
    evaluate_seconds: float = 7200
    report_bytes: int = 16 * 2**20


class JobSpec(Facts):
    """One audit to do. `policy`, `labels` and `environment` are the request's own, validated by the service.

    `own_machine` is true for `runaudit check`: a path in data.yaml may then be absolute and leave the data source.
    """

    run: Source
    data: Source | None = None
    depth: Depth = "standard"
    policy: dict[str, JsonValue] = {}
    environment: dict[str, JsonValue] = {}
    own_machine: bool = False
    device: str = "auto"
    """`auto`, `cpu`, or `cuda:0`"""
    limits: Limits = Limits()


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
    def images(self) -> Path:
        return self.root / "images.json"

    @property
    def labels(self) -> Path:
        return self.root / "labels.safetensors"

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


class Progress(Facts):
    """How far an audit is. `done` of `total` images (or files) of the stage; 0 of 0 where it can't be counted."""

    stage: Literal["unpack", "read_run", "read_data", "load_model", "validate", "diagnose", "report"]
    done: int = 0
    total: int = 0
