"""Where the paths of a data.yaml lead: never outside the data that was handed in, unless it is one's own machine.

A path written on another machine (absolute, with a drive letter, or climbing) is matched by its longest suffix that
exists below the root. What is a link out of the root is refused (design.md, "Where data comes from").
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from runaudit.errors import DatasetError
from runaudit.runs.folder_walk import walk

IMAGE_SUFFIXES = frozenset(
    ("avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp")
)
"""ultralytics 8.4.190, data/utils.py, IMG_FORMATS."""
MAX_ENTRIES = 5_000_000
MAX_PATH = 4096

_SPLIT_WORDS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))
_DRIVE = re.compile(r"[A-Za-z]:")
How = Literal["as_written", "by_suffix"]


@dataclass(frozen=True)
class Found:
    """Where a written path led, and how. Of one found by suffix, `matched` counts the last parts that agree, and
    `sought` is the path that was looked for.
    """

    path: Path
    how: How
    matched: int = 0
    sought: str = ""


@dataclass
class Paths:
    """Resolves written paths below `root` (resolved), or anywhere if `own_machine`."""

    root: Path
    own_machine: bool = False
    _allowed: dict[str, bool] = field(default_factory=dict)

    def find(self, written: str, bases: Sequence[Path], *, prefix: str = "") -> Found | None:
        """The existing file or folder that `written` means, or None.

        It is tried below each of `bases`; a leading `../` that leads nowhere is left out, as ultralytics does for the
        exports of Roboflow. Then the longest suffix of `prefix/written` that exists anywhere below the root is taken.

        Raises
        ------
        DatasetError : `data_path_ambiguous`, if two equally long suffixes exist.
        """
        text = written.strip().replace("\\", "/")
        if not text or len(text) > MAX_PATH or "\0" in text or "://" in text:
            return None
        foreign = bool(_DRIVE.match(text)) or text.startswith("/")
        direct = self._absolute(text) if foreign else self._relative(text, bases)
        if direct is not None:
            return Found(direct, "as_written")
        joined = text if foreign else f"{prefix.replace(chr(92), '/')}/{text}"
        return self._by_suffix(joined, bases)

    def allows(self, path: Path) -> bool:
        """Whether the folder or file, links followed, lies below the root."""
        if self.own_machine:
            return True
        key = str(path)
        if key not in self._allowed:
            try:
                self._allowed[key] = path.resolve().is_relative_to(self.root)
            except (OSError, RuntimeError):
                self._allowed[key] = False
        return self._allowed[key]

    def allows_file(self, folder: str, name: str) -> bool:
        """Whether a file of an already allowed folder may be read: it is no link, or one that stays below the root."""
        path = Path(folder, name)
        return self.own_machine or not path.is_symlink() or self.allows(path)

    def shown(self, path: Path | str) -> str:
        """The path for citing: relative to the root if it lies there."""
        return str(path).removeprefix(f"{self.root}/")

    def _absolute(self, text: str) -> Path | None:
        """An absolute path counts only on one's own machine, or where it leads into the root itself."""
        path = Path(os.path.normpath(text))
        if self.own_machine:
            return path if _exists(path) else None
        return path if path.is_relative_to(self.root) and _exists(path) and self.allows(path) else None

    def _relative(self, text: str, bases: Sequence[Path]) -> Path | None:
        shapes = [text]
        if text.startswith("../"):
            shapes.append(text[3:])
        for base in bases:
            for shape in shapes:
                path = Path(os.path.normpath(base / shape))
                inside = self.own_machine or path.is_relative_to(self.root)
                if inside and _exists(path) and self.allows(path):
                    return path
        return None

    def _by_suffix(self, text: str, bases: Sequence[Path]) -> Found | None:
        parts = tuple(part for part in _DRIVE.sub("", text, count=1).split("/") if part not in ("", ".", ".."))
        if not parts:
            return None
        named_alike = self._tree.get(parts[-1], ())
        scored = [(score, other) for other in named_alike if (score := common_suffix(parts, other))]
        if not scored:
            return None
        longest = max(score for score, _ in scored)
        best = sorted(candidate for score, candidate in scored if score == longest)
        near = [c for c in best if any(self.root.joinpath(*c).is_relative_to(base) for base in bases)]
        best = near if len(near) == 1 else best
        if len(best) > 1:
            named = ", ".join("/".join(candidate) for candidate in best[:5])
            raise DatasetError(
                f"The path `{text[:200]}` may be any of {named}. Write it relative to the data.yaml.",
                code="data_path_ambiguous",
            )
        path = self.root.joinpath(*best[0])
        return Found(path, "by_suffix", longest, "/".join(parts)) if self.allows(path) else None

    @cached_property
    def _tree(self) -> dict[str, list[tuple[str, ...]]]:
        """Folders with images in or below them, and .txt lists, by last name; walked once, links not followed."""
        with_images: set[tuple[str, ...]] = set()
        lists: list[tuple[str, ...]] = []
        entries = 0
        for folder, subfolders, files in walk(self.root):
            subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "__MACOSX"]
            parts = Path(folder).relative_to(self.root).parts
            entries += len(files) + 1
            if entries > MAX_ENTRIES:
                raise DatasetError(f"There are more than {MAX_ENTRIES} files.", code="data_too_many_files")
            if any(is_image(name) for name in files):
                with_images.update(parts[:end] for end in range(1, len(parts) + 1))
            elif "labels" not in parts:
                lists.extend((*parts, name) for name in files if name.endswith(".txt"))
        tree: dict[str, list[tuple[str, ...]]] = {}
        for candidate in (*with_images, *lists):
            tree.setdefault(candidate[-1], []).append(candidate)
        return tree


def is_image(name: str) -> bool:
    """Whether the framework takes a file of this name for an image; hidden files are none (its glob skips them)."""
    return not name.startswith(".") and name.rpartition(".")[2].lower() in IMAGE_SUFFIXES and "." in name


def label_path(image: str) -> str:
    """The label file of an image: its last `/images/` becomes `/labels/`, its suffix `.txt` (yolo.md A5).

    Without an `/images/` the label is looked for beside the image.
    """
    head, separator, tail = image.rpartition("/images/")
    return (f"{head}/labels/{tail}" if separator else image).rpartition(".")[0] + ".txt"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a part too long for the file system
        return False


def common_suffix(parts: tuple[str, ...], candidate: tuple[str, ...]) -> int:
    """How many last parts agree; 0 if the parts before them name two different splits."""
    length = 0
    for written, existing in zip(reversed(parts), reversed(candidate), strict=False):
        if written != existing:
            return 0 if written in _SPLIT_WORDS and existing in _SPLIT_WORDS else length
        length += 1
    return length
