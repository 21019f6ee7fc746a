"""Further annotators' labels of the same images, read side by side with those that the model was trained on.

The rules are those of the data set's own labels (`runaudit.runs.labels`). A label file belongs to the image whose label
would have the same path below the split, `images/val/a.jpg` and `val/a.txt`; where folders don't agree, to the only
image of its stem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from runaudit.errors import DatasetError
from runaudit.runs.facts import AnnotatorFacts, ImageIndex, Note
from runaudit.runs.folder_walk import walk
from runaudit.runs.label_arrays import LabelArrays, concatenate_labels
from runaudit.runs.labels import MAX_FILE_BYTES, ParsedLabels, parse_labels
from runaudit.runs.locate import regular
from runaudit.runs.paths import common_suffix

MAX_FILES = 5_000_000
MAX_NOTES = 20
_BATCH_FILES = 2048
_BATCH_BYTES = 32 << 20
_NEVER = frozenset(("classes.txt", "obj.names.txt", "notes.txt", "readme.txt", "requirements.txt"))
_IMAGES, _LABELS = "images", "labels"


@dataclass(frozen=True)
class AnnotatorLabels:
    """One annotator's boxes, and `annotated` int32 (m,): the images in the index that have a usable label file of
    theirs, in order. An image that is there without a box was looked at and found empty."""

    labels: LabelArrays
    annotated: NDArray[np.int32]


def read_annotator(
    name: str,
    folder: Path,
    index: ImageIndex,
    *,
    names: dict[int, str],
    keypoint_values: int = 0,
    single_cls: bool = False,
) -> tuple[AnnotatorFacts, AnnotatorLabels]:
    """Read the labels below `folder` against the images of `index`; `names` are data.yaml's. Links are left alone.
    `keypoint_values` and `single_cls` are those that the data set was read with.

    Raises
    ------
    DatasetError : `labels_match_nothing` if no label file belongs to any image, `data_too_many_files`.
    """
    files = list(_label_files(folder))
    matched = _matched(files, index)
    if not matched:
        raise DatasetError(
            f"None of the {len(files)} label files of {name} belongs to an image of the data set. They must be named "
            "as the images are.",
            code="labels_match_nothing",
            place=name,
        )
    reading = _Reading(name, len(names), keypoint_values, single_cls=single_cls)
    for batch in _batched(folder, matched):
        reading.take(batch)
    labels = concatenate_labels(reading.arrays)
    annotated = np.asarray(reading.annotated, np.int32)
    pairs = np.unique(labels.image.astype(np.int64) * max(len(names), 1) + labels.cls)
    labelled = len(np.unique(labels.image))
    facts = AnnotatorFacts(
        name=name,
        images=len(annotated),
        labelled=labelled,
        background=len(annotated) - labelled,
        not_annotated=len(index.images) - len(matched),
        rejected=reading.rejected,
        unmatched_files=len(files) - len(matched),
        instances=len(labels.cls),
        class_instances=tuple(np.bincount(labels.cls, minlength=len(names)).tolist()),
        class_images=tuple(np.bincount(pairs % max(len(names), 1), minlength=len(names)).tolist()),
        notes=tuple(reading.notes),
    )
    return facts, AnnotatorLabels(labels, annotated)


def write_annotator(path: Path, found: AnnotatorLabels) -> None:
    """Write the tensors `image`, `cls`, `box` and `annotated`."""
    labels = found.labels
    tensors = {"image": labels.image, "cls": labels.cls, "box": labels.box, "annotated": found.annotated}
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)


def load_annotator(path: Path) -> AnnotatorLabels:
    """Read what `write_annotator` wrote."""
    tensors = load_file(path)
    return AnnotatorLabels(LabelArrays(tensors["image"], tensors["cls"], tensors["box"]), tensors["annotated"])


_Parts = tuple[str, ...]
"""a path below a folder, without `images` and `labels` and without its suffix"""


@dataclass(frozen=True)
class _LabelFile:
    relative: str
    parts: _Parts


def _label_files(folder: Path) -> Iterator[_LabelFile]:
    count = 0
    for top, subfolders, names in walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(top, name)
            if not name.endswith(".txt") or name.startswith(".") or name in _NEVER or not regular(path):
                continue
            count += 1
            if count > MAX_FILES:
                raise DatasetError(f"There are more than {MAX_FILES} label files.", code="data_too_many_files")
            relative = path.relative_to(folder).as_posix()
            yield _LabelFile(relative, _parts(relative))


def _parts(path: str) -> _Parts:
    *folders, stem = path.rpartition(".")[0].split("/")
    return (*(part for part in folders if part not in (_IMAGES, _LABELS)), stem)


_AMBIGUOUS = -1


def _matched(files: Sequence[_LabelFile], index: ImageIndex) -> dict[int, str]:
    """The label file of each image that has one, by the image's place in the index; each file is taken once."""
    paths = [_parts(image.file) for image in index.images]
    by_end = _by_end(paths)
    found: dict[int, tuple[int, str]] = {}
    for file in files:
        length, number = _longest_end(file.parts, by_end)
        # Ends may agree where the folders before them name two different splits: then it is no match.
        if number == _AMBIGUOUS or common_suffix(paths[number], file.parts) == 0:
            continue
        if length > found.get(number, (0, ""))[0]:
            found[number] = (length, file.relative)
    return {number: found[number][1] for number in sorted(found)}


