"""Finding the folder tree of a classification data set: a folder a split, and in it a folder a class.

Which folders are splits follows ultralytics 8.4.190, data/utils.py check_cls_dataset. All walking is without recursion,
since a tree may be deeper than Python's stack.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runaudit.errors import DatasetError
from runaudit.runs.facts import Split
from runaudit.runs.paths import is_image

SPLIT_FOLDERS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
"""split -> the names that its folder may have; the first that is there counts"""
MAX_FOLDERS: Final = 200_000
"""Folders that are looked into before the search is given up."""

_SPLIT_NAMES: Final = frozenset(name for names in SPLIT_FOLDERS.values() for name in names)
_NO_CLASSES: Final = frozenset(("images", "labels"))
"""Folders that a split of a detection data set has where one of classification has its classes."""
_SHOWN: Final = 5


@dataclass(frozen=True)
class Listing:
    """What a folder holds, sorted by name: `folders` and `files`, and links by what they lead to."""

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    linked_folders: tuple[str, ...] = ()
    linked_files: tuple[str, ...] = ()


def listing(folder: Path | str) -> Listing:
    """The folder's entries; nothing if it can't be read. Pipes, sockets and devices are in none of the lists."""
    folders: list[str] = []
    files: list[str] = []
    linked_folders: list[str] = []
    linked_files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                linked = entry.is_symlink()
                if _is_folder(entry):
                    (linked_folders if linked else folders).append(entry.name)
                elif linked:
                    linked_files.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    except OSError:  # not readable, or its path is longer than the file system allows
        return Listing()
    return Listing(*(tuple(sorted(names)) for names in (folders, files, linked_folders, linked_files)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def find_class_tree(root: Path, *, named: str = "") -> Path | None:
    """The folder below `root`, or `root` itself, that holds the splits; None if there is none.

    Of several, one called `named` is taken, else the shallowest. Links are not followed.

    Raises
    ------
    DatasetError : `class_folders_ambiguous`, if two are of equal standing; it names them.
    """
    found: list[tuple[bool, int, Path]] = []
    pending = deque([(root, 0)])
    looked_into = 0
    while pending and looked_into < MAX_FOLDERS:
        folder, depth = pending.popleft()
        looked_into += 1
        listed = listing(folder)
        if any(_has_classes(folder / name) for name in (*listed.folders, *listed.linked_folders) if _is_split(name)):
            found.append((folder.name != named, depth, folder))
            continue
        pending.extend((folder / name, depth + 1) for name in listed.folders if not _is_hidden(name))
    if not found:
        return None
    best = min(standing[:2] for standing in found)
    equals = [folder for *standing, folder in found if tuple(standing) == best]
    if len(equals) > 1:
        shown = ", ".join(folder.relative_to(root).as_posix() for folder in equals[:_SHOWN])
        raise DatasetError(
            f"There are {len(equals)} trees of class folders: {shown}. Hand in one of them.",
            code="class_folders_ambiguous",
        )
    return equals[0]


def files_below(top: str) -> Iterator[tuple[str, Listing]]:
    """`top` and all folders below it with their listings, hidden ones left out, links not followed."""
    pending = [top]
    while pending:
        folder = pending.pop()
        listed = listing(folder)
        yield folder, listed
        pending.extend(f"{folder}/{name}" for name in reversed(listed.folders) if not name.startswith("."))


def _is_split(name: str) -> bool:
    return name in _SPLIT_NAMES


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _has_classes(split: Path) -> bool:
    """Whether a folder below `split` holds an image, other than those of a detection data set."""
    listed = listing(split)
    for name in (*listed.folders, *listed.linked_folders):
        if name not in _NO_CLASSES and _holds_image(str(split / name)):
            return True
    return False


def _holds_image(folder: str) -> bool:
    for number, (_, listed) in enumerate(files_below(folder)):
        if any(is_image(name) for name in (*listed.files, *listed.linked_files)):
            return True
        if number >= MAX_FOLDERS:
            break
    return False
