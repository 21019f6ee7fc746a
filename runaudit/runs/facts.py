"""The facts that reading a run yields: plain frozen data, passed between processes as JSON."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import JsonValue

from runaudit.runs.base import Facts as Facts  # noqa: PLC0414 - handed on

Framework = Literal["yolov5", "yolov9", "ultralytics"]
Task = Literal["detect", "segment", "pose", "obb", "classify"]
RunStatus = Literal["finished", "early_stopped", "interrupted", "resumed", "inconsistent"]
Split = Literal["train", "val", "test"]
Column = tuple[float | None, ...]
"""One value a row of results.csv, in the file's order. None: the cell is missing or not a number;
NaN and infinity are kept as they stand, since they are evidence."""


class Note(Facts):
    """Something seen while reading that a check may cite.

    `code` is stable (`row_length`, `label_out_of_bounds`, ...); `place` is `file:line` inside the artifact.
    """

    code: str
    detail: str
    place: str | None = None


class Curves(Facts):
    """results.csv, its columns told apart by meaning. All columns have one value a row.

    `epochs` are counted from 1 whatever the file counts from; repeated or missing epochs are kept as they stand.
    Metrics of the box task have the keys `precision`, `recall`, `map50`, `map50_95`.
    Losses have the framework's names without prefix or suffix: `box`, `cls`, `dfl`, `l1`, `obj`, ...
    Learning rates have one key a parameter group: `pg0`, `pg1`, ...
    `seconds` is the cumulative wall clock that newer versions write.
    """

    source: str
    lines: tuple[int, ...]
    epochs: tuple[int, ...]
    train_losses: dict[str, Column]
    val_losses: dict[str, Column]
    metrics: dict[str, Column]
    learning_rates: dict[str, Column]
    seconds: Column | None = None
    other: dict[str, Column] = {}


class Configuration(Facts):
    """args.yaml (or opt.yaml with hyp.yaml): the values as written, and the line of each key for citing."""

    sources: tuple[str, ...]
    values: dict[str, JsonValue]
    places: dict[str, str]
    """key -> `args.yaml:17`"""


class WeightFacts(Facts):
    """What a checkpoint's tensors show of their own history (`runs.weight_health`). Counts of layers and channels.

    `dead_channels` have a batch-norm scale below 0.001 and a shift of at most 0: they give the same value for any
    image. `untouched_batch_norms` still have the running statistics of a new layer (mean 0, variance 1 throughout).
    `initial_batch_norms` have all scales within 0.05 of 1, as a new layer has. `constant_layers` names weights of which
    all elements are equal (the first few; `constant_count` counts them). `class_bias` has the lowest and highest class
    bias of each level of an ultralytics detection head, from the finest stride; empty for other heads.
    """

    batch_norms: int
    channels: int
    dead_channels: int
    untouched_batch_norms: int
    initial_batch_norms: int
    constant_count: int = 0
    constant_layers: tuple[str, ...] = ()
    class_bias: tuple[tuple[float, float], ...] = ()


class CheckpointFacts(Facts):
    """What a checkpoint says of itself, read by the inert reader.

    `problem` is set where the network can't be taken from it; `weights` then is None.
    `weights` names the safetensors file in the job folder that holds its state dict.
    `foreign_globals` are names in the pickle outside the known frameworks, `posix.system` for one.
    """

    source: str
    sha256: str
    size: int
    problem: Note | None = None
    foreign_globals: tuple[str, ...] = ()
    framework: Framework | None = None
    version: str | None = None
    date: str | None = None
    model_class: str | None = None
    model_yaml: dict[str, JsonValue] | None = None
    names: dict[int, str] = {}
    stride: tuple[float, ...] = ()
    activations: dict[str, str] = {}
    """layer -> its activation as `SiLU`, `LeakyReLU(0.1)`, `Identity`; the class where it is none of torch.nn"""
    task: Task | None = None
    epoch: int | None = None
    """as stored: -1 once the run was finished and the checkpoint stripped, else the 0-based epoch"""
    best_fitness: float | None = None
    optimizer_present: bool = False
    updates: int | None = None
    """optimizer steps, of an unstripped checkpoint"""
    train_args: dict[str, JsonValue] = {}
    train_metrics: dict[str, float] = {}
    train_results: dict[str, Column] = {}
    parameters: int = 0
    tensors: int = 0
    nonfinite_tensors: tuple[str, ...] = ()
    weight_health: WeightFacts | None = None
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    """of an anchor-based head: width and height of each anchor in pixels of the input, level by level"""
    weights: str | None = None

    @property
    def finished(self) -> bool:
        """True if the training ended by itself: it then strips epoch and optimizer from the checkpoint."""
        return self.epoch == -1 and not self.optimizer_present


class LogDevice(Facts):
    """A device that a training ran on, as its first lines name it. `kind` is `CUDA:0`, `CPU`, `MPS`, ..."""

    kind: str
    name: str
    memory_mib: int | None = None


class LogScan(Facts):
    """What one scan of the labels counted; the framework says it nowhere but in its log.

    `found` counts images with a label file (of classification: images), `backgrounds` those without a file or with an
    empty one, `missing` and `empty` the two apart where the version tells them apart, `corrupt` those left out.
    """

    split: str
    found: int
    backgrounds: int | None = None
    missing: int | None = None
    empty: int | None = None
    corrupt: int = 0
    place: str


class LogOptimizer(Facts):
    """The optimizer that was really built. `automatic`: it was chosen by `optimizer=auto`, which ignores lr0."""

    name: str
    lr: float | None = None
    momentum: float | None = None
    automatic: bool = False
    place: str


class LogFacts(Facts):
    """What a console log, or the environment that came with the request, tells of a training and nothing else does.

    `places` names the place of each single value, `train.log:12` or `environment.gpu`, by the field's name.
    `events` are what went wrong, in the log's order, as notes with these codes: `out_of_memory`, `cuda_error`,
    `batch_reduced`, `nan_recovery`, `nms_time_limit`, `no_labels`, `process_ended` (killed by a signal or by the
    scheduler), `exception` (the last line of a traceback). `log_*` notes are about the log itself.
    """

    sources: tuple[str, ...]
    framework: Framework | None = None
    version: str | None = None
    python: str | None = None
    torch: str | None = None
    devices: tuple[LogDevice, ...] = ()
    amp: Literal["passed", "failed", "skipped"] | None = None
    batch: int | None = None
    """images a step as it was resolved by AutoBatch, or halved after running out of memory"""
    optimizer: LogOptimizer | None = None
    scans: tuple[LogScan, ...] = ()
    transferred: tuple[int, int] | None = None
    """items taken from pretrained weights, of how many"""
    image_size: int | None = None
    save_folder: str | None = None
    epochs_planned: int | None = None
    epochs_begun: int | None = None
    """the last epoch of which the log shows progress, counted from 1"""
    epochs_completed: int | None = None
    """as the closing line of a training that ended by itself states it; a resumed one counts from its resume"""
    hours: float | None = None
    early_stop_patience: int | None = None
    """set if patience ended the training"""
    peak_memory_gb: float | None = None
    """the most GPU memory that a progress line shows, in the framework's gigabytes"""
    arguments: dict[str, JsonValue] = {}
    """training arguments as they were printed, or as the callback resolved them"""
    places: dict[str, str] = {}
    events: tuple[Note, ...] = ()