def _by_end(paths: Sequence[_Parts]) -> dict[_Parts, int]:
    """Each end of each path, `a` and `val/a` of `val/a`, and which path alone has it."""
    by_end: dict[_Parts, int] = {}
    for number, parts in enumerate(paths):
        for start in range(len(parts)):
            end = parts[start:]
            by_end[end] = _AMBIGUOUS if end in by_end else number
    return by_end


def _longest_end(parts: _Parts, by_end: dict[_Parts, int]) -> tuple[int, int]:
    """Length and image of the longest end that any image's path shares with `parts`.

    A stem alone tells only if one image has it: two splits may both hold a 0001.jpg.
    """
    for start in range(len(parts)):
        if (number := by_end.get(parts[start:])) is not None:
            return len(parts) - start, number
    return 0, _AMBIGUOUS


def _batched(folder: Path, matched: dict[int, str]) -> Iterator[list[tuple[int, str, bytes | None]]]:
    """Images with the name and the bytes of their label file (None: it can't be read), some at a time."""
    batch: list[tuple[int, str, bytes | None]] = []
    weight = 0
    for number, relative in matched.items():
        content = _content(folder / relative)
        batch.append((number, relative, content))
        weight += len(content or b"")
        if len(batch) >= _BATCH_FILES or weight >= _BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return content if len(content) <= MAX_FILE_BYTES else None


class _Reading:
    """What was read so far."""

    def __init__(self, name: str, classes: int, keypoint_values: int, *, single_cls: bool) -> None:
        self.annotated: list[int] = []
        self.arrays: list[LabelArrays] = []
        self.notes: list[Note] = []
        self.rejected = 0
        self._name = name
        self._classes = classes
        self._keypoint_values = keypoint_values
        self._single_cls = single_cls

    def take(self, batch: Sequence[tuple[int, str, bytes | None]]) -> None:
        readable = [(number, relative, content) for number, relative, content in batch if content is not None]
        for _, relative, content in batch:
            if content is None:
                detail = f"It can't be read, or is larger than {MAX_FILE_BYTES >> 20} MiB."
                self._reject(Note(code="label_unreadable", detail=detail, place=f"{self._name}/{relative}"))
        parsed = parse_labels(
            [content for _, _, content in readable],
            [f"{self._name}/{relative}" for _, relative, _ in readable],
            classes=self._classes,
            keypoint_values=self._keypoint_values,
            single_cls=self._single_cls,
        )
        for file in sorted(parsed.rejected):
            self._reject(parsed.rejected[file])
        numbers = np.asarray([number for number, _, _ in readable], np.int32)
        self.annotated += [int(number) for file, number in enumerate(numbers) if file not in parsed.rejected]
        self.arrays.append(_arrays(parsed, numbers))

    def _reject(self, note: Note) -> None:
        self.rejected += 1
        if len(self.notes) < MAX_NOTES:
            self.notes.append(note)


def _arrays(parsed: ParsedLabels, numbers: NDArray[np.int32]) -> LabelArrays:
    return LabelArrays(image=numbers[parsed.file], cls=parsed.cls, box=parsed.box)
