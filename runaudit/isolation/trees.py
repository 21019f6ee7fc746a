"""Folders of strangers' files: taking stock of one, making one read-only, deleting one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runaudit.errors import ChildError


@dataclass(frozen=True)
class Stock:
    """What a tree holds: regular files, the bytes in them, and the names of its YAML files."""

    files: int
    bytes: int
    yaml_names: frozenset[str]


def take_stock(tree: Path) -> Stock:
    """Count a tree that a child left.

    Raises ChildError `child_output_invalid` if it holds anything but folders and files of its own: a link would have
    others read, or delete, what lies elsewhere.
    """
    files, size = 0, 0
    yaml_names: set[str] = set()
    if tree.is_symlink():
        raise _invalid()
    for entry in _entries(tree):
        status = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            continue
        if not entry.is_file(follow_symlinks=False) or status.st_nlink != 1:
            raise _invalid()
        files += 1
        size += status.st_size
        if entry.name.endswith((".yaml", ".yml")):
            yaml_names.add(entry.name)
    return Stock(files, size, frozenset(yaml_names))


def _invalid() -> ChildError:
    return ChildError("A child process left something else than files and folders.", code="child_output_invalid")


def make_read_only(tree: Path) -> None:
    """Take the right to write from all files and folders below `tree`, and from itself."""
    for entry in list(_entries(tree)):
        Path(entry.path).chmod(0o500 if entry.is_dir(follow_symlinks=False) else 0o400)
    tree.chmod(0o500)


def remove_tree(folder: Path) -> None:
    """Delete a tree, also where modes would forbid it; what can't be deleted stays without an error."""
    for parent, folders, _ in os.walk(folder):
        for path in (Path(parent), *(Path(parent) / name for name in folders)):
            with suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """All that lies below `folder`, links not followed."""
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