class RunFacts(Facts):
    """One run: what it was asked to do, what it did, and the checkpoint it left.

    `folder` is the run folder's path inside the artifact ("" for its root). `best_epoch` counts from 1 and is
    recomputed with that version's own fitness. `status` follows design.md. Epoch counts are None without curves
    or configuration.
    """

    folder: str
    framework: Framework
    framework_version: str | None = None
    task: Task
    architecture: str | None = None
    curves: Curves | None = None
    configuration: Configuration | None = None
    checkpoint: CheckpointFacts | None = None
    log: LogFacts | None = None
    epochs_planned: int | None = None
    epochs_run: int | None = None
    best_epoch: int | None = None
    best_row: int | None = None
    """index into the curves' columns of the row that `best_epoch` names"""
    status: RunStatus
    notes: tuple[Note, ...] = ()

    def release(self) -> tuple[int, ...] | None:
        """The first three numbers of the framework's version; None where it is not known, or not written so."""
        numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", self.framework_version or "")
        return tuple(int(number) for number in numbers.groups()) if numbers is not None else None

    def argument(self, key: str) -> JsonValue:
        """The run's training argument `key`, from the configuration, else from the checkpoint, else None."""
        if self.configuration is not None and key in self.configuration.values:
            return self.configuration.values[key]
        if self.checkpoint is not None:
            return self.checkpoint.train_args.get(key)
        return None


