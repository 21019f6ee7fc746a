"""The image files of a split: what lies below its folders, or what its .txt lists name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runaudit.runs.facts import Note
from runaudit.runs.folder_walk import walk
from runaudit.runs.paths import Found, Paths, is_image
from runaudit.runs.regular_file import open_regular

MAX_LIST_BYTES = 256 << 20
MAX_IMAGES = 5_000_000


class ImageFile(NamedTuple):
    """One image by its absolute folder and its name."""

    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


class Folder(NamedTuple):
    """The files of a folder: the plain ones, and the links."""

    files: frozenset[str]
    links: frozenset[str]


def list_images(found: Iterable[Found], paths: Paths) -> tuple[list[ImageFile], list[Note]]:
    """All image files, sorted by path as the framework sorts them; each only once; links out of the root left out.

    Hidden files and folders are skipped, as the framework's glob does.
    """
    listing = _Listing(paths)
    images: set[ImageFile] = set()
    for hit in found:
        if len(images) > MAX_IMAGES:
            listing.notes.append(Note(code="data_too_many_files", detail=f"Only {MAX_IMAGES} images are read."))
            break
        images.update(listing.below(str(hit.path)) if hit.path.is_dir() else listing.named_in(hit.path))
    return sorted(images, key=lambda image: image.path), listing.notes


def list_folder(folder: str) -> Folder:
    """The regular files and links of a folder; empty if it can't be read."""
    try:
        with os.scandir(folder) as entries:
            listed = [(entry.name, entry.is_symlink(), entry.is_file(follow_symlinks=False)) for entry in entries]
    except OSError:
        return Folder(frozenset(), frozenset())
    return Folder(
        files=frozenset(name for name, _, is_file in listed if is_file),
        links=frozenset(name for name, is_link, _ in listed if is_link),
    )


@dataclass
class _Listing:
    paths: Paths
    notes: list[Note] = field(default_factory=list)
    _folders: dict[str, Folder] = field(default_factory=dict)

    def below(self, top: str) -> Iterator[ImageFile]:
        refused = 0
        for folder, subfolders, _ in walk(top):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            listed = list_folder(folder)
            yield from (ImageFile(folder, name) for name in listed.files if is_image(name))
            for name in filter(is_image, listed.links):
                if self.paths.allows_file(folder, name):
                    yield ImageFile(folder, name)
                else:
                    refused += 1
        self._note_refused(refused, top)

    def named_in(self, file: Path) -> Iterator[ImageFile]:
        """The images that a list names. A line that begins with `./` is relative to the list (yolo.md A5)."""
        shown = self.paths.shown(file)
        try:
            with open_regular(file) as opened:
                content = opened.read(MAX_LIST_BYTES + 1)
        except OSError as error:
            self.notes.append(Note(code="list_unreadable", detail=f"{shown} can't be read: {error.strerror}."))
            return
        if len(content) > MAX_LIST_BYTES or b"\0" in content:
            self.notes.append(Note(code="list_unreadable", detail=f"{shown} is no list of images.", place=shown))
            return
        resolved: dict[str, str | None] = {}
        missing: list[int] = []
        for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), start=1):
            written = line.strip().replace("\\", "/")
            if not is_image(written.rpartition("/")[2]):
                continue
            head, _, name = written.rpartition("/")
            if head not in resolved:
                resolved[head] = self._folder_of(head or ".", file)
            folder = resolved[head]
            if folder is not None and self._has(folder, name):
                yield ImageFile(folder, name)
            else:
                missing.append(number)
        if missing:
            detail = f"{len(missing)} images that the list names are not in the data that was handed in."
            self.notes.append(Note(code="list_images_missing", detail=detail, place=f"{shown}:{missing[0]}"))

    def _folder_of(self, written: str, file: Path) -> str | None:
        hit = self.paths.find(written, [file.parent, self.paths.root])
        return str(hit.path) if hit is not None and hit.path.is_dir() else None

    def _has(self, folder: str, name: str) -> bool:
        if folder not in self._folders:
            self._folders[folder] = list_folder(folder)
        listed = self._folders[folder]
        return name in listed.files or (name in listed.links and self.paths.allows_file(folder, name))

    def _note_refused(self, count: int, top: str) -> None:
        if count:
            detail = f"{count} images are links that leave the data, or lead nowhere; they are left out."
            self.notes.append(Note(code="link_refused", detail=detail, place=self.paths.shown(top)))
