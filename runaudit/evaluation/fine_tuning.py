"""Trains a checkpoint's network on for a few epochs, over labelled images that were decoded once."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from runaudit.evaluation.batches import frames, square_batches
from runaudit.evaluation.images import load_batches
from runaudit.evaluation.inference import MOST_THREADS, threads, worker_threads
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.network import Network, ready, trainable
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.protocol import Protocol
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.label_arrays import stretches

GAINS: Final = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
"""of the parts of the loss: ultralytics' defaults (cfg/default.yaml), where the run names no other"""
MOMENTUM: Final = 0.9
WEIGHT_DECAY: Final = 0.0005
"""of weights, not of biases and normalisation layers (cfg/default.yaml, engine/trainer.py)"""
LARGEST_GRADIENT: Final = 10.0
"""norm to which gradients are cut (engine/trainer.py)"""
WARM_UP: Final = 0.1
"""share of the steps in which the rate rises from 0: the optimizer has no memory of the run's steps"""


@dataclass(frozen=True)
class Material:
    """Images as a network is shown them in training, with their labels.

    `versions` are arrays (n, imgsz, imgsz, channels) uint8 of the same images, RGB or grey, each with another change of
    its pixels; an epoch draws one of them for each image. The labels of image i are rows start[i] to start[i + 1] of
    `cls` (m,) and `box` (m, 4): centre x and y, width and height, as shares of the square.
    """

    versions: tuple[NDArray[np.uint8], ...]
    start: NDArray[np.int64]
    cls: NDArray[np.int32]
    box: NDArray[np.float32]

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self.start) - 1


@dataclass(frozen=True)
class Recipe:
    """How an arm trains: SGD whose rate rises to `rate` and falls to 0 in a straight line.

    `gains` of the parts of the loss; `mirrored` is the share of images that are flipped left to right. `drawn` (n,) is
    how often each image is drawn against the others, with replacement; None shows each once an epoch. `seed` draws the
    order of images and what is done to them.
    """

    epochs: int
    batch: int
    rate: float
    seed: int
    gains: dict[str, float]
    mirrored: float = 0.0
    drawn: NDArray[np.float64] | None = None


def material(
    labelled: Labelled,
    root: Path,
    *,
    imgsz: int,
    channels: int,
    protocol: Protocol,
    changes: Sequence[PixelChange | None] = (None,),
) -> Material:
    """Decode the images below `root` once for each change of `changes`; those that can't be decoded are left out."""
    batches = square_batches(len(labelled.entries), imgsz, batch=protocol.batch)
    versions: list[NDArray[np.uint8]] = []
    shown: list[int] = []
    gains, offsets = np.zeros((0, 4)), np.zeros((0, 4))
    for change in changes:
        loaded = list(
            load_batches(
                labelled.entries,
                root,
                batches,
                imgsz=imgsz,
                channels=channels,
                threads=min(os.cpu_count() or 1, MOST_THREADS),
                protocol=protocol,
                change=change,
            )
        )
        versions.append(np.concatenate([batch.pixels for batch in loaded]))
        shown = [image for batch in loaded for image in batch.images]
        gains, offsets = frames(tuple(placement for batch in loaded for placement in batch.placements))
    sizes = np.array([(entry.width, entry.height) * 2 for entry in labelled.entries], dtype=np.float64)
    counts = np.diff(labelled.start)[shown]
    rows = stretches(labelled.start[:-1][shown], counts)
    of_row = np.repeat(np.arange(len(shown)), counts)
    corners = (labelled.box[rows] * sizes[shown][of_row] * gains[of_row] + offsets[of_row]) / imgsz
    first, second = corners[:, :2], corners[:, 2:]
    return Material(
        versions=tuple(versions),
        start=np.r_[0, counts.cumsum()],
        cls=labelled.cls[rows],
        box=np.hstack([(first + second) / 2, second - first]).astype(np.float32),
    )


def fine_tuned(
    checkpoint: CheckpointFacts, weights: Path, device: torch.device, shown: Material, recipe: Recipe
) -> Network:
    """The checkpoint's network after it was trained on, ready for inference. The same seed gives the same on a CPU.

    The loss is the framework's own for the network's head (utils/loss.py of ultralytics 8.4.190), so that networks of
    YOLOv5's own repository, whose loss is another, can't be trained here.

    Raises what `network.rebuild` raises, and FloatingPointError where the loss is no finite number.
    """
    module, protocol = trainable(checkpoint, weights, device)
    steps = recipe.epochs * math.ceil(shown.images / recipe.batch)
    with threads(worker_threads()):
        for step, loss in enumerate(_steps(module, shown, recipe, steps)):
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss} at step {step + 1} of {steps}")
    return ready(module, protocol, device)


def _steps(module: Any, shown: Material, recipe: Recipe, steps: int) -> Iterator[float]:
    """The loss of each step's batch before it is taken."""
    criterion = _criterion(module, recipe)
    optimizer = _optimizer(module, recipe)
    device = next(module.parameters()).device
    for step, batch in enumerate(_batches(shown, recipe)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _share(step, steps)
        moved = {name: torch.from_numpy(value).to(device) for name, value in batch.items()}
        moved["img"] = moved["img"].permute(0, 3, 1, 2).float() / 255
        loss = criterion(module(moved["img"]), moved)[0].sum()
        yield loss.item()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
        optimizer.step()


def _share(step: int, steps: int) -> float:
    """Of the rate: rising over WARM_UP of the steps, then falling to 0 at the last."""
    rising = max(1, round(WARM_UP * steps))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising))


def _criterion(module: Any, recipe: Recipe) -> Any:
    module.args = SimpleNamespace(**recipe.gains, epochs=recipe.epochs)
    return module.init_criterion()


def _optimizer(module: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD over all but the fixed weights of the distribution's head, which the framework doesn't train either."""
    decayed: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in module.named_parameters():
        trained = ".dfl" not in name
        parameter.requires_grad_(trained)
        if trained:
            (decayed if parameter.ndim > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=MOMENTUM, nesterov=True)


def _batches(shown: Material, recipe: Recipe) -> Iterator[dict[str, NDArray[Any]]]:
    """The batches of all epochs, as the framework's loss takes them; `img` is (b, imgsz, imgsz, channels) uint8."""
    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.epochs):
        order = (
            rng.permutation(shown.images)
            if recipe.drawn is None
            else rng.choice(shown.images, size=shown.images, p=recipe.drawn / recipe.drawn.sum())
        )
        version = rng.integers(len(shown.versions), size=shown.images)
        mirrored = rng.uniform(size=shown.images) < recipe.mirrored
        for begin in range(0, shown.images, recipe.batch):
            chosen = order[begin : begin + recipe.batch]
            pixels = np.stack([shown.versions[version[image]][image] for image in chosen])
            turned = mirrored[chosen]
            pixels[turned] = pixels[turned][:, :, ::-1]
            counts = np.diff(shown.start)[chosen]
            rows = stretches(shown.start[:-1][chosen], counts)
            of_row = np.repeat(np.arange(len(chosen)), counts)
            box = shown.box[rows]
            box[turned[of_row], 0] = 1 - box[turned[of_row], 0]
            yield {
                "img": pixels,
                "batch_idx": of_row.astype(np.float32),
                "cls": shown.cls[rows].astype(np.float32)[:, None],
                "bboxes": box,
            }