class ImageCensus(Facts):
    """What the headers of a split's images say; each dictionary counts images. Those with a readable header are in it.

    `channels` has the kinds `grey`, `grey_alpha`, `colour`, `colour_alpha`, `palette`, `cmyk`, `other`; `bits` is the
    depth of one channel; `orientations` are EXIF's (1 to 8, 1 where none is given); `unfinished` images lack the mark
    that ends a JPEG or PNG. `verified` usable images were looked at whole, and if `decoded`, decoded;
    `flawed` counts what was found by the notes' codes (`evaluation.image_verification`).
    """

    images: int = 0
    formats: dict[str, int] = {}
    channels: dict[str, int] = {}
    bits: dict[int, int] = {}
    orientations: dict[int, int] = {}
    unfinished: int = 0
    verified: int = 0
    decoded: bool = False
    flawed: dict[str, int] = {}

    @property
    def turned(self) -> int:
        """Images whose EXIF orientation swaps width and height."""
        return sum(count for orientation, count in self.orientations.items() if 5 <= orientation <= 8)


class BoxCensus(Facts):
    """How large a split's boxes are, how long, and how crowded its images (`runs.box_census`).

    `sizes` counts boxes by sqrt(w h) over their image's longer side, in `SIZE_BINS` bins of an eighth of an octave: bin
    i begins at 2^(i/8 - 12), the first holds all smaller ones too and the last all larger ones. At an input of imgsz
    pixels such a box has about that share of imgsz as its side. `aspects` counts log2(w / h), both in pixels, in
    `ASPECT_BINS` bins of a quarter from -5 on, with open ends. `fullest` are the largest numbers of boxes in one image,
    descending, at most 1000 of them. `longer_sides` are the images' 5 %, 50 % and 95 % quantiles of the longer side in
    pixels, None without images. `sample` are width and height over the longer side of at most 5000 boxes with an area,
    drawn with a fixed seed.
    """

    boxes: int
    sizes: tuple[int, ...]
    aspects: tuple[int, ...]
    fullest: tuple[int, ...]
    longer_sides: tuple[float, float, float] | None = None
    sample: tuple[tuple[float, float], ...] = ()


class SplitFacts(Facts):
    """The census of one split. Counts are of what the labels really hold, after dropping what can't be used.

    `class_instances` and `class_images` have one entry a class id from 0 to nc-1.
    `background` images have no boxes: an empty label file, or (`missing_labels` of them) none at all.
    `rejected` images would be dropped in silence by the framework; `notes` say why (capped, with counts), and
    `rejected_by` counts them by the note's code. `label_ids` counts the rows of each class id as written, also ids that
    data.yaml has no name for. `stray_labels` of the images without a label file have one elsewhere, in `stray_folders`,
    where the framework doesn't look. `caches` are label caches beside the labels, never opened.
    `rows_without_outline` are boxes where the task needs polygons. `whole_image_boxes` are as wide and as high as their
    image, but for a hundredth; `overhanging_boxes` reach beyond it by more than a hundredth of a side.
    """

    source: str
    images: int
    labelled: int
    background: int
    missing_labels: int
    rejected: int
    instances: int
    class_instances: tuple[int, ...]
    class_images: tuple[int, ...]
    notes: tuple[Note, ...] = ()
    rejected_by: dict[str, int] = {}
    label_ids: dict[int, int] = {}
    duplicate_rows: int = 0
    zero_area_rows: int = 0
    rows_without_outline: int = 0
    whole_image_boxes: int = 0
    overhanging_boxes: int = 0
    stray_labels: int = 0
    stray_folders: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    image_census: ImageCensus | None = None
    box_census: BoxCensus | None = None


