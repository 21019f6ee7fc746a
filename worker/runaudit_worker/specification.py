"""From a claim to the job that the child processes are given: which files, how deep, with which limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

from runaudit.diagnostics.evidence import Depth
from runaudit.errors import InputError
from runaudit.isolation.job import JobSpec, Limits, Source
from runaudit_service.store.queue import Claim, Input
from runaudit_service.store.settings import Settings


def job_spec(claim: Claim, settings: Settings, blob_path: Callable[[str], Path]) -> JobSpec:
    """The claim's job. `blob_path` tells where the blob of a digest lies, absolute and without links.

    Raises:
        InputError: a data path leads out of the data roots (`data_path_forbidden`) or to nothing
            (`data_path_missing`); also what `blob_path` raises.
    """
    data = claim.inputs.get("data")
    return JobSpec(
        run=_source(claim.inputs["run"], settings, blob_path),
        data=None if data is None else _source(data, settings, blob_path),
        depth=cast(Depth, claim.depth),
        policy=claim.policy,
        baseline=claim.baseline,
        environment=claim.environment,
        device=settings.device,
        limits=Limits(evaluate_seconds=settings.audit_seconds),
    )


def _source(item: Input, settings: Settings, blob_path: Callable[[str], Path]) -> Source:
    if item.sha256 is None:
        path = _below_the_data_roots(Path(item.path or ""), settings)
        return Source(kind=_kind(path), path=str(path))
    return Source(kind="archive", path=str(blob_path(item.sha256)), sha256=item.sha256)


def _below_the_data_roots(path: Path, settings: Settings) -> Path:
    """The path with every link followed: what the request's check saw may have been replaced since by a link."""
    resolved = path.resolve()
    if not any(resolved.is_relative_to(root) for root in settings.data_root_dirs):
        raise InputError(f"{path} is not below one of the folders of RUNAUDIT_DATA_ROOTS.", code="data_path_forbidden")
    if not resolved.exists():
        raise InputError(f"{path} does not exist on this worker.", code="data_path_missing")
    return resolved


def _kind(path: Path) -> Literal["archive", "folder", "data_yaml"]:
    if path.is_dir():
        return "folder"
    return "data_yaml" if path.suffix in {".yaml", ".yml"} else "archive"
