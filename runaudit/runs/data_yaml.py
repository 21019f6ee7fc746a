"""data.yaml: class names and where each split lies, in every form that the frameworks accept (yolo.md A5)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from runaudit.errors import DatasetError, YamlError
from runaudit.runs.facts import Note, Split
from runaudit.runs.folder_walk import walk
from runaudit.runs.paths import Found, Paths
from runaudit.runs.safe_yaml import YamlDocument, load_yaml

MAX_CLASSES = 10_000
"""Bound of security.md A6 for the number of classes."""
MAX_FOLDERS = 200_000
STARTED_ABOVE = 3
"""How many folders above a data.yaml may be the one that the training was started in, where its paths begin: YOLOv5
takes its repository (utils/general.py, check_dataset), ultralytics the working folder (data/utils.py)."""

_SPLIT_KEYS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
_NOT_DATA = frozenset(("args.yaml", "opt.yaml", "hyp.yaml"))
_USUAL_NAMES = frozenset(("data.yaml", "data.yml", "dataset.yaml", "dataset.yml"))
_NO_YAML_INSIDE = frozenset(("images", "labels", "__MACOSX", "node_modules", "__pycache__"))


@dataclass(frozen=True)
class DataYaml:
    """A data.yaml as written. `splits` maps a split to the paths that were written for it, in order.

    `keypoint_values` is how many values a pose row has after its box (points times dimensions), `keypoints` how many
    points, else 0. `flip_index` is `flip_idx`, None where there is none that names points. `keypoint_sigmas` is
    `kpt_oks_sigmas`: numbers, empty without; the framework refuses others than a positive one for each point.
    """

    file: Path
    source: str
    names: dict[int, str]
    path: str | None
    path_line: int | None
    splits: dict[Split, tuple[str, ...]]
    places: dict[Split, str]
    keypoint_values: int
    notes: tuple[Note, ...]
    keypoints: int = 0
    flip_index: tuple[int, ...] | None = None
    keypoint_sigmas: tuple[float, ...] = ()


def read_data_yaml(file: Path, *, source: str) -> DataYaml:
    """Read a data.yaml. Its `download:` is noted and never looked at further.

    Raises
    ------
    YamlError : it is no plain YAML.
    DatasetError : `data_yaml_no_names` (neither names nor nc), `data_yaml_names` (names that are no list or no
        numbering from 0), `data_yaml_no_splits` (neither train, val nor test), `data_yaml_path` (a path that is no
        text).
    """
    document = load_yaml(file, source=source, verbatim=("names",))
    names, notes = _names(document)
    splits: dict[Split, tuple[str, ...]] = {}
    places: dict[Split, str] = {}
    for split, keys in _SPLIT_KEYS.items():
        for key in keys:
            if split not in splits and (written := _written(document, key)):
                splits[split], places[split] = written, document.place(key)
    if not splits:
        raise DatasetError(
            f"{source} names no images: it has neither `train` nor `val`.",
            code="data_yaml_no_splits",
            place=f"{source}:1",
        )
    if document.values.get("download"):
        detail = "`download` is never followed or run."
        notes.append(Note(code="download_ignored", detail=detail, place=document.place("download")))
    points, dimensions = _keypoint_shape(document.values.get("kpt_shape"))
    return DataYaml(
        file=file,
        source=source,
        names=names,
        path=_path(document),
        path_line=document.lines.get(("path",)),
        splits=splits,
        places=places,
        keypoint_values=points * dimensions,
        notes=tuple(notes),
        keypoints=points,
        flip_index=_flip_index(document.values.get("flip_idx")),
        keypoint_sigmas=_sigmas(document.values.get("kpt_oks_sigmas")),
    )


def resolve_split(data: DataYaml, split: Split, paths: Paths) -> tuple[list[Found], list[Note]]:
    """The files and folders that a split's paths lead to, and a note for each that leads nowhere."""
    here = data.file.parent
    bases = [*dict.fromkeys((here, paths.root, *here.parents[:STARTED_ABOVE]))]
    below = _find_path(data, paths, bases)
    bases = [*([below.path] if below is not None else []), *bases]
    found: list[Found] = []
    notes: list[Note] = []
    if data.path is not None and below is not None and below.how == "by_suffix":
        notes.append(_matched(data.path, below, paths, f"{data.source}:{data.path_line}"))
    for written in data.splits[split]:
        try:
            hit = paths.find(written, bases, prefix=data.path or "")
        except DatasetError as error:
            notes.append(Note(code=error.error_code, detail=error.detail, place=data.places[split]))
            continue
        if hit is None:
            detail = f"The {split} images `{written[:200]}` are not in the data that was handed in."
            notes.append(Note(code="data_split_missing", detail=detail, place=data.places[split]))
            continue
        found.append(hit)
        if hit.how == "by_suffix":
            notes.append(_matched(written, hit, paths, data.places[split]))
    return found, notes