class AnnotatorFacts(Facts):
    """The census of a further annotator's labels of the data set's images, over all splits.

    `images` have a usable label file of theirs: `labelled` ones hold boxes, `background` ones are empty.
    `not_annotated` images have no file of theirs, `rejected` ones a file that can't be used; `unmatched_files` belong
    to no image. Class counts have one entry a class id from 0 to nc-1.
    """

    name: str
    images: int
    labelled: int
    background: int
    not_annotated: int
    rejected: int
    unmatched_files: int
    instances: int
    class_instances: tuple[int, ...]
    class_images: tuple[int, ...]
    notes: tuple[Note, ...] = ()


class AgreementFacts(Facts):
    """How far two label sets of the same images agree; of one class, or of all (`class_id` None).

    Boxes of one image are matched one to one by IoU, of 0.5 or more, whatever their class. `only_first` and
    `only_second` have no partner. `found` is 2 matched / (all boxes of both), which is F1. `same_class` is the share of
    matched pairs of one class, `kappa` Cohen's kappa of their classes, `mean_iou` their mean IoU. `alpha` is
    Krippendorff's alpha for nominal data over all objects, of which one that only one of both has is `no object` by the
    other. The interval resamples images. Of a class: its boxes of either, matched where both have it.
    """

    first: str
    second: str
    class_id: int | None = None
    images: int
    matched: int
    only_first: int
    only_second: int
    found: float
    found_ci95: tuple[float, float] | None = None
    same_class: float | None = None
    kappa: float | None = None
    alpha: float | None = None
    mean_iou: float | None = None


class SameImages(Facts):
    """Which image files are the same by their bytes (`runs.same_images`), and the digest that names the data set.

    `distinct` counts the different files of each split. `shared` of the `validation` images have the bytes of one of
    the `training` images, `same_file` of them are that very file, by path or by link. `pairs` are examples, a
    validation image and its training image; `named` are the shared validation images, at most 100.
    """

    digest: str
    distinct: dict[Split, int]
    validation: int
    training: int
    shared: int = 0
    same_file: int = 0
    pairs: tuple[tuple[str, str], ...] = ()
    named: tuple[str, ...] = ()


class DatasetFacts(Facts):
    """The data set as data.yaml describes it and as it was found. `source` is data.yaml's place in the artifact.

    `annotators` are further annotators of the same images, by name; `agreement` compares each two of them, and each
    with the data set's own labels, which are called `labels` there. `keypoint_values` is how many values a pose row has
    after its box, `keypoints` how many points these are, else 0. `keypoint_sigmas` is `kpt_oks_sigmas`, empty without.
    """

    source: str
    names: dict[int, str]
    splits: dict[Split, SplitFacts]
    notes: tuple[Note, ...] = ()
    annotators: dict[str, AnnotatorFacts] = {}
    agreement: tuple[AgreementFacts, ...] = ()
    keypoint_values: int = 0
    keypoints: int = 0
    keypoint_sigmas: tuple[float, ...] = ()
    flip_index: tuple[int, ...] | None = None
    """`flip_idx` of a pose data set: which keypoint each becomes in a mirrored image; None without one"""
    same_images: SameImages | None = None
    """None where image files were not compared"""
    single_cls: bool = False
    """all classes were read as class 0, as a training with single_cls does; `label_ids` still has the ids as written"""


class ImageEntry(Facts):
    """One image: its file relative to the index' root, its split, and its size in pixels as decoded (EXIF applied).

    `orientation` is EXIF's, 1 to 8, by which it is turned when it is decoded.
    """

    file: str
    split: Split
    width: int
    height: int
    orientation: int = 1


class ImageIndex(Facts):
    """All usable images, in the order of `labels.safetensors`' `image` column.

    `root` is an absolute folder that ingest verified each file to lie in. Labels are three arrays in
    `labels.safetensors`: `image` int32 (n,) index into `images`; `cls` int32 (n,); `box` float64 (n, 4) as
    normalised centre x, centre y, width, height in [0, 1]; and polygons or keypoints where the task needs them
    (`runs.label_arrays`). `keypoint_sigmas` are the data set's own scales of the keypoints, if it has any.
    """

    root: str
    images: tuple[ImageEntry, ...]
    keypoint_sigmas: tuple[float, ...] = ()


class IngestFacts(Facts):
    """Everything the ingest child hands on, written as `facts.json` into the job folder."""

    run: RunFacts
    dataset: DatasetFacts | None = None
    dataset_absent: str | None = None
    """why there is no data set, in words; None if there is one"""
    seconds: dict[str, float] = {}
