"""Reading a classification data set: its images counted class by class, the class of each, and no boxes.

The rules are those of ultralytics 8.4.190 (data/utils.py check_cls_dataset, data/dataset.py ClassificationDataset) and
of torchvision's ImageFolder below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from runaudit.errors import DatasetError
from runaudit.runs.class_tree import SPLIT_FOLDERS, files_below, listing
from runaudit.runs.dataset import ITEM
from runaudit.runs.facts import DatasetFacts, ImageEntry, ImageIndex, Note, Split, SplitFacts
from runaudit.runs.image_files import MAX_IMAGES, ImageFile
from runaudit.runs.image_opening import DroppedError, Pixels, count_headers, read_header
from runaudit.runs.label_arrays import LabelArrays
from runaudit.runs.paths import Paths, is_image

MAX_CLASSES: Final = 10_000
"""As many as a network that is rebuilt may have (`runs.model_yaml`)."""
MAX_NOTES: Final = 20
"""Notes of one split that are kept; the rest is counted by kind."""
_STEP: Final = 512
"""images between two calls of the progress"""

Progress = Callable[[int, int], None]
"""called with images done and images in all"""


def read_class_folders(
    root: Path, tree: Path, *, own_machine: bool, single_cls: bool = False, on_progress: Progress | None = None
) -> tuple[DatasetFacts, ImageIndex, LabelArrays]:
    """Read all splits of `tree`, a folder below `root` that `class_tree.find_class_tree` found.

    Ids are given as the framework gives them in training: the folders of train/ in the order of their names; folders
    that only another split has follow. Without val/, validation/ or valid/, the framework validates on test/, and so
    do the facts: its images are the split `val` then. Each image is one labelled image and one instance of its class;
    the labels have its class and no box. With `single_cls` all classes are one, as in a training with that argument.
    Links are followed as far as `Paths` allows it, and folders below class folders only where they are none.

    Raises
    ------
    DatasetError : `class_folders_too_many`, `data_no_images`.
    """
    root = root.resolve()
    tree = root / tree.relative_to(root) if tree.is_relative_to(root) else tree.resolve()
    paths = Paths(root, own_machine)
    folders, notes = _split_folders(tree, paths)
    classes = {split: _class_folders(folder, paths) for split, folder in folders.items()}
    folder_names = _names(classes, paths.shown(tree))
    names = [ITEM] if single_cls and len(folder_names) > 1 else folder_names
    id_of = {name: min(class_id, len(names) - 1) for class_id, name in enumerate(folder_names)}
    listed = {split: _Listed.of(classes[split], paths) for split in folders}
    reading = _Reading(paths, on_progress, sum(len(split.files) for split in listed.values()))
    splits: dict[Split, SplitFacts] = {}
    for split, files in listed.items():
        facts = reading.split(split, folders[split], files, id_of, len(names))
        if facts.images or facts.rejected:
            splits[split] = facts
        else:
            detail = f"The {split} folder holds no images of a format that the framework reads."
            notes.append(Note(code="data_no_images", detail=detail, place=facts.source))
    if not reading.entries:
        raise DatasetError(
            "The class folders hold no image that can be read.", code="data_no_images", place=_place(paths, tree)
        )
    facts_of_all = DatasetFacts(
        source=_place(paths, tree),
        names=dict(enumerate(names)),
        splits=splits,
        notes=tuple(notes),
        single_cls=single_cls,
    )
    return facts_of_all, ImageIndex(root=str(root), images=tuple(reading.entries)), reading.labels()


def _place(paths: Paths, folder: Path) -> str:
    """The folder for citing; `.` for the root."""
    return "." if folder == paths.root else paths.shown(folder)


def _split_folders(tree: Path, paths: Paths) -> tuple[dict[Split, Path], list[Note]]:
    """The folder of each split that is there."""
    folders: dict[Split, Path] = {}
    notes: list[Note] = []
    for split, candidates in SPLIT_FOLDERS.items():
        folder = next((tree / name for name in candidates if (tree / name).is_dir()), None)
        if folder is None:
            continue
        if paths.allows(folder):
            folders[split] = folder
        else:
            detail = f"The {split} folder is a link that leaves the data; it is not read."
            notes.append(Note(code="link_refused", detail=detail, place=paths.shown(folder)))
    if "val" not in folders and "test" in folders:
        folders["val"] = folders.pop("test")
        detail = "There is no val, validation or valid folder: as the framework does, test is used for validation."
        notes.append(Note(code="test_used_as_val", detail=detail, place=paths.shown(folders["val"])))
    return folders, notes


@dataclass(frozen=True)
class _Classes:
    """The class folders of a split: their names in order, those that were refused, and stray images beside them."""

    folder: Path
    names: tuple[str, ...]
    refused: frozenset[str]
    images_outside: int


def _class_folders(folder: Path, paths: Paths) -> _Classes:
    """ImageFolder takes each folder for a class, hidden ones too: `.ipynb_checkpoints` moves all ids by one."""
    listed = listing(folder)
    refused = frozenset(name for name in listed.linked_folders if not paths.allows(folder / name))
    outside = sum(is_image(name) for name in (*listed.files, *listed.linked_files))
    return _Classes(folder, tuple(sorted((*listed.folders, *listed.linked_folders))), refused, outside)


def _names(classes: dict[Split, _Classes], place: str) -> list[str]:
    """The class names by id: those of train, then those that only another split has."""
    first = classes["train"].names if "train" in classes else ()
    others = {name for split in classes.values() for name in split.names}.difference(first)
    names = [*first, *sorted(others)]
    if len(names) > MAX_CLASSES:
        raise DatasetError(
            f"There are {len(names)} class folders; at most {MAX_CLASSES} are read. Hand in the folder that holds "
            "train and val, with a folder a class in each.",
            code="class_folders_too_many",
            place=place,
        )
    return names


@dataclass(frozen=True)
class _Listed:
    """The image files of a split with the name of their class, sorted as ImageFolder sorts them."""

    files: tuple[tuple[str, ImageFile], ...]
    notes: tuple[Note, ...]

    @classmethod
    def of(cls, classes: _Classes, paths: Paths) -> _Listed:
        files: list[tuple[str, ImageFile]] = []
        refused = len(classes.refused)
        for name in classes.names:
            if name in classes.refused or len(files) > MAX_IMAGES:
                continue
            for folder, listed in files_below(str(classes.folder / name)):
                linked = [file for file in listed.linked_files if is_image(file)]
                allowed = [file for file in linked if paths.allows_file(folder, file)]
                refused += len(linked) - len(allowed) + len(listed.linked_folders)
                images = sorted((*filter(is_image, listed.files), *allowed))
                files += [(name, ImageFile(folder, image)) for image in images]
        notes = []
        if refused:
            detail = f"{refused} links to folders or images leave the data or lead nowhere; they are left out."
            notes.append(Note(code="link_refused", detail=detail, place=paths.shown(classes.folder)))
        if classes.images_outside:
            detail = f"{classes.images_outside} images lie in no class folder; as in the framework they don't count."
            notes.append(Note(code="images_without_class", detail=detail, place=paths.shown(classes.folder)))
        if len(files) > MAX_IMAGES:
            notes.append(Note(code="data_too_many_files", detail=f"Only {MAX_IMAGES} images of a split are read."))
        return cls(tuple(files[:MAX_IMAGES]), tuple(notes))


@dataclass
class _Reading:
    """The images read so far, over all splits, and the class id of each."""

    paths: Paths
    on_progress: Progress | None
    total: int
    done: int = 0
    entries: list[ImageEntry] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    def split(self, split: Split, folder: Path, listed: _Listed, id_of: dict[str, int], classes: int) -> SplitFacts:
        """Read the headers of a split's images."""
        headers: Counter[Pixels] = Counter()
        notes = _Notes()
        first = len(self.ids)
        for name, file in listed.files:
            try:
                header, whole = read_header(file.path)
            except DroppedError as dropped:
                place = self.paths.shown(file.path)
                notes.add(Note(code=dropped.code, detail=f"{dropped.detail} It is left out.", place=place))
            else:
                headers[(*header[2:], whole)] += 1
                shown = file.path.removeprefix(f"{self.paths.root}/")
                self.entries.append(ImageEntry(file=shown, split=split, width=header.width, height=header.height))
                self.ids.append(id_of[name])
            self._step()
        counts = tuple(np.bincount(np.asarray(self.ids[first:], np.int64), minlength=classes).tolist())
        images = len(self.ids) - first
        cache = folder.with_suffix(".cache")
        caches = (self.paths.shown(cache),) if cache.is_file() else ()
        return SplitFacts(
            source=self.paths.shown(folder),
            images=images,
            labelled=images,
            background=0,
            missing_labels=0,
            rejected=notes.counts.total(),
            instances=images,
            class_instances=counts,
            class_images=counts,
            notes=(*listed.notes, *notes.listed(), *(_cache_note(place) for place in caches)),
            rejected_by=dict(notes.counts),
            caches=caches,
            image_census=count_headers(headers),
        )

    def _step(self) -> None:
        self.done += 1
        if self.on_progress is not None and (self.done % _STEP == 0 or self.done == self.total):
            self.on_progress(self.done, self.total)

    def labels(self) -> LabelArrays:
        """The class of each image; `box` is (0, 4), since a class of a whole image has none."""
        return LabelArrays(
            image=np.arange(len(self.ids), dtype=np.int32),
            cls=np.asarray(self.ids, dtype=np.int32),
            box=np.empty((0, 4), np.float64),
        )


def _cache_note(place: str) -> Note:
    detail = "A label cache is present; it is a pickle, may be stale or foreign, and was not opened."
    return Note(code="label_cache_ignored", detail=detail, place=place)


@dataclass
class _Notes:
    """The first notes on images that are left out, and how many there were of each kind."""

    kept: list[Note] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, note: Note) -> None:
        self.counts[note.code] += 1
        if len(self.kept) < MAX_NOTES:
            self.kept.append(note)

    def listed(self) -> Iterator[Note]:
        yield from self.kept
        shown = Counter(note.code for note in self.kept)
        for code, number in self.counts.items():
            if number > shown[code]:
                yield Note(code=code, detail=f"{number - shown[code]} more images of this kind.")
