"""Which image files of a data set are the same, by their bytes, and one digest that names the data set.

Needs no model and decodes nothing: files of one size are compared by two short parts, and those that agree there by all
their bytes, so that most files are never opened.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runaudit.runs.facts import ImageIndex, SameImages, Split
from runaudit.runs.image_opening import Regular
from runaudit.runs.label_arrays import LabelArrays

MOST_PAIRS: Final = 20
"""examples that are kept"""
MOST_NAMED: Final = 100
"""validation images that are named"""
_PART: Final = 4096
"""bytes from the middle and from the end; the beginning of images of one camera or encoder is the same"""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class _File:
    """An image's size in bytes, and what the file system calls it: links to one file have the same."""

    size: int
    identity: tuple[int, int]


def same_images(index: ImageIndex, labels: LabelArrays, names: dict[int, str]) -> SameImages:
    """Compare all images of `index` that can be opened, within the splits and those of validation with training."""
    root = Path(index.root)
    files = [_file(root / entry.file) for entry in index.images]
    content = _contents([root / entry.file for entry in index.images], files)
    training: dict[int, int] = {}
    for position, entry in enumerate(index.images):
        if entry.split == "train" and content[position] >= 0:
            training.setdefault(content[position], position)
    identities = {
        file.identity for file, entry in zip(files, index.images, strict=True) if file and entry.split == "train"
    }
    validation = [position for position, entry in enumerate(index.images) if entry.split == "val"]
    shared = [position for position in validation if content[position] in training]
    links = [file.identity in identities for position in shared if (file := files[position]) is not None]
    distinct: dict[Split, set[int]] = defaultdict(set)
    for position, entry in enumerate(index.images):
        # What can't be opened now is counted as a file of its own.
        distinct[entry.split].add(content[position] if content[position] >= 0 else -1 - position)
    return SameImages(
        digest=_digest(index, files, labels, names),
        distinct={split: len(found) for split, found in distinct.items()},
        validation=len(validation),
        training=sum(entry.split == "train" for entry in index.images),
        shared=len(shared),
        same_file=sum(links),
        pairs=tuple(
            (index.images[position].file, index.images[training[content[position]]].file)
            for position in shared[:MOST_PAIRS]
        ),
        named=tuple(index.images[position].file for position in shared[:MOST_NAMED]),
    )


def _file(path: Path) -> _File | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _File(status.st_size, (status.st_dev, status.st_ino))


def _contents(paths: list[Path], files: list[_File | None]) -> list[int]:
    """A number for each file, the same for files of equal bytes; -1 for one that can't be read."""
    number = {position: position for position, file in enumerate(files) if file is not None}
    # Links to one file need no reading.
    first: dict[tuple[int, int], int] = {}
    for position, file in enumerate(files):
        if file is not None:
            number[position] = first.setdefault(file.identity, position)
    groups = _grouped(first.values(), lambda position: _size(files[position]))
    groups = [part for group in groups for part in _grouped(group, lambda position: _glance(paths[position]))]
    groups = [part for group in groups for part in _grouped(group, lambda position: _whole(paths[position]))]
    same = {position: group[0] for group in groups for position in group}
    return [same.get(number.get(position, -1), number.get(position, -1)) for position in range(len(files))]


def _grouped(positions: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    """The positions of one key, where there are two or more; None is the key of none."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for position in positions:
        if (found := key(position)) is not None:
            groups[found].append(position)
    return [group for group in groups.values() if len(group) > 1]


def _size(file: _File | None) -> int | None:
    return file.size if file is not None else None


def _glance(path: Path) -> bytes | None:
    """A digest of two parts of a file."""
    try:
        with (opened := Regular(str(path))) as file:
            file.seek(opened.size // 2)
            middle = file.read(_PART)
            file.seek(max(0, opened.size - _PART))
            return hashlib.blake2b(middle + file.read(_PART), digest_size=16).digest()
    except OSError:
        return None


def _whole(path: Path) -> bytes | None:
    digest = hashlib.sha256()
    try:
        with Regular(str(path)) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


def _digest(index: ImageIndex, files: list[_File | None], labels: LabelArrays, names: dict[int, str]) -> str:
    """SHA-256 of the class names, of each image's split, path, bytes in number and pixels, and of all usable labels.

    What the images show is not part of it: an image that was changed without a change of its file's length keeps the
    digest. Images come in the index' order, in which the labels name them.
    """
    digest = hashlib.sha256(b"runaudit data set 1\n")
    for class_id in sorted(names):
        digest.update(f"{class_id}\0{names[class_id]}\n".encode("utf-8", "surrogatepass"))
    for entry, file in zip(index.images, files, strict=True):
        line = f"{entry.split}\0{entry.file}\0{_size(file)}\0{entry.width}x{entry.height}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    for column in (labels.image, labels.cls, labels.box):
        digest.update(f"{column.dtype.str}{column.shape}".encode() + column.tobytes())
    return digest.hexdigest()
