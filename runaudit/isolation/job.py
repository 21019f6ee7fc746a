"""What a job is, as its parent writes it and its children read it; `runaudit.isolation.folder` says where."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import JsonValue, StringConstraints

from runaudit.diagnostics.depth import Depth
from runaudit.isolation.folder import INPUT_ERROR, MACHINE_ERROR, ChildName, JobFolder
from runaudit.runs.base import Facts

__all__ = [
    "ANNOTATOR_NAME",
    "INPUT_ERROR",
    "MACHINE_ERROR",
    "ChildName",
    "JobFolder",
    "JobSpec",
    "Limits",
    "Progress",
    "Source",
]

ANNOTATOR_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""It becomes part of a file's name."""
AnnotatorName = Annotated[str, StringConstraints(pattern=ANNOTATOR_NAME)]


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
    data_entry: str | None = None
    """where the data artifact lies in the data cache, or will once it is read; None without a cache"""
    annotators: dict[AnnotatorName, Source] = {}
    """further annotators' label folders of the same images"""
    depth: Depth = "standard"
    policy: dict[str, JsonValue] = {}
    baseline: dict[str, JsonValue] | None = None
    """what the policy's baseline audit measured: `map50_95` and its `ci95`"""
    environment: dict[str, JsonValue] = {}
    own_machine: bool = False
    device: str = "auto"
    """`auto`, `cpu`, or `cuda:0`"""
    limits: Limits = Limits()


class Progress(Facts):
    """How far an audit is. `done` of `total` images (or files) of the stage; 0 of 0 where it can't be counted."""

    stage: Literal[
        "unpack", "read_run", "read_data", "verify_images", "load_model", "validate", "reconcile", "diagnose", "report"
    ]
    done: int = 0
    total: int = 0