def _find_path(data: DataYaml, paths: Paths, bases: list[Path]) -> Found | None:
    """The folder that `path:` means; None if it is not written, not there, or not to be told."""
    try:
        below = paths.find(data.path, bases) if data.path is not None else None
    except DatasetError:
        return None
    return below if below is not None and below.path.is_dir() else None


def _matched(written: str, hit: Found, paths: Paths, place: str) -> Note:
    detail = f"`{written[:200]}` was taken for {paths.shown(hit.path)}, which has the same end."
    return Note(code="path_matched_by_suffix", detail=detail, place=place)


def find_data_yaml(root: Path, *, named: str | None = None) -> Path | None:
    """The data.yaml below `root` (or `root` itself, if it is a file); None if there is none.

    It is a YAML file with `names` or `nc`, and `train` or `val`. Of several, one whose file name is that of `named`
    (the run's own `data` argument) is taken, then one whose images are there, then one called data.yaml, then the
    shallowest.

    Raises
    ------
    DatasetError : `several_data_yaml`, if two are of equal standing.
    DatasetError, YamlError : there is none that can be used, and this is what is wrong with the likeliest: one that is
        named as the data.yaml wanted or as one usually is, or one that has `train` or `val`.
    """
    if root.is_file():
        return root
    wanted = os.path.basename((named or "").replace("\\", "/"))  # noqa: PTH119  (a path of another machine)
    paths = Paths(root.resolve())
    ranked: list[tuple[tuple[bool, int, bool, int], Path]] = []
    unusable: list[tuple[tuple[bool, bool], DatasetError | YamlError]] = []
    for file in _yaml_files(root):
        source = file.relative_to(root).as_posix()
        try:
            data = read_data_yaml(file, source=source)
        except (DatasetError, YamlError) as error:
            unlike = (file.name != wanted, file.name not in _USUAL_NAMES)
            if not all(unlike) or (isinstance(error, DatasetError) and _names_a_split(file, source)):
                unusable.append((unlike, error))
            continue
        there = sum(bool(resolve_split(data, split, paths)[0]) for split in data.splits)
        depth = len(file.relative_to(root).parts)
        ranked.append(((file.name != wanted, -there, file.name not in _USUAL_NAMES, depth), file))
    if not ranked:
        if unusable:
            raise min(unusable, key=lambda found: found[0])[1]
        return None
    ranked.sort()
    equals = [file.relative_to(root).as_posix() for rank, file in ranked if rank == ranked[0][0]]
    if len(equals) > 1:
        raise DatasetError(
            f"There are several data sets: {', '.join(equals[:10])}. Hand in one of them.", code="several_data_yaml"
        )
    return ranked[0][1]


def _names_a_split(file: Path, source: str) -> bool:
    """Whether a YAML file that can be read, but is no data.yaml that can be used, was surely meant as one."""
    values = load_yaml(file, source=source).values
    return any(isinstance(values.get(key), str | list) for keys in _SPLIT_KEYS.values() for key in keys) or (
        "names" in values and any(key in values for keys in _SPLIT_KEYS.values() for key in keys)
    )


