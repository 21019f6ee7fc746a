"""Re-validates a checkpoint by the canonical protocol: network, images, detections, matches, metrics, intervals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from runaudit.errors import CheckpointError, InputError
from runaudit.evaluation.average_precision import DetectionMetrics, detection_metrics
from runaudit.evaluation.batches import Placement, frames, rectangular_batches, rounded_size, within_memory
from runaudit.evaluation.bootstrap import REPLICATES, Bootstrap, bootstrap, interval
from runaudit.evaluation.facts import BoxMetrics, ClassMetrics, EvaluationFacts, Interval
from runaudit.evaluation.framework import framework
from runaudit.evaluation.images import LoadedBatch, load_batches
from runaudit.evaluation.inference import (
    MOST_THREADS,
    describe_device,
    raw_predictions,
    select_device,
    suppressed,
    threads,
    worker_threads,
)
from runaudit.evaluation.labels import Labelled, labelled_images, no_labels
from runaudit.evaluation.matching import Boxes, Matches, true_positives, true_positives_by_best_label
from runaudit.evaluation.network import Network, rebuild
from runaudit.evaluation.protocol import Protocol
from runaudit.runs.facts import CheckpointFacts, ImageIndex, Note, RunFacts, Split

OnProgress = Callable[[Literal["load_model", "validate"], int, int], None]
"""called with the stage, images done and images in all; 0 of 0 where it can't be counted"""

DEFAULT_IMGSZ: Final = 640
"""the framework's, for a run that says nothing"""
MOST_IMGSZ: Final = 8192
"""beyond this a batch of 16 needs more than 12 GB for its input alone"""


@dataclass(frozen=True)
class Measured:
    """What a validation yields: the facts for the report, and the matches and replicates that all else is read from."""

    facts: EvaluationFacts
    matches: Matches
    replicates: Bootstrap


