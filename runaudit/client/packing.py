"""Packs a run folder: what an audit reads of it, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from runaudit.client.archives import Member, write_archive
from runaudit.errors import InputError, RunNotFoundError

RECORDS: Final = frozenset({"results.csv", "args.yaml", "opt.yaml", "hyp.yaml", "data.yaml"})
MARKERS: Final = ("results.csv", "args.yaml", "opt.yaml", "weights/best.pt", "weights/last.pt")
CHECKPOINTS: Final = ("weights/best.pt", "best.pt", "weights/last.pt", "last.pt")
"""in the order of preference; one is packed"""
LOG_SUFFIXES: Final = (".log", ".out", ".txt")
"""as runs/find_log.py has them; `nohup.out` and Slurm's logs among them"""
LARGEST_LOG_BYTES: Final = 4 << 20
EVENTS_PREFIX: Final = "events.out.tfevents"
LARGEST_EVENTS_BYTES: Final = 16 << 20
"""logs and TensorBoard events above these sizes are left out: they hold images or other programs' output"""
SEARCH_DEPTH: Final = 4


def pack_run(folder: Path, stream: IO[bytes]) -> None:
    """Write the run in `folder` into `stream` as a zip (see `write_archive`).

    Raises RunNotFoundError if there is no run or more than one, InputError for a link that leaves the run.
    """
    write_archive(run_members(folder), stream)


def run_members(folder: Path) -> list[Member]:
    """The files that an audit reads: records, one checkpoint, small logs and events; no images, no plots."""
    run = find_run(folder)
    members = [Member(path.name, path) for path in sorted(run.iterdir()) if path.is_file() and _is_wanted(path)]
    checkpoint = next((name for name in CHECKPOINTS if (run / name).is_file()), None)
    if checkpoint is not None:
        members.append(Member(checkpoint, run / checkpoint))
    for member in members:
        _refuse_outward_link(run, member)
    return members


def find_run(folder: Path) -> Path:
    """`folder` if it is a run's, else the one run below it.

    Raises RunNotFoundError if there is none, or if there are several to choose from.
    """
    if not folder.is_dir():
        raise RunNotFoundError(f"{folder} is neither a run folder nor an archive")
    if _is_run(folder):
        return folder
    found = [*_runs_below(folder)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunNotFoundError(f"{folder} holds no run: neither results.csv, args.yaml, opt.yaml nor weights")
    some = ", ".join(str(path.relative_to(folder)) for path in found[:5])
    raise RunNotFoundError(f"{folder} holds {len(found)} runs; name one of them: {some}", code="several_runs")


def _runs_below(folder: Path) -> Iterator[Path]:
    for current, folders, _ in os.walk(folder):
        here = Path(current)
        if _is_run(here):
            folders.clear()
            yield here
        elif len(here.relative_to(folder).parts) >= SEARCH_DEPTH:
            folders.clear()
        folders.sort()


def _is_run(folder: Path) -> bool:
    return any((folder / marker).is_file() for marker in MARKERS)


def _is_wanted(path: Path) -> bool:
    if path.name in RECORDS:
        return True
    if path.name.startswith(EVENTS_PREFIX):
        return path.stat().st_size <= LARGEST_EVENTS_BYTES
    return path.suffix.lower() in LOG_SUFFIXES and path.stat().st_size <= LARGEST_LOG_BYTES


def _refuse_outward_link(run: Path, member: Member) -> None:
    """A run folder of somebody else could otherwise have any file of this machine sent away by a link."""
    if not member.path.resolve().is_relative_to(run.resolve()):
        raise InputError(
            f"{member.name} is a link to a file outside of the run folder; put a copy there instead",
            code="link_leaves_folder",
            place=member.name,
        )
