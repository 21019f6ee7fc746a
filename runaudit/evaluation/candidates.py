"""The settings that a reported mAP may have been measured with: passes with one thing changed, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import JsonValue

from runaudit.evaluation.batches import rounded_size
from runaudit.evaluation.network import Network
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.validation_pass import PassSettings
from runaudit.runs.facts import RunFacts

USUAL_IMGSZ: Final = (640, 320, 416, 480, 512, 768, 960, 1024, 1280)
"""the default of validating first: research page yolo.md, A7.5, has the largest gaps from it"""
USUAL_IOU: Final = (0.6, 0.7, 0.65, 0.45)
"""val.py of YOLOv5, `yolo val`, val.py on COCO, and the default of predicting"""
MOST: Final = 8192
"""pixels a side, or images a batch, that a setting may ask for (`evaluate.MOST_IMGSZ`)"""
DEAR: Final = {"standard": 1.5, "deep": 6.5}
"""canonical passes that a candidate may cost at most, unless the run itself names its setting; `deep` thus tries image
sizes up to 2.5 times the run's"""


@dataclass(frozen=True)
class Candidate:
    """A pass with one setting changed; `cost` is in canonical passes over the same images."""

    name: str
    setting: dict[str, JsonValue]
    settings: PassSettings
    cost: float = 1.0
    one_to_one: bool = False


def candidates(
    run: RunFacts, network: Network, base: PassSettings, depth: Literal["standard", "deep"]
) -> list[Candidate]:
    """What is worth trying for this run, the cheapest first."""
    return sorted(_candidates(run, network, base, depth), key=lambda candidate: candidate.cost)


def _candidates(
    run: RunFacts, network: Network, base: PassSettings, depth: Literal["standard", "deep"]
) -> Iterator[Candidate]:
    protocol = base.protocol
    if network.two_heads:
        yield Candidate("head", {"head": "one-to-one"}, base, one_to_one=True)
    if base.max_detections > protocol.max_detections:
        limit = protocol.max_detections
        yield Candidate("max_det", {"max_det": limit}, replace(base, max_detections=limit))
    for iou in USUAL_IOU:
        if iou != protocol.iou:
            yield Candidate("iou", {"iou": iou}, replace(base, protocol=replace(protocol, iou=iou)))
    if network.device.type == "cuda":
        yield Candidate("half", {"half": True}, replace(base, half=True))
    if network.task == "obb":
        # The default of all tasks before rotated boxes got one of their own (A6).
        lower = ULTRALYTICS.confidence
        yield Candidate("conf", {"conf": lower}, replace(base, protocol=replace(protocol, confidence=lower)))
    batch = _whole(run.argument("batch")) or _whole(run.argument("batch_size"))
    # Training validates with twice its batch, rotated boxes with its own (A7.4), which pads images otherwise.
    used = None if batch is None else batch if network.task == "obb" else 2 * batch
    if used is not None and used != protocol.batch:
        yield Candidate("batch", {"batch": used}, replace(base, protocol=replace(protocol, batch=used)), cost=1.1)
    yield Candidate("rect", {"rect": False}, replace(base, rect=False), cost=1.3)
    named = [rounded_size(size, network.stride) for size in _named_sizes(run)]
    for size in dict.fromkeys([*named, *(rounded_size(size, network.stride) for size in USUAL_IMGSZ)]):
        cost = (size / base.imgsz) ** 2
        if size != base.imgsz and (cost <= DEAR[depth] or size in named):
            yield Candidate("imgsz", {"imgsz": size}, replace(base, imgsz=size), cost=cost)


def _named_sizes(run: RunFacts) -> list[int]:
    """Image sizes that the run's configuration, checkpoint or log name: the three may differ where one was edited."""
    written = [run.argument("imgsz"), run.argument("img_size"), run.log.image_size if run.log is not None else None]
    if run.checkpoint is not None:
        written += [run.checkpoint.train_args.get("imgsz"), run.checkpoint.train_args.get("img_size")]
    flat = [size for entry in written for size in (entry if isinstance(entry, list) else [entry])]
    return [size for size in map(_whole, flat) if size is not None]


def _whole(value: JsonValue) -> int | None:
    """A whole number above 0 that the side of an image or a batch may have, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST:
        return value
    return None
