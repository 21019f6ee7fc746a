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
from runaudit.runs.folder_walk import is_folder
from runaudit.runs.paths import is_image

SPLIT_FOLDERS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
"""split -> the names that its folder may have; the first that is there counts"""
MAX_FOLDERS: Final = 200_000
"""Folders that the search looks into, over all: splits named in one another could else have it look for ever."""

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
                if is_folder(entry):
                    (linked_folders if linked else folders).append(entry.name)
                elif linked:
                    linked_files.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    except OSError:  # not readable, or its path is longer than the file system allows
        return Listing()
    return Listing(*(tuple(sorted(names)) for names in (folders, files, linked_folders, linked_files)))


def find_class_tree(root: Path, *, named: str = "") -> Path | None:
    """The folder below `root`, or `root` itself, that holds the splits; None if there is none.

    Of several, one called `named` is taken, else the shallowest. Links are not followed.

    Raises
    ------
    DatasetError : `class_folders_ambiguous`, if two are of equal standing; it names them. `data_too_many_files`, if
        there are more than MAX_FOLDERS folders to look into.
    """
    search = _Search()
    found: list[tuple[bool, int, Path]] = []
    pending = deque([(root, 0)])
    while pending:
        folder, depth = pending.popleft()
        listed = search.listing(folder)
        splits = [name for name in (*listed.folders, *listed.linked_folders) if name in _SPLIT_NAMES]
        if any(search.has_classes(folder / name) for name in splits):
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


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@dataclass
class _Search:
    """Looks into folders, and counts them."""

    looked_into: int = 0

    def listing(self, folder: Path | str) -> Listing:
        """`listing`, as long as there are not too many."""
        self._count()
        return listing(folder)

    def has_classes(self, split: Path) -> bool:
        """Whether a folder below `split` holds an image, other than those of a detection data set."""
        listed = self.listing(split)
        names = (name for name in (*listed.folders, *listed.linked_folders) if name not in _NO_CLASSES)
        return any(self._holds_image(str(split / name)) for name in names)

    def _holds_image(self, folder: str) -> bool:
        for _, listed in files_below(folder):
            self._count()
            if any(is_image(name) for name in (*listed.files, *listed.linked_files)):
                return True
        return False

    def _count(self) -> None:
        self.looked_into += 1
        if self.looked_into > MAX_FOLDERS:
            raise DatasetError(
                f"There are more than {MAX_FOLDERS} folders to look into. Hand in the folder that holds train and val.",
                code="data_too_many_files",
            )
