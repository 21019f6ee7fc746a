"""Walking a tree of folders without recursion: one may be deeper than Python's stack.

Before Python 3.12, os.walk calls itself for each level and ends with RecursionError at about the thousandth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(top: Path | str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder from `top` on with its subfolders and its files, as os.walk gives them: top down, links not followed.

    What is removed from the list of subfolders is not walked. Links to folders stand in that list; a folder that can't
    be read, or whose path is longer than the system allows, is left out.
    """
    pending = [os.fspath(top)]
    while pending:
        folder = pending.pop()
        subfolders: list[str] = []
        files: list[str] = []
        links: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (subfolders if is_folder(entry) else files).append(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
        except OSError:
            continue
        yield folder, subfolders, files
        pending.extend(os.path.join(folder, name) for name in reversed(subfolders) if name not in links)  # noqa: PTH118


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False
