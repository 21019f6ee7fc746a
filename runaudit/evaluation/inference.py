"""Runs the network over batches and keeps the detections that survive non-maximum suppression."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.evaluation.network import Network
from runaudit.evaluation.protocol import ULTRALYTICS, Protocol
from runaudit.evaluation.rotated_boxes import suppressed_rotated

MOST_THREADS: Final = 8


@dataclass(frozen=True)
class Detections:
    """Detections of a batch, image by image and by falling confidence.

    `image` (n,) int32 counts the images of the batch; `box` (n, 4) float32 is x1, y1, x2, y2 in pixels of the batch (of
    rotated boxes centre x and y, width, height); `conf` (n,) float32; `cls` (n,) int32. `extra` (n, e), on the
    network's device, is what else was predicted: mask coefficients, keypoints in pixels of the batch, or the angle.
    """

    image: NDArray[np.int32]
    box: NDArray[np.float32]
    conf: NDArray[np.float32]
    cls: NDArray[np.int32]
    extra: torch.Tensor = field(default_factory=lambda: torch.empty((0, 0)))


@dataclass(frozen=True)
class Output:
    """What a network gives for a batch, on its device.

    `predictions` (images, 4 + classes + e, anchors), or (images, detections, 6 + e) from a head that needs no NMS;
    `prototypes` (images, c, height / 4, width / 4) of masks.
    """

    predictions: Any
    prototypes: Any = None


def select_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a device; `auto` is the first GPU if there is one.

    Raises RuntimeError (from torch) for a name that it doesn't know.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """`cpu`, or the name of the GPU after its number."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def worker_threads() -> int:
    """Threads for the network on a CPU: all processors but one, which decodes, and at most 8, as the framework takes.

    Never more than torch has been given. OMP_NUM_THREADS itself says nothing here: importing the framework sets it.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, max(1, available - 1), torch.get_num_threads())


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use `number` threads, and as many as before when the context ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def raw_predictions(network: Network, pixels: NDArray[np.uint8], *, half: bool = False) -> Output:
    """The network's output for (n, height, width, channels) uint8; with `half`, it must be in half precision."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(network.device, non_blocking=True)
    output = network.module((images.half() if half else images.float()) / 255)
    found = output[0] if isinstance(output, (list, tuple)) else output
    return Output(*found) if isinstance(found, tuple) else Output(found)


@torch.inference_mode()
def suppressed(
    predictions: Any,
    *,
    max_detections: int,
    agnostic: bool,
    protocol: Protocol = ULTRALYTICS,
    classes: int = 0,
    rotated: bool = False,
    one_to_one: bool = False,
) -> Detections:
    """Non-maximum suppression as the framework validates with, but without its time limit.

    A box may carry several classes. With the limit of 2 s + 0.05 s an image (0.5 s in YOLOv5), the rest of a batch
    would get no detections on a slow machine (research page yolo.md, A6). YOLOv5 also asks that the objectness alone is
    above the threshold, which it always is where its product with a class' score is. What follows the scores of
    `classes` (0: nothing does) is handed through. With `one_to_one`, there is nothing to suppress.
    """
    if rotated and not one_to_one:
        per_image = suppressed_rotated(
            predictions,
            classes=classes,
            confidence=protocol.confidence,
            iou=protocol.iou,
            max_detections=max_detections,
            agnostic=agnostic,
        )
    else:
        per_image = framework().utils.nms.non_max_suppression(
            predictions,
            protocol.confidence,
            protocol.iou,
            multi_label=True,
            agnostic=agnostic,
            max_det=max_detections,
            max_time_img=math.inf,
            nc=classes,
            end2end=one_to_one,
        )
    found = torch.cat(per_image)
    rows = found[:, :6].cpu().numpy()
    counts = [len(found) for found in per_image]
    return Detections(
        image=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        box=np.ascontiguousarray(rows[:, :4]),
        conf=np.ascontiguousarray(rows[:, 4]),
        cls=rows[:, 5].astype(np.int32),
        extra=found[:, 6:].float(),
    )
