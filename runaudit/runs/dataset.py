"""Reading a data set: its images and labels as data.yaml names them, counted split by split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from runaudit.errors import DatasetError
from runaudit.runs.data_options import Geometry
from runaudit.runs.data_yaml import DataYaml, find_data_yaml, read_data_yaml, resolve_split
from runaudit.runs.facts import DatasetFacts, ImageEntry, ImageIndex, Note, Split, SplitFacts
from runaudit.runs.image_files import ImageFile, list_images
from runaudit.runs.label_arrays import LabelArrays, concatenate_labels, read_labels, write_labels
from runaudit.runs.paths import Found, Paths
from runaudit.runs.split import SplitJob, read_split
from runaudit.runs.stray_labels import find_stray_labels

__all__ = ["LabelArrays", "find_data_yaml", "read_dataset", "read_labels", "write_labels"]

Progress = Callable[[int, int], None]
"""called with images done and images in all"""


ITEM = "item"
"""what the frameworks call the one class of a training with single_cls (8.4.190, engine/trainer.py)"""


def read_dataset(
    root: Path,
    yaml_path: Path,
    *,
    own_machine: bool,
    single_cls: bool = False,
    geometry: Geometry | None = None,
    on_progress: Progress | None = None,
) -> tuple[DatasetFacts, ImageIndex, LabelArrays]:
    """Read images and labels of all splits that `yaml_path` names.

    Paths are resolved below `root` only, or anywhere with `own_machine` (`runaudit.runs.paths`). Image sizes come from
    the headers. What the framework would drop in silence is counted as rejected, with notes of which a split keeps the
    first few a kind. Label caches are pickles; they are noted and never opened. `single_cls` reads the data as a
    training with that argument does: all classes are one, whatever their ids and names. `geometry` is what the task
    needs behind each box; keypoints are read where `kpt_shape` says how many.

    Raises
    ------
    YamlError, DatasetError : the data.yaml can't be used (`read_data_yaml`).
    DatasetError : `data_split_missing` if the images of no split are there, `data_no_images` if the folders hold none.
    """
    root, yaml_path = root.resolve(), yaml_path.resolve()
    paths = Paths(root, own_machine)
    data = read_data_yaml(yaml_path, source=paths.shown(yaml_path))
    names = {0: ITEM} if single_cls and len(data.names) > 1 else data.names
    files, notes = _listed(data, paths)
    base = _base(root, files.values(), own_machine)
    progress = _Counting(on_progress, sum(map(len, files.values())))
    splits: dict[Split, SplitFacts] = {}
    images: list[ImageEntry] = []
    labels: list[LabelArrays] = []
    missing: dict[Split, tuple[ImageFile, ...]] = {}
    for split, listed in files.items():
        job = SplitJob(
            split,
            listed,
            data.places[split],
            base,
            paths,
            len(names),
            data.keypoint_values,
            single_cls,
            dimensions=data.keypoint_values // max(data.keypoints, 1),
            geometry=geometry,
        )
        read = read_split(job, progress.add)
        splits[split] = read.facts
        labels.append(replace(read.labels, image=read.labels.image + np.int32(len(images))))
        images += read.images
        missing[split] = read.missing
    for split, strays in find_stray_labels(missing, chain.from_iterable(files.values()), paths).items():
        found = {"stray_labels": strays.images, "stray_folders": strays.folders}
        splits[split] = splits[split].model_copy(update=found)
    facts = DatasetFacts(
        source=data.source,
        names=names,
        splits=splits,
        notes=tuple(dict.fromkeys((*data.notes, *notes))),
        keypoint_values=data.keypoint_values,
        keypoints=data.keypoints,
        keypoint_sigmas=data.keypoint_sigmas,
        flip_index=data.flip_index,
        single_cls=single_cls,
    )
    index = ImageIndex(root=str(base), images=tuple(images), keypoint_sigmas=data.keypoint_sigmas)
    return facts, index, concatenate_labels(labels)


def _listed(data: DataYaml, paths: Paths) -> tuple[dict[Split, list[ImageFile]], list[Note]]:
    """The image files of each split that is there, and notes on those that are not."""
    files: dict[Split, list[ImageFile]] = {}
    resolved: dict[Split, list[Found]] = {}
    notes_of: dict[Split, list[Note]] = {}
    for split in data.splits:
        resolved[split], notes_of[split] = resolve_split(data, split, paths)
    for split in _doubtful(resolved):
        detail = (
            f"Only the end of the {split} path is here, and it leads to the images of another split; it is left out."
        )
        resolved[split], notes_of[split] = [], [_missing(detail, data.places[split])]
    notes = [note for split_notes in notes_of.values() for note in split_notes]
    for split, found in resolved.items():
        listed, more = list_images(found, paths)
        notes += more
        if listed:
            files[split] = listed
        elif found:
            detail = f"The {split} folder holds no images of a format that the framework reads."
            notes.append(Note(code="data_no_images", detail=detail, place=data.places[split]))
    if not files:
        worst = next((note for note in notes if note.code in _FATAL), None)
        raise DatasetError(
            worst.detail if worst else "No images were found.",
            code=worst.code if worst else "data_no_images",
            place=worst.place if worst else f"{data.source}:1",
        )
    return files, notes


_FATAL = ("data_split_missing", "data_path_ambiguous", "data_no_images", "list_unreadable")


def _missing(detail: str, place: str) -> Note:
    return Note(code="data_split_missing", detail=detail, place=place)


def _doubtful(resolved: dict[Split, list[Found]]) -> list[Split]:
    """Splits that were matched by their last part only, to what another split has that was written differently.

    Taken as they stand they would look like leakage. What was found as written is kept, then val before the others.
    """
    order: tuple[Split, ...] = ("val", "train", "test")
    hits = [(split, hit) for split in order for hit in resolved.get(split, [])]
    taken: dict[Path, str] = {}
    doubtful: list[Split] = []
    for split, hit in sorted(hits, key=lambda item: item[1].matched == 1):
        if taken.setdefault(hit.path, hit.sought) != hit.sought and hit.matched == 1 and split not in doubtful:
            doubtful.append(split)
    return doubtful


def _base(root: Path, files: Iterable[list[ImageFile]], own_machine: bool) -> Path:
    """The folder that all image files lie in: `root`, unless one's own data.yaml leads elsewhere."""
    folders = {image.folder for listed in files for image in listed}
    inside = all(folder == str(root) or folder.startswith(f"{root}/") for folder in folders)
    return root if inside or not own_machine else Path(os.path.commonpath(folders))


@dataclass
class _Counting:
    """Progress over all splits."""

    report: Progress | None
    total: int
    done: int = 0

    def add(self, images: int) -> None:
        self.done += images
        if self.report is not None:
            self.report(self.done, self.total)