@dataclass
class _Clock:
    """Seconds per stage, each stage possibly entered many times."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def evaluate_checkpoint(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    labels: Path,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    split: Split = "val",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> EvaluationFacts:
    """`measure`, without what only later computations need."""
    return measure(
        run,
        weights=weights,
        index=index,
        labels=labels,
        device=device,
        on_progress=on_progress,
        split=split,
        replicates=replicates,
        seed=seed,
    ).facts


def measure(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    labels: Path,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    split: Split = "val",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Measured:
    """Validate the run's checkpoint on a split by its family's canonical protocol (`protocol`).

    That is what `yolo val` of the installed version would do by its defaults or, for a network of YOLOv5, its own
    val.py, each with the run's imgsz.

    Args:
        run: the facts of the run; its imgsz and single_cls are used, and its checkpoint.
        weights: the checkpoint's tensors, as safetensors.
        index: the images, with sizes as decoded.
        labels: the labels, as ImageIndex describes them.
        device: `auto`, `cpu` or `cuda:N`.
        on_progress: called before and after the network is loaded and after each batch.
        split: the split to validate on.
        replicates: bootstrap replicates behind the intervals.
        seed: of the bootstrap.

    Raises CheckpointError (see `network.rebuild`; `checkpoint_unreadable` if the run has none), DatasetError
    `no_labelled_validation_images`, or InputError `imgsz_invalid`.
    """
    report = on_progress or (lambda stage, done, total: None)
    if run.checkpoint is None:
        raise CheckpointError("The run holds no checkpoint to validate.")
    clock = _Clock()
    imgsz, single_cls = image_size(run), run.argument("single_cls") is True
    report("load_model", 0, 0)
    with clock.stage("load_model"):
        network = rebuild(run.checkpoint, weights, select_device(device))
    protocol = network.protocol
    if protocol.name == "yolov5":
        imgsz = rounded_size(imgsz, network.stride)
    labelled = labelled_images(index, labels, split, classes=network.classes, single_cls=single_cls)
    # ultralytics raises its default limit to the fullest image's labels (models/yolo/detect/val.py).
    raised = labelled.most_in_an_image if protocol.raises_max_detections else 0
    max_detections = max(protocol.max_detections, raised)
    with threads(worker_threads()):
        matches, skipped = _matched(
            network, labelled, index, imgsz, max_detections, single_cls=single_cls, report=report, clock=clock
        )
    if not len(matches.gt_cls):
        raise no_labels(split)
    with clock.stage("metrics"):
        metrics = detection_metrics(
            matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=protocol.average_precision
        )
    with clock.stage("bootstrap"):
        samples = bootstrap(matches, replicates=replicates, seed=seed, kind=protocol.average_precision)
    facts = EvaluationFacts(
        split=split,
        images=len(matches.image),
        instances=len(matches.gt_cls),
        metrics=_box_metrics(metrics),
        ci95=_intervals(samples),
        replicates=replicates,
        confidence_threshold=metrics.confidence_threshold,
        per_class=_per_class(run.checkpoint, network, matches, metrics, samples),
        settings=_settings(network, imgsz, max_detections, single_cls=single_cls, unknown=labelled.unknown, seed=seed),
        device=describe_device(network.device),
        seconds={name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        skipped=skipped,
    )
    return Measured(facts=facts, matches=matches, replicates=samples)


def image_size(run: RunFacts) -> int:
    """The imgsz that the run is validated with: its own, of several the largest, rounded up to a multiple of 32.

    YOLOv5 up to 5.0 wrote `img_size: [training, validation]`.

    Raises InputError `imgsz_invalid` if it is not a number of pixels from 1 to MOST_IMGSZ.
    """
    written = run.argument("imgsz")
    if written is None:
        older = run.argument("img_size")
        written = older[-1] if isinstance(older, list) and older else older
    sizes = written if isinstance(written, list) else [DEFAULT_IMGSZ if written is None else written]
    numbers = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if not numbers or len(numbers) < len(sizes) or not 1 <= max(numbers) <= MOST_IMGSZ:
        place = run.configuration.places.get("imgsz") if run.configuration is not None else None
        raise InputError(
            f"The run's imgsz is {written!r:.80}; it has to be a whole number of pixels from 1 to {MOST_IMGSZ}.",
            code="imgsz_invalid",
            place=place,
        )
    return rounded_size(max(numbers))


def _matched(
    network: Network,
    labelled: Labelled,
    index: ImageIndex,
    imgsz: int,
    max_detections: int,
    *,
    single_cls: bool,
    report: OnProgress,
    clock: _Clock,
) -> tuple[Matches, tuple[Note, ...]]:
    """Run the network over all images, match each batch, and put the matches together."""
    sizes = np.array([(entry.height, entry.width) for entry in labelled.entries], dtype=np.int64)
    protocol = network.protocol
    whole = rectangular_batches(sizes, imgsz, network.stride, batch=protocol.batch, pad=protocol.pad)
    batches = within_memory(whole)
    total, done = len(labelled.entries), 0
    collected = _Collected()
    skipped: list[Note] = []
    report("validate", 0, total)
    loaded = load_batches(
        labelled.entries,
        Path(index.root),
        batches,
        imgsz=imgsz,
        channels=network.channels,
        threads=min(os.cpu_count() or 1, MOST_THREADS),
        protocol=protocol,
    )
    for batch in batches:
        with clock.stage("decode"):
            images = next(loaded)
        if images.images:
            collected.add(_match_batch(network, labelled, images, max_detections, single_cls=single_cls, clock=clock))
        skipped.extend(images.skipped)
        done += len(batch.images)
        report("validate", done, total)
    if not collected.images:
        raise no_labels(labelled.split)
    return collected.joined(), tuple(skipped)


def _match_batch(
    network: Network,
    labelled: Labelled,
    loaded: LoadedBatch,
    max_detections: int,
    *,
    single_cls: bool,
    clock: _Clock,
) -> Matches:
    """Detections of one batch, matched as the framework does it, then put into the pixels of the image."""
    protocol = network.protocol
    with clock.stage("inference"):
        predictions = raw_predictions(network, loaded.pixels)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
    with clock.stage("suppress"):
        found = suppressed(predictions, max_detections=max_detections, agnostic=single_cls, protocol=protocol)
    with clock.stage("match"):
        det_cls = np.zeros_like(found.cls) if single_cls else found.cls
        images = np.array(loaded.images)
        count = labelled.start[images + 1] - labelled.start[images]
        gt_image = np.repeat(np.arange(len(images), dtype=np.int32), count)
        rows = np.arange(len(gt_image)) - np.repeat(np.cumsum(count) - count, count)
        rows += np.repeat(labelled.start[images], count)
        gains, offsets = frames(loaded.placements)
        extent = np.array([(p.width, p.height) * 2 for p in loaded.placements], dtype=np.float64)
        gt_cls, gt_box = labelled.cls[rows], labelled.box[rows] * extent[gt_image]
        gt_in_batch = (gt_box * gains[gt_image] + offsets[gt_image]).astype(np.float32)
        return Matches(
            image=labelled.entry[images],
            det_image=found.image,
            det_cls=det_cls,
            det_conf=found.conf,
            det_box=((found.box - offsets[found.image]) / gains[found.image]).astype(np.float32),
            tp=_true_positives(
                protocol,
                Boxes(found.image, det_cls, found.box),
                Boxes(gt_image, gt_cls, gt_in_batch),
                loaded.placements,
            ),
            gt_image=gt_image,
            gt_cls=gt_cls,
            gt_box=gt_box.astype(np.float32),
        )


def _true_positives(
    protocol: Protocol, detections: Boxes, labels: Boxes, placements: tuple[Placement, ...]
) -> NDArray[np.bool_]:
    """At which thresholds each detection is a true positive, by the protocol's rule and in its pixels.

    Both come in pixels of the batch.
    """
    if protocol.matched_in == "image":
        detections, labels = _in_image(detections, placements), _in_image(labels, placements)
    rule = true_positives if protocol.matching == "by_confidence" else true_positives_by_best_label
    return rule(detections, labels)


def _in_image(boxes: Boxes, placements: tuple[Placement, ...]) -> Boxes:
    """Boxes of a batch in pixels of their images and cut to them, by the scale of the height alone.

    YOLOv5 scales both axes by it (val.py, utils/general.py scale_boxes); where rounding a side up made the scale of the
    width another, detections and labels are off alike.
    """
    _, offsets = frames(placements)
    gain = np.array([p.gain_y for p in placements], dtype=np.float64)
    extent = np.array([(p.width, p.height) * 2 for p in placements], dtype=np.float64)
    scaled = (boxes.box - offsets[boxes.image]) / gain[boxes.image, None]
    return Boxes(boxes.image, boxes.cls, np.clip(scaled, 0, extent[boxes.image]).astype(np.float32))


@dataclass
class _Collected:
    """The columns of Matches batch by batch. Joining gives each column's pieces up, so that few are held twice."""

    columns: dict[str, list[NDArray[Any]]] = field(
        default_factory=lambda: {column.name: [] for column in fields(Matches)}
    )
    images: int = 0

    def add(self, part: Matches) -> None:
        """Append the matches of a batch, its images counted on."""
        shift = np.int32(self.images)
        for name, pieces in self.columns.items():
            column = getattr(part, name)
            pieces.append(column + shift if name in ("det_image", "gt_image") else column)
        self.images += len(part.image)

    def joined(self) -> Matches:
        """All that was added; at least one batch."""
        joined = {}
        for name, pieces in self.columns.items():
            joined[name] = np.concatenate(pieces)
            pieces.clear()
        return Matches(**joined)


