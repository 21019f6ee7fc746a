"""What the commands are given: runs, data sets, policies, formats; each checked before any work is done."""

from __future__ import annotations

import importlib.util
import re
import stat
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runaudit.commands.outcome import UsageError

if TYPE_CHECKING:
    from runaudit.isolation.job import Source


class Format(StrEnum):
    """Renderings of a report."""

    text = "text"
    json = "json"
    html = "html"
    markdown = "markdown"
    junit = "junit"
    sarif = "sarif"


class DepthOption(StrEnum):
    """How much is examined: the curves alone, validation too, or everything."""

    curves = "curves"
    standard = "standard"
    deep = "deep"


AUDIT_MODULES: Final = ("torch", "torchvision", "ultralytics", "safetensors", "PIL", "cv2")
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SERVICE_MODULES: Final = ("fastapi", "sqlalchemy", "celery", "uvicorn", "psycopg", "pydantic_settings")


def require_extra(extra: str, modules: Iterable[str], purpose: str) -> None:
    """Raises UsageError that names the extra to install, if one of the top-level `modules` is not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f"{purpose} needs {', '.join(missing)}; install with: pip install 'runaudit[{extra}]'", code="extra_missing"
        )


def run_source(run: Path) -> Source:
    """RUN as the source of a job. Raises UsageError if it is not there."""
    from runaudit.isolation.job import Source  # noqa: PLC0415

    require_path(run, "RUN")
    _require_run(run)
    return Source(kind="folder" if run.is_dir() else "archive", path=str(run.resolve()))


_PARTS_OF_RUNS: Final = {
    **dict.fromkeys((".pt", ".pth", ".onnx", ".safetensors", ".engine"), "a checkpoint"),
    **dict.fromkeys((".csv", ".yaml", ".yml"), "one file of a run"),
}


def _require_run(run: Path) -> None:
    """Raises UsageError for a single file out of a run folder, and names that folder."""
    part = _PARTS_OF_RUNS.get(run.suffix.lower())
    if part is None or not run.is_file():
        return
    folder = run.absolute().parent
    folder = folder.parent if folder.name == "weights" else folder
    raise UsageError(
        f"RUN: {run} is {part}. Name the folder that training wrote, with results.csv, args.yaml and weights/ in it: "
        f"here {folder}",
        code="run_is_a_file",
    )


def require_writable(output: Path | None) -> None:
    """Raises UsageError if the file after -o can't be written; nothing is left behind. Pipes and devices are let be."""
    if output is None:
        return
    there = output.exists()
    if there and not output.is_file() and not output.is_dir():
        return
    try:
        with output.open("a"):
            pass
        if not there:
            output.unlink()
    except OSError as error:
        raise UsageError(f"-o: {output} can't be written: {error.strerror}", code="output_unwritable") from error


def data_source(data: Path) -> Source:
    """--data as the source of a job: a folder, a data.yaml, or an archive. Raises UsageError if it is not there."""
    from runaudit.isolation.job import Source  # noqa: PLC0415

    require_path(data, "--data")
    if data.is_dir():
        return Source(kind="folder", path=str(data.resolve()))
    # A description keeps its own place: paths in it are relative to where it is named, not to what a link leads to.
    is_description = data.suffix.lower() in (".yaml", ".yml")
    return Source(kind="data_yaml" if is_description else "archive", path=str(data.absolute()))


def label_sources(labels: list[str], depth: DepthOption) -> dict[str, Source]:
    """`--labels NAME=DIR` as sources by name. Raises UsageError for a name or folder that can't be, or no data."""
    from runaudit.isolation.job import ANNOTATOR_NAME, Source  # noqa: PLC0415

    pairs = read_pairs(labels, "--labels")
    if pairs and depth is DepthOption.curves:
        raise UsageError("--labels: depth curves reads no data, so there are no images to hold labels against")
    sources = {}
    for name, value in pairs.items():
        if not re.match(ANNOTATOR_NAME, name):
            raise UsageError(f"--labels {name}: a name has up to 64 letters, digits, - and _", code="usage")
        path = Path(value)
        require_path(path, f"--labels {name}")
        sources[name] = Source(kind="folder" if path.is_dir() else "archive", path=str(path.resolve()))
    return sources


def read_policy(path: Path | None) -> dict[str, Any]:
    """The policy of a YAML or JSON file, validated; empty without one. Raises YamlError, UsageError."""
    if path is None:
        return {}
    require_path(path, "--policy")
    if path.is_dir():
        raise UsageError(f"--policy: {path} is a folder; name the file", code="path_not_regular")
    from pydantic import ValidationError  # noqa: PLC0415

    from runaudit.diagnostics.policy import Policy  # noqa: PLC0415
    from runaudit.runs.safe_yaml import load_yaml  # noqa: PLC0415

    document = load_yaml(path, source=path.name)
    try:
        policy = Policy.model_validate(document.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{where}: {first['msg']}", code="policy_invalid", place=document.place(*map(str, first["loc"]))
        ) from error
    return policy.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def read_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a mapping. Raises UsageError for one without `=` or a repeated name."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair}: give it as NAME=VALUE")
        if name in values:
            raise UsageError(f"{option} {name} is given twice")
        values[name] = value
    return values


def require_path(path: Path, what: str) -> None:
    """Raises UsageError for what is not there, is neither a file nor a folder, or has a name that is not UTF-8.

    Opening a pipe would wait for a writer for ever, and a device may never end; neither is opened to find out.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        raise UsageError(f"{what}: {path} is not there", code="path_not_found") from None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        named = _KINDS.get(kind, "neither a file nor a folder")
        raise UsageError(f"{what}: {path} is {named}; name a file or a folder", code="path_not_regular")
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what}: the path {str(path)!a} is not UTF-8; rename it", code="file_name_encoding") from None
