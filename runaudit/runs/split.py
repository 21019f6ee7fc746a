"""Reading one split: the header of each image, the labels beside it, and the census of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from runaudit.runs.box_census import box_census
from runaudit.runs.data_options import Geometry
from runaudit.runs.facts import ImageEntry, Note, Split, SplitFacts
from runaudit.runs.image_files import Folder, ImageFile, list_folder
from runaudit.runs.image_opening import DroppedError, Pixels, Regular, count_headers, read_header
from runaudit.runs.label_arrays import LabelArrays, concatenate_labels
from runaudit.runs.labels import MAX_FILE_BYTES, parse_labels
from runaudit.runs.paths import Paths, label_path

BATCH_FILES = 2048
BATCH_BYTES = 32 << 20
MAX_NOTES = 20
"""Notes of one split that are kept; the rest is counted by kind."""
WHOLE = 0.99
"""share of an image's width and height from which a box takes all of it"""
OVERHANG = 0.51
"""from the middle of the image to the farther edge of a box, as a share of the side: 1 % beyond the image's edge"""
MAX_CLASS_IDS = 1000
"""Different class ids of one split that are counted; garbage may hold any number of them."""


@dataclass(frozen=True)
class SplitData:
    """One split as read: its census, its usable images, and their labels (`image` counts from its first image).

    `missing` are the image files that have no label file where the rule looks for it.
    """

    facts: SplitFacts
    images: tuple[ImageEntry, ...]
    labels: LabelArrays
    missing: tuple[ImageFile, ...]


@dataclass(frozen=True)
class SplitJob:
    """What to read: `base` is the folder that image files are named relative to, `source` cites the split."""

    split: Split
    files: Sequence[ImageFile]
    source: str
    base: Path
    paths: Paths
    classes: int
    keypoint_values: int
    single_cls: bool = False
    dimensions: int = 0
    geometry: Geometry | None = None


def read_split(job: SplitJob, on_images: Callable[[int], None]) -> SplitData:
    """Read a split. `on_images` is called with the number of images done since its last call."""
    notes = _Notes()
    reader = _Reader(job, notes)
    entries: list[ImageEntry] = []
    arrays: list[LabelArrays] = []
    missing: list[ImageFile] = []
    for batch in _batched(map(reader.sample, job.files)):
        kept, labels, without = _judge([sample for sample in batch if sample is not None], job, notes, len(entries))
        entries += kept
        arrays.append(labels)
        missing += without
        on_images(len(batch))
    labels = concatenate_labels(arrays)
    census = _census(job, entries, labels, len(missing), notes)
    facts = census.model_copy(
        update={
            "caches": tuple(reader.caches),
            "image_census": count_headers(reader.headers),
            "box_census": box_census(labels, entries),
        }
    )
    return SplitData(facts, tuple(entries), labels, tuple(missing))


@dataclass(frozen=True)
class _Sample:
    """An image with a readable header; `content` is its label file, None if there is none."""

    file: ImageFile
    width: int
    height: int
    orientation: int
    label: str
    content: bytes | None

    @property
    def weight(self) -> int:
        return len(self.content or b"")


@dataclass
class _Notes:
    """The first notes of a split, and how many there were of each kind."""

    kept: list[Note] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    class_ids: Counter[int] = field(default_factory=Counter)
    rejected_by: Counter[str] = field(default_factory=Counter)

    def add(self, note: Note) -> None:
        self.counts[note.code] += 1
        if len(self.kept) < MAX_NOTES:
            self.kept.append(note)

    def reject(self, note: Note) -> None:
        self.rejected_by[note.code] += 1
        self.add(note)

    def listed(self) -> tuple[Note, ...]:
        shown = Counter(note.code for note in self.kept)
        more = [
            Note(code=code, detail=f"{number - shown[code]} more images of this kind.")
            for code, number in self.counts.items()
            if number > shown[code]
        ]
        rows = [
            Note(code=code, detail=detail.format(n=self.rows[code]))
            for code, detail in _ROW_NOTES.items()
            if self.rows[code]
        ]
        return (*self.kept, *more, *rows)


_ROW_NOTES = {
    "label_duplicates": "{n} rows repeat an earlier row of their file; as in the framework they count once.",
    "label_zero_area": "{n} boxes have no area.",
    "label_polygons": "{n} rows are polygons; the boxes around them are used.",
    "label_without_outline": "{n} rows are boxes, where the task needs outlines.",
}