def _box_metrics(metrics: DetectionMetrics) -> BoxMetrics:
    return BoxMetrics(
        map50=metrics.map50,
        map50_95=metrics.map50_95,
        precision=float(metrics.precision.mean()),
        recall=float(metrics.recall.mean()),
        f1=float(metrics.f1.mean()),
    )


def _intervals(samples: Bootstrap) -> dict[str, Interval]:
    named = {"map50": interval(samples.map50), "map50_95": interval(samples.map50_95)}
    return {name: found for name, found in named.items() if found is not None}


def _per_class(
    checkpoint: CheckpointFacts, network: Network, matches: Matches, metrics: DetectionMetrics, samples: Bootstrap
) -> tuple[ClassMetrics, ...]:
    """One entry a class of the network, with metrics where it has labels."""
    pairs = np.unique(np.stack([matches.gt_image, matches.gt_cls]), axis=1)
    images = np.bincount(pairs[1], minlength=network.classes)
    row_of = {int(class_id): row for row, class_id in enumerate(metrics.classes)}
    entries = []
    for class_id in range(network.classes):
        name, row = checkpoint.names.get(class_id, str(class_id)), row_of.get(class_id)
        if row is None:
            entries.append(ClassMetrics(class_id=class_id, name=name, images=0, instances=0))
            continue
        entries.append(
            ClassMetrics(
                class_id=class_id,
                name=name,
                images=int(images[class_id]),
                instances=int(metrics.instances[row]),
                precision=float(metrics.precision[row]),
                recall=float(metrics.recall[row]),
                f1=float(metrics.f1[row]),
                map50=float(metrics.average_precision[row, 0]),
                map50_95=float(metrics.average_precision[row].mean()),
                map50_95_ci95=interval(samples.class_map50_95[:, row]),
            )
        )
    return tuple(entries)


def _settings(
    network: Network, imgsz: int, max_detections: int, *, single_cls: bool, unknown: int, seed: int
) -> dict[str, JsonValue]:
    """All that the figures depend on."""
    protocol = network.protocol
    return {
        "protocol": protocol.name,
        "framework_version": str(framework().__version__),
        "task": "detect",
        "imgsz": imgsz,
        "batch": protocol.batch,
        "rect": True,
        "pad": protocol.pad,
        "shrinking": "area" if protocol.shrinks_by_area else "linear",
        "sides_capped": protocol.capped_sides,
        "box_margins": "whole" if protocol.whole_margins else "half",
        "stride": network.stride,
        "single_cls": single_cls,
        "conf": protocol.confidence,
        "iou": protocol.iou,
        "max_det": max_detections,
        "max_det_raised": max_detections > protocol.max_detections,
        "multi_label": True,
        "agnostic_nms": single_cls,
        "nms_time_limit": None,
        "head": "one-to-many" if network.two_heads else "single",
        "half": False,
        "fused": True,
        "tf32": network.device.type == "cuda" and bool(torch.backends.cudnn.allow_tf32),
        "augment": False,
        "matching": protocol.matching,
        "matched_in": protocol.matched_in,
        "average_precision": protocol.average_precision.convention,
        "labels_of_unknown_classes": unknown,
        "bootstrap_seed": seed,
        "bootstrap_unit": "image",
    }
