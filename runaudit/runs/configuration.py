"""The configuration of a run: args.yaml, or YOLOv5's opt.yaml with hyp.yaml, as one set of values with places."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import JsonValue

from runaudit.runs.facts import Configuration
from runaudit.runs.safe_yaml import YamlDocument, load_yaml

ARGS = "args.yaml"
OPT = "opt.yaml"
HYP = "hyp.yaml"

_Part = tuple[dict[str, JsonValue], dict[str, str]]
"""values, and the place of each"""


def empty_files(folder: Path) -> tuple[str, ...]:
    """The configuration files of a run folder that hold no byte."""
    return tuple(name for name in (ARGS, OPT, HYP) if (folder / name).is_file() and not (folder / name).stat().st_size)


def read_configuration(folder: Path, *, without: Collection[str] = ()) -> Configuration | None:
    """Read the configuration files of a run folder but for those named in `without`; None if there are none.

    ultralytics writes args.yaml. YOLOv5 and YOLOv9 write opt.yaml and hyp.yaml; newer ones repeat the
    hyperparameters in opt.yaml under `hyp` (yolo.md A3). Of a key that stands twice, opt.yaml's own argument wins,
    then hyp.yaml. Values stay as written.

    Raises
    ------
    YamlError : a file is no plain YAML, with its place, `args.yaml:3`.
    """
    there = [name for name in (ARGS, OPT, HYP) if name not in without and (folder / name).is_file()]
    names = [ARGS] if ARGS in there else there
    documents = [load_yaml(folder / name, source=name) for name in names]
    if not documents:
        return None
    values: dict[str, JsonValue] = {}
    places: dict[str, str] = {}
    for part_values, part_places in [*map(_own, documents), *map(_nested, documents)]:
        places = part_places | places
        values = part_values | values
    return Configuration(sources=tuple(names), values=values, places=places)


def _own(document: YamlDocument) -> _Part:
    values = {key: value for key, value in document.values.items() if key != "hyp" or not isinstance(value, dict)}
    return values, {key: document.place(key) for key in values}


def _nested(document: YamlDocument) -> _Part:
    values = document.values.get("hyp")
    if not isinstance(values, dict):
        return {}, {}
    return values, {key: document.place("hyp", key) for key in values}
