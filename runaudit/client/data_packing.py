"""Packs a data set: data.yaml, and the images and labels of its training and validation split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from runaudit.client.archives import Member, write_archive
from runaudit.errors import DatasetError

SPLITS: Final = ("train", "val")
IMAGE_FORMATS: Final = "avif bmp dng heic heif jp2 jpeg jpeg2000 jpg mpo pfm png tif tiff webp"
IMAGE_SUFFIXES: Final = frozenset(f".{name}" for name in IMAGE_FORMATS.split())
"""IMG_FORMATS of ultralytics 8.4.190, data/utils.py, and pfm, which earlier versions read"""
LIST_SUFFIX: Final = ".txt"
"""of label files, and of files that list images; nothing else that a data.yaml names is read or packed"""
STARTED_ABOVE: Final = 3
"""how many folders above a data.yaml may be the one that the training was started in, where its `path` begins: YOLOv5
takes its repository (utils/general.py, check_dataset), ultralytics the working folder (data/utils.py)"""
VALIDATION_FOLDERS: Final = ("val", "valid", "validation", "test")
"""the names under which classification data sets keep their validation split, the first that is there"""


def pack_data(data: Path, stream: IO[bytes]) -> None:
    """Write the data set that `data` (a data.yaml, or a data set's folder) describes into `stream` as a zip.

    Files keep their places relative to each other, so that data.yaml fits as it is. Caches are never packed.

    Raises DatasetError if it names no image that is there, YamlError if data.yaml can't be read.
    """
    write_archive(data_members(data), stream)


def data_members(data: Path) -> Iterator[Member]:
    """The data set's files, named relative to the folder that holds them all."""
    description = data if data.is_file() else _find_description(data)
    if description is None:
        files, root = _classification_images(data), str(data.absolute())
    else:
        files = _described_files(description)
        root = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120
    return (Member(os.path.relpath(file, root).replace(os.sep, "/"), Path(file)) for file in files)


def _find_description(folder: Path) -> Path | None:
    """The folder's data.yaml, or its one YAML file; None if it has none, as classification data sets."""
    if not folder.is_dir():
        what = "is neither a file nor a folder" if folder.exists() else "is not there"
        raise DatasetError(f"{folder} {what}", code="data_not_found")
    candidates = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    preferred = [path for path in candidates if path.stem == "data"] or candidates
    if len(preferred) > 1:
        names = ", ".join(path.name for path in preferred[:5])
        raise DatasetError(f"{folder} holds several YAML files; name the one that describes the data: {names}")
    return preferred[0] if preferred else None


def _classification_images(folder: Path) -> list[str]:
    validation = next((name for name in VALIDATION_FOLDERS if (folder / name).is_dir()), None)
    if validation is None:
        raise DatasetError(f"{folder} holds neither a data.yaml nor a folder `val` with a folder for each class")
    files = [file for name in ("train", validation) for file in _images_below(str((folder / name).absolute()))]
    if not files:
        raise DatasetError(f"{folder} holds no images")
    return files


def _described_files(description: Path) -> list[str]:
    """Absolute paths of data.yaml, list files, images and labels, each once."""
    # Imported late: the client itself needs no YAML.
    from runaudit.runs.safe_yaml import load_yaml  # noqa: PLC0415

    document = load_yaml(description, source=description.name)
    roots = _roots(description, document.values.get("path"))
    files: dict[str, None] = {str(description.absolute()): None}
    images = 0
    for split in SPLITS:
        entries = document.values.get(split)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                continue
            source = _resolve(entry, roots)
            if source is None:
                raise DatasetError(
                    f"{split} names {entry}, which is not on this machine",
                    code="data_not_found",
                    place=document.place(split),
                )
            listed = source.is_file() and source.suffix == LIST_SUFFIX
            if listed:
                files[_undisguised(str(source))] = None
            for image in _listed_images(source, roots) if listed else _images_below(str(source)):
                images += 1
                files[image] = None
                label = label_of(image)
                if os.path.isfile(label):  # noqa: PTH113
                    files[_undisguised(label)] = None
    if not images:
        raise DatasetError(f"{description.name} names no images for train or val", place=description.name)
    return [*files]


def _roots(description: Path, path: Any) -> list[Path]:
    """The folders that a split may be relative to, most likely first."""
    home = description.absolute().parent
    if not isinstance(path, str) or not path:
        return [home]
    above = (folder / path for folder in home.parents[:STARTED_ABOVE])
    return [*dict.fromkeys((home / path, Path.cwd() / path, *above, home))]


def _resolve(entry: str, roots: list[Path]) -> Path | None:
    """Where `entry` is: as it stands below a root, without a leading `../` (which exports of Roboflow have, and
    ultralytics forgives), else by the longest end of it that is there. None if nowhere.
    """
    plain = entry.replace("\\", "/")
    for candidate in (entry, plain, plain.removeprefix("../")):
        for root in roots:
            if (root / candidate).exists():
                return _absolute(root / candidate)
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        for root in roots:
            if (root / Path(*parts[start:])).exists():
                return _absolute(root / Path(*parts[start:]))
    return None


def _absolute(path: Path) -> Path:
    # Not resolve(): a linked folder keeps the name by which data.yaml knows it.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _listed_images(source: Path, roots: list[Path]) -> Iterator[str]:
    """The images of a list file that are there; a line is relative to the list or to a root."""
    folders = [source.parent, *roots]
    with source.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            entry = line.strip()
            if entry and Path(entry).suffix.lower() in IMAGE_SUFFIXES:
                image = _resolve(entry, folders)
                if image is not None:
                    yield _undisguised(str(image))


def _images_below(folder: str) -> Iterator[str]:
    """Absolute paths of the images in and below `folder`, or itself if it is an image; sorted within each folder."""
    if _suffix(folder) in IMAGE_SUFFIXES and os.path.isfile(folder):  # noqa: PTH113
        yield _undisguised(folder)
        return
    for current, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if _suffix(name) in IMAGE_SUFFIXES:
                yield _undisguised(os.path.join(current, name))  # noqa: PTH118


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _undisguised(path: str) -> str:
    """`path`, unless it is a link to a file of another kind: a data set of somebody else could otherwise have any
    file of this machine sent away as an image. Links between images are common, and are followed.
    """
    if os.path.islink(path) and _suffix(os.path.realpath(path)) not in IMAGE_SUFFIXES | {LIST_SUFFIX}:  # noqa: PTH114
        raise DatasetError(f"{path} is a link to a file that is no image and no label file", code="link_disguised")
    return path


def label_of(image: str) -> str:
    """The label file of an image: the last folder `images` becomes `labels`, the suffix .txt
    (img2label_paths of ultralytics 8.4.190, data/utils.py).
    """
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return f"{os.path.splitext(path)[0]}.txt"  # noqa: PTH122
