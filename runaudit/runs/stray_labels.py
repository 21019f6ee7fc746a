"""Label files that stand where the framework doesn't look: those of images whose labels it takes for missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runaudit.runs.facts import Split
from runaudit.runs.folder_walk import walk
from runaudit.runs.image_files import ImageFile
from runaudit.runs.paths import Paths, label_path

MAX_ENTRIES = 1_000_000
"""Files that are looked at; a data set of more is searched in part."""
SHOWN_FOLDERS = 5
_SUFFIXES = (".txt", ".xml", ".json")
"""Labels of YOLO, Pascal VOC and LabelMe: one file an image each. Training reads the first only."""


@dataclass(frozen=True)
class Strays:
    """How many images without a label file have one elsewhere, and the folders (with suffix) that hold the most."""

    images: int
    folders: tuple[str, ...]


def find_stray_labels(
    missing: Mapping[Split, Sequence[ImageFile]], images: Iterable[ImageFile], paths: Paths
) -> dict[Split, Strays]:
    """Files named as the `missing` images of each split, that are not the label file of one of all `images`.

    Only names are compared; no file is opened, no link followed. Splits without such a file are left out.
    """
    wanted: dict[str, set[Split]] = {}
    for split, files in missing.items():
        for file in files:
            wanted.setdefault(_stem(file.name), set()).add(split)
    if not wanted:
        return {}
    in_use = {label_path(image.path) for image in images}
    found: dict[Split, dict[str, str]] = {split: {} for split in missing}
    for folder, name in _files(_tops(missing.values(), paths)):
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        splits = wanted.get(_stem(name)) if suffix in _SUFFIXES else None
        if splits is None or f"{folder}/{name}" in in_use:
            continue
        for split in splits:
            found[split].setdefault(_stem(name), f"{paths.shown(folder)}/*{suffix}")
    return {split: Strays(len(stems), _most_common(stems.values())) for split, stems in found.items() if stems}


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _most_common(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(folder for folder, _ in Counter(folders).most_common(SHOWN_FOLDERS))


def _tops(missing: Iterable[Sequence[ImageFile]], paths: Paths) -> list[str]:
    """Where to search: the root, or for images outside of it (one's own machine) the folder above their `images`."""
    root = str(paths.root)
    tops: set[str] = set()
    for folder in {file.folder for files in missing for file in files}:
        inside = folder == root or folder.startswith(f"{root}/")
        above, separator, _ = f"{folder}/".rpartition("/images/")
        tops.add(root if inside else above if separator and above else folder)
    return sorted(top for top in tops if not any(top.startswith(f"{other}/") for other in tops))


def _files(tops: Iterable[str]) -> Iterator[tuple[str, str]]:
    entries = 0
    for top in tops:
        for folder, subfolders, files in walk(top):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
            entries += len(files)
            if entries > MAX_ENTRIES:
                return
            for name in files:
                yield folder, name