def _yaml_files(root: Path) -> Iterable[Path]:
    for count, (folder, subfolders, files) in enumerate(walk(root)):
        if count >= MAX_FOLDERS:
            raise DatasetError(f"There are more than {MAX_FOLDERS} folders.", code="data_too_many_files")
        subfolders[:] = sorted(name for name in subfolders if name not in _NO_YAML_INSIDE and not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            yaml = name.endswith((".yaml", ".yml")) and name not in _NOT_DATA and not name.startswith(".")
            if yaml and not path.is_symlink() and path.is_file():
                yield path


def _names(document: YamlDocument) -> tuple[dict[int, str], list[Note]]:
    written, count = document.values.get("names"), document.values.get("nc")
    if written is None or written == "":
        number = _class_count(count)
        if number is None:
            raise DatasetError(
                f"{document.source} has no class names: neither `names` nor a usable `nc`.",
                code="data_yaml_no_names",
                place=document.place("names" if ("names",) in document.lines else "nc"),
            )
        # What ultralytics calls classes without names (check_det_dataset).
        return {index: f"class_{index}" for index in range(number)}, []
    names = _numbered(written)
    if names is None:
        raise DatasetError(
            f"`names` in {document.source} must be a list of names, or number them from 0 without a gap.",
            code="data_yaml_names" if written else "data_yaml_no_names",
            place=document.place("names"),
        )
    notes = []
    if count is not None and _class_count(count) != len(names):
        detail = f"`nc: {str(count)[:40]}` contradicts the {len(names)} names; the names count."
        notes.append(Note(code="class_count_conflict", detail=detail, place=document.place("nc")))
    return names, notes


def _numbered(written: JsonValue) -> dict[int, str] | None:
    """Names by class id, from a list or a mapping; None if they are no names from 0 on."""
    if isinstance(written, list):
        written = {str(index): name for index, name in enumerate(written)}
    if not isinstance(written, dict) or not 0 < len(written) <= MAX_CLASSES:
        return None
    keys = {key.strip(): name for key, name in written.items()}
    names = {int(key): name for key, name in keys.items() if key.isascii() and key.isdigit() and len(key) < 9}
    if len(names) != len(written) or set(names) != set(range(len(names))):
        return None
    texts = {index: name for index, name in sorted(names.items()) if isinstance(name, str)}
    return texts if len(texts) == len(names) else None


def _class_count(value: JsonValue) -> int | None:
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number == number // 1 and 0 < number <= MAX_CLASSES else None


def _written(document: YamlDocument, key: str) -> tuple[str, ...]:
    value = document.values.get(key)
    listed = value if isinstance(value, list) else [] if value in (None, "") else [value]
    if not all(isinstance(path, str) for path in listed):
        raise DatasetError(
            f"`{key}` in {document.source} must be a path or a list of paths.",
            code="data_yaml_path",
            place=document.place(key),
        )
    return tuple(path for path in listed if isinstance(path, str) and path.strip())


def _path(document: YamlDocument) -> str | None:
    value = document.values.get("path")
    return value if isinstance(value, str) and value.strip() else None


def _keypoint_shape(shape: JsonValue) -> tuple[int, int]:
    """Points and dimensions of `kpt_shape: [points, 2 or 3]`, zeros without it."""
    if isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and 0 < n <= 10_000 for n in shape):
        points, dimensions = shape
        if isinstance(points, int) and isinstance(dimensions, int):
            return points, dimensions
    return 0, 0


def _sigmas(value: JsonValue) -> tuple[float, ...]:
    """The numbers of a list, nan for what is none; nan alone for anything else that is not empty."""
    if not value:
        return ()
    listed = value if isinstance(value, list) and len(value) <= 10_000 else [None]
    return tuple(
        float(item) if isinstance(item, int | float) and not isinstance(item, bool) else math.nan for item in listed
    )


def _flip_index(value: JsonValue) -> tuple[int, ...] | None:
    if not isinstance(value, list) or not 0 < len(value) <= 10_000:
        return None
    index = tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool))
    return index if len(index) == len(value) else None