class _Reader:
    """Opens the images and label files of a split, never a link out of the root, a pipe or a label cache."""

    def __init__(self, job: SplitJob, notes: _Notes) -> None:
        self._paths = job.paths
        self._notes = notes
        self._folders: dict[str, Folder] = {}
        self.caches: list[str] = []
        self.headers: Counter[Pixels] = Counter()

    def sample(self, image: ImageFile) -> _Sample | None:
        """The image's size and label file; None if the framework would drop it, which is noted."""
        label = label_path(image.path)
        try:
            header, whole = read_header(image.path)
            self.headers[(*header[2:], whole)] += 1
            content = self._label(label)
        except DroppedError as dropped:
            place = self._paths.shown(image.path if dropped.code.startswith("image") else label)
            self._notes.reject(Note(code=dropped.code, detail=f"{dropped.detail} It is left out.", place=place))
            return None
        return _Sample(image, header.width, header.height, header.orientation, self._paths.shown(label), content)

    def _label(self, path: str) -> bytes | None:
        folder, name = path.rpartition("/")[::2]
        if folder not in self._folders:
            self._folders[folder] = self._open_folder(folder)
        listed = self._folders[folder]
        if name not in listed.files and not (name in listed.links and self._paths.allows_file(folder, name)):
            return None
        try:
            with (opened := Regular(path)) as file:
                # What is asked for is allocated first: asking for the bound costs more than the file.
                content = file.read(min(opened.size, MAX_FILE_BYTES) + 1)
        except OSError as error:
            raise DroppedError("label_unreadable", f"It can't be opened: {error.strerror}.") from None
        if len(content) > MAX_FILE_BYTES:
            raise DroppedError("label_too_large", f"It is larger than {MAX_FILE_BYTES >> 20} MiB.")
        return content

    def _open_folder(self, folder: str) -> Folder:
        """The files of a folder of labels, once it is known to lie below the root; caches are noted."""
        if not self._paths.allows(Path(folder)):
            detail = "The labels are a link that leaves the data; they are not read."
            self._notes.add(Note(code="link_refused", detail=detail, place=self._paths.shown(folder)))
            return Folder(frozenset(), frozenset())
        listed = list_folder(folder)
        caches = [f"{folder}/{name}" for name in sorted(listed.files) if name.endswith(".cache")]
        beside = Path(f"{folder}.cache")
        for cache in (*caches, *([str(beside)] if beside.is_file() else [])):
            detail = "A label cache is present; it is a pickle, may be stale or foreign, and was not opened."
            self._notes.add(Note(code="label_cache_ignored", detail=detail, place=self._paths.shown(cache)))
            self.caches.append(self._paths.shown(cache))
        return listed


def _batched(samples: Iterable[_Sample | None]) -> Iterator[list[_Sample | None]]:
    """Batches of at most `BATCH_FILES` images and about `BATCH_BYTES` of labels."""
    batch: list[_Sample | None] = []
    weight = 0
    for sample in samples:
        batch.append(sample)
        weight += sample.weight if sample is not None else 0
        if len(batch) >= BATCH_FILES or weight >= BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _judge(
    samples: list[_Sample], job: SplitJob, notes: _Notes, first: int
) -> tuple[list[ImageEntry], LabelArrays, list[ImageFile]]:
    """The images of a batch that stay, their labels (images counted from `first`), and those without a label file."""
    with_label = [index for index, sample in enumerate(samples) if sample.content is not None]
    parsed = parse_labels(
        [samples[index].content or b"" for index in with_label],
        [samples[index].label for index in with_label],
        classes=job.classes,
        keypoint_values=job.keypoint_values,
        single_cls=job.single_cls,
        dimensions=job.dimensions,
        geometry=job.geometry,
    )
    for file in sorted(parsed.rejected):
        notes.reject(parsed.rejected[file])
    notes.rows["label_duplicates"] += parsed.duplicates
    notes.rows["label_zero_area"] += parsed.zero_area
    if parsed.point_start is None:
        notes.rows["label_polygons"] += parsed.polygons
    else:
        notes.rows["label_without_outline"] += int((np.diff(parsed.point_start) == 0).sum())
    notes.class_ids.update(parsed.class_ids)
    dropped = {with_label[file] for file in parsed.rejected}
    kept = [index for index in range(len(samples)) if index not in dropped]
    position = np.full(len(samples), -1, np.int32)
    position[kept] = np.arange(first, first + len(kept), dtype=np.int32)
    images = position[np.asarray(with_label, np.int64)][parsed.file]
    entries = [_entry(samples[index], job) for index in kept]
    without = [samples[index].file for index in kept if samples[index].content is None]
    labels = LabelArrays(
        images,
        parsed.cls,
        parsed.box,
        points=parsed.points,
        point_start=parsed.point_start,
        keypoints=parsed.keypoints,
    )
    return entries, labels, without


def _entry(sample: _Sample, job: SplitJob) -> ImageEntry:
    file = sample.file.path.removeprefix(f"{job.base}/") if str(job.base) != "/" else sample.file.path[1:]
    return ImageEntry(
        file=file, split=job.split, width=sample.width, height=sample.height, orientation=sample.orientation
    )


def _census(job: SplitJob, entries: list[ImageEntry], labels: LabelArrays, missing: int, notes: _Notes) -> SplitFacts:
    """Counts of the usable images: `images` = `labelled` + `background`; rejected ones are not among them."""
    labelled = len(np.unique(labels.image))
    pairs = np.unique(labels.image.astype(np.int64) * job.classes + labels.cls)
    return SplitFacts(
        source=job.source,
        images=len(entries),
        labelled=labelled,
        background=len(entries) - labelled,
        missing_labels=missing,
        rejected=notes.rejected_by.total(),
        instances=len(labels.cls),
        overhanging_boxes=int((np.abs(labels.box[:, :2] - 0.5) + labels.box[:, 2:] / 2 > OVERHANG).any(axis=1).sum()),
        whole_image_boxes=int((labels.box[:, 2:] >= WHOLE).all(axis=1).sum()),
        class_instances=tuple(np.bincount(labels.cls, minlength=job.classes).tolist()),
        class_images=tuple(np.bincount(pairs % job.classes, minlength=job.classes).tolist()),
        notes=notes.listed(),
        rejected_by=dict(notes.rejected_by),
        label_ids=dict(sorted(notes.class_ids.most_common(MAX_CLASS_IDS))),
        duplicate_rows=notes.rows["label_duplicates"],
        zero_area_rows=notes.rows["label_zero_area"],
        rows_without_outline=notes.rows["label_without_outline"],
    )
