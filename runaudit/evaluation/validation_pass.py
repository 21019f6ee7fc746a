"""One pass of a network over labelled images: decode, infer, suppress, match. All else is read off its matches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.batches import Placement, frames, rectangular_batches, square_batches, within_memory
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.image_properties import ImageLook, ImageProperties, joined_properties
from runaudit.evaluation.images import LoadedBatch, load_batches
from runaudit.evaluation.inference import MOST_THREADS, raw_predictions, suppressed
from runaudit.evaluation.labels import Labelled, no_labels
from runaudit.evaluation.matching import Boxes, Matches, true_positives, true_positives_by_best_label
from runaudit.evaluation.network import Network
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.protocol import Protocol
from runaudit.runs.facts import Note

OnImages = Callable[[int, int], None]
"""called with images done and images in all"""


@dataclass(frozen=True)
class PassSettings:
    """What one pass is done with. `imgsz` is a multiple of 32, in pixels; `max_detections` are kept per image.

    `single_cls` makes every class 0 and NMS blind to classes. `rect` gives each batch the shape that its images need,
    instead of a square. `half` computes in float16, on a GPU only. `change` alters the pixels. An intervention is a
    pass with one of them changed.
    """

    imgsz: int
    max_detections: int
    single_cls: bool
    protocol: Protocol
    rect: bool = True
    half: bool = False
    change: PixelChange | None = None


@dataclass(frozen=True)
class Passed:
    """What a pass yields: its matches, notes on images that could not be decoded, and what it was done with.

    `properties` are those of the images that the matches name, in their order; None if they were not asked for.
    """

    matches: Matches
    skipped: tuple[Note, ...]
    settings: PassSettings
    labelled: Labelled
    properties: ImageProperties | None = None


def run_pass(
    network: Network,
    labelled: Labelled,
    root: Path,
    settings: PassSettings,
    *,
    clock: Clock,
    on_images: OnImages | None = None,
    looks: bool = False,
) -> Passed:
    """Run the network over all images, match each batch, and put the matches together.

    Args:
        network: from `network.rebuild`.
        labelled: the images and their labels.
        root: the folder that the images' files are named relative to.
        settings: of this pass.
        clock: gets the stages `decode`, `inference`, `suppress` and `match`.
        on_images: called before the first and after each batch.
        looks: whether the images' properties are wanted.

    Raises DatasetError `no_labelled_validation_images` if no image can be decoded.
    """
    sizes = np.array([(entry.height, entry.width) for entry in labelled.entries], dtype=np.int64)
    protocol, imgsz = settings.protocol, settings.imgsz
    report = on_images or (lambda done, total: None)
    if settings.rect:
        whole = rectangular_batches(sizes, imgsz, network.stride, batch=protocol.batch, pad=protocol.pad)
    else:
        whole = square_batches(len(sizes), imgsz, batch=protocol.batch)
    batches = within_memory(whole)
    total, done = len(labelled.entries), 0
    collected = _Collected()
    skipped: list[Note] = []
    looked: list[ImageLook] = []
    report(0, total)
    loaded = load_batches(
        labelled.entries,
        root,
        batches,
        imgsz=imgsz,
        channels=network.channels,
        threads=min(os.cpu_count() or 1, MOST_THREADS),
        protocol=protocol,
        looks=looks,
        change=settings.change,
    )
    for batch in batches:
        with clock.stage("decode"):
            images = next(loaded)
        if images.images:
            collected.add(_match_batch(network, labelled, images, settings, clock))
        skipped.extend(images.skipped)
        looked.extend(images.looks)
        done += len(batch.images)
        report(done, total)
    if not collected.images:
        raise no_labels(labelled.split)
    return Passed(
        matches=collected.joined(),
        skipped=tuple(skipped),
        settings=settings,
        labelled=labelled,
        properties=joined_properties(looked) if looks else None,
    )


def _match_batch(
    network: Network, labelled: Labelled, loaded: LoadedBatch, settings: PassSettings, clock: Clock
) -> Matches:
    """Detections of one batch, matched as the framework does it, then put into the pixels of the image."""
    protocol, single_cls = settings.protocol, settings.single_cls
    with clock.stage("inference"):
        predictions = raw_predictions(network, loaded.pixels, half=settings.half)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
    with clock.stage("suppress"):
        found = suppressed(predictions, max_detections=settings.max_detections, agnostic=single_cls, protocol=protocol)
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
            joined[name] = None if pieces[0] is None else np.concatenate(pieces)
            pieces.clear()
        return Matches(**joined)
