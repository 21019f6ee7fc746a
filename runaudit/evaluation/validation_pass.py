"""One pass of a network over labelled images: decode, infer, suppress, match. All else is read off its matches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.batch_matches import matches_of_batch
from runaudit.evaluation.batches import rectangular_batches, square_batches, within_memory
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.image_properties import ImageLook, ImageProperties, joined_properties
from runaudit.evaluation.images import LoadedBatch, load_batches
from runaudit.evaluation.inference import MOST_THREADS, raw_predictions, suppressed
from runaudit.evaluation.labels import Labelled, no_labels, require_geometry, too_crowded
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.network import Network
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.protocol import Protocol
from runaudit.evaluation.touching_boxes import TooCrowdedError
from runaudit.runs.facts import Note

OnImages = Callable[[int, int], None]
"""called with images done and images in all"""


@dataclass(frozen=True)
class PassSettings:
    """What one pass is done with. `imgsz` is a multiple of 32, in pixels; `max_detections` are kept per image.

    `single_cls` makes every class 0 and NMS blind to classes. `rect` gives each batch the shape that its images need,
    instead of a square. `half` computes in float16, for which the network must be `in_half_precision`. `change` alters
    the pixels. An intervention is a pass with one of them changed.
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

    def file_of(self, image: int) -> str:
        """The file of an image of the matches, by its position there."""
        where = np.flatnonzero(self.labelled.entry == self.matches.image[image])
        return self.labelled.entries[int(where[0])].file


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

    Raises DatasetError `no_labelled_validation_images` if no image can be decoded, `boxes_too_crowded`, or what
    `require_geometry` raises for labels that lack what the network's task is measured by.
    """
    require_geometry(labelled, network.task, network.keypoint_shape)
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
    with clock.stage("inference"):
        output = raw_predictions(network, loaded.pixels, half=settings.half)
        if network.device.type == "cuda":
            torch.cuda.synchronize(network.device)
    with clock.stage("suppress"):
        found = suppressed(
            output.predictions,
            max_detections=settings.max_detections,
            agnostic=settings.single_cls,
            protocol=settings.protocol,
            classes=network.classes if network.task != "detect" else 0,
            rotated=network.task == "obb",
            one_to_one=network.one_to_one,
        )
    with clock.stage("match"):
        if settings.single_cls:
            found = replace(found, cls=np.zeros_like(found.cls))
        try:
            return matches_of_batch(
                found, output.prototypes, labelled, loaded, network=network, protocol=settings.protocol
            )
        except TooCrowdedError as error:
            file = labelled.entries[loaded.images[error.group]].file
            raise too_crowded(file, labelled.split) from error


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
