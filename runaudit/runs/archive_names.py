"""Decides which member names of an archive may become files, and where."""

from __future__ import annotations

import re
import unicodedata

from runaudit.errors import ArchiveError

_COMPONENT_BYTES = 255
"""NAME_MAX of Linux file systems"""
_PATH_BYTES = 1024
"""a quarter of PATH_MAX, so that no job folder in front of it makes it too long"""
_DEPTH = 64
_DRIVE = re.compile(r"^[A-Za-z]:")
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\\]")
"""control characters, those that turn the direction of text (a name shown differs from the name used), backslashes"""


def member_path(name: str) -> tuple[str, ...]:
    """The components of the member `name`, () for the archive's own root (`./`).

    A leading `./` and a trailing `/` are what tar writes and are dropped; nothing else is repaired.
    Raises ArchiveError archive_path for every name that is absolute, climbs, names a drive or a share, is too long or
    too deep, or holds an empty component, a control or direction character, or a backslash.
    """
    shown = ascii(name[:120])
    if _FORBIDDEN_CHARACTERS.search(name):
        raise ArchiveError(
            f"The member name {shown} holds a character that no file here may have.", code="archive_path"
        )
    if name.startswith("/") or _DRIVE.match(name):
        raise ArchiveError(f"The member name {shown} is absolute.", code="archive_path")
    trimmed = name.removeprefix("./").removesuffix("/")
    if trimmed in ("", ".") and name:
        return ()
    components = tuple(trimmed.split("/"))
    if any(component in ("", ".", "..") for component in components):
        raise ArchiveError(f"The member name {shown} leaves its folder.", code="archive_path")
    if (
        len(components) > _DEPTH
        or len(trimmed.encode()) > _PATH_BYTES
        or any(len(component.encode()) > _COMPONENT_BYTES for component in components)
    ):
        raise ArchiveError(f"The member name {shown} is too long.", code="archive_path")
    return components


def is_operating_system_litter(components: tuple[str, ...]) -> bool:
    """Whether macOS added this member on its own: resource forks (`__MACOSX/`, `._name`) and `.DS_Store`."""
    return components[0] == "__MACOSX" or components[-1] == ".DS_Store" or components[-1].startswith("._")


def _folded(component: str) -> str:
    """The name as a file system that ignores case, composition and trailing dots and spaces would compare it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", component).casefold()).rstrip(". ")


class Names:
    """The names an archive has used so far. Two that some file system would take for one are refused."""

    def __init__(self) -> None:
        self._files: set[tuple[str, ...]] = set()
        self._folders: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}
        self._declared: set[tuple[str, ...]] = set()

    def add_file(self, components: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Registers a file; returns its folders that are new, outermost first.

        Raises ArchiveError archive_duplicate (same name, or the same but for case or composition) or archive_conflict
        (one name for a file and a folder).
        """
        key = tuple(map(_folded, components))
        if key in self._files:
            raise self._duplicate(components)
        if key in self._folders:
            raise self._conflict(components)
        new = self._add_folders(components[:-1])
        self._files.add(key)
        return new

    def add_folder(self, components: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Registers a folder; returns it and its parents as far as they are new. Raises as `add_file` does."""
        new = self._add_folders(components)
        if components in self._declared:
            raise self._duplicate(components)
        self._declared.add(components)
        return new

    def _add_folders(self, components: tuple[str, ...]) -> list[tuple[str, ...]]:
        new = []
        key: tuple[str, ...] = ()
        for depth, component in enumerate(components, start=1):
            key = (*key, _folded(component))
            known = self._folders.get(key)
            if known is None:
                if key in self._files:
                    raise self._conflict(components[:depth])
                self._folders[key] = components[:depth]
                new.append(components[:depth])
            elif known != components[:depth]:
                raise self._duplicate(components[:depth])
        return new

    @staticmethod
    def _duplicate(components: tuple[str, ...]) -> ArchiveError:
        name = ascii("/".join(components)[:120])
        return ArchiveError(
            f"The archive holds {name} twice, or a second time in other case or composition.", code="archive_duplicate"
        )

    @staticmethod
    def _conflict(components: tuple[str, ...]) -> ArchiveError:
        name = ascii("/".join(components)[:120])
        return ArchiveError(f"The archive holds {name} both as a file and as a folder.", code="archive_conflict")
