"""How many images an optimizer step used and how many steps a run took, by batch, accumulation, images and curves."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import History, finite_column, number, warmup_epochs
from runaudit.runs.facts import RunFacts

NOMINAL = 64.0
"""nbs of both families: gradients of round(64 / batch) batches are added up before a step (yolo.md A4)."""
SHORTEST_WARMUP = 100
"""Batches that versions before 8.4 warm up for at least (yolo.md A9)."""
UNCHANGED = 0.1
"""Share of epochs without a step from which batch_size says so; see its threshold for what set it."""
DECAY, RAMP = 0.9999, 2000.0
"""of the moving average of the weights: decay 0.9999 (1 - exp(-u / 2000)) at step u, in both families (yolo.md A4)."""


@dataclass(frozen=True)
class Batch:
    """Images a batch over all devices, and what an optimizer step makes of them.

    `place` says where the number stands. `batches` an epoch, `steps` and `images` are None where nothing tells the
    number of training images; `counted` is true where the checkpoint counted the steps.
    """

    size: int
    place: str
    devices: int
    synchronised: bool
    nominal: float
    images: int | None
    images_place: str | None
    epochs: int
    steps: int | None
    counted: bool

    @property
    def accumulated(self) -> int:
        """Batches whose gradients are added up for one step, after warm-up."""
        return max(round(self.nominal / self.size), 1)

    @property
    def effective(self) -> int:
        return self.size * self.accumulated

    @property
    def normalised(self) -> float:
        """Images that batch norm takes its statistics from."""
        return self.size if self.synchronised else self.size / self.devices

    @property
    def batches(self) -> int | None:
        return None if self.images is None else math.ceil(self.images / self.size)

    @property
    def steps_an_epoch(self) -> float | None:
        return None if self.batches is None else self.batches / self.accumulated


def batch_of(evidence: Evidence) -> Batch | None:
    """The run's batch; None where it was left to AutoBatch and no log tells what that chose, or nothing states it."""
    run = evidence.run
    size, place = _size(run)
    if size is None:
        return None
    nominal = number(run.argument("nbs"), NOMINAL) if run.framework == "ultralytics" else NOMINAL
    images, images_place = training_images(evidence)
    counted = run.checkpoint.updates if run.checkpoint is not None else None
    batch = Batch(
        size=size,
        place=place,
        devices=max(1, min(_devices(run), size)),
        synchronised=run.argument("sync_bn") is True,
        nominal=nominal if 1 <= nominal <= 1e6 else NOMINAL,
        images=images,
        images_place=images_place,
        epochs=run.epochs_run or 0,
        steps=None,
        counted=False,
    )
    steps = counted if counted is not None else _estimated(run, batch)
    return Batch(**{**vars(batch), "steps": steps, "counted": counted is not None})


def steps_of(evidence: Evidence) -> int | None:
    """Optimizer steps of the run: as its checkpoint counted them, else by count; None where neither can be."""
    batch = batch_of(evidence)
    if batch is not None:
        return batch.steps
    return evidence.run.checkpoint.updates if evidence.run.checkpoint is not None else None


def _size(run: RunFacts) -> tuple[int | None, str]:
    """The batch as it was resolved in the end, by the log, else as asked for. -1 and shares are left to AutoBatch."""
    log = run.log
    if log is not None and log.batch is not None and 1 <= log.batch <= 1_000_000:
        return log.batch, log.places.get("batch", "the log")
    places = run.configuration.places if run.configuration is not None else {}
    for key in ("batch", "batch_size"):
        asked = number(run.argument(key), 0.0)
        if 1 <= asked <= 1e6 and asked == int(asked):
            return int(asked), places.get(key, key)
    return None, ""


def _devices(run: RunFacts) -> int:
    """GPUs that share a batch, by the argument `device` as `0,1` or a list; 1 where it doesn't say."""
    asked = run.argument("device")
    if isinstance(asked, list):
        return len(asked)
    return len(re.findall(r"\d+", asked)) if isinstance(asked, str) and "," in asked else 1


def training_images(evidence: Evidence) -> tuple[int | None, str | None]:
    """Images that were trained on and the place that says so, by the data set, else by the log's scan.

    A scan doesn't always tell images without a label file from those with an empty one, and the larger number is given.
    """
    train = evidence.dataset.splits.get("train") if evidence.dataset is not None else None
    if train is not None and train.images > 0:
        share = number(evidence.run.argument("fraction"), 1.0)
        return max(1, round(train.images * share)) if 0 < share <= 1 else train.images, train.source
    scans = evidence.run.log.scans if evidence.run.log is not None else ()
    for scan in scans:
        without = scan.missing if scan.missing is not None else scan.backgrounds or 0
        if scan.split == "train" and scan.found + without > 0:
            return scan.found + without, scan.place
    return None, None


def _estimated(run: RunFacts, batch: Batch) -> int | None:
    """Steps by count: 1 / accumulated of the batches, more in warm-up, where accumulation ramps up from 1."""
    if batch.batches is None or batch.epochs <= 0:
        return None
    total, most = batch.epochs * batch.batches, batch.accumulated
    warm = warmup_epochs(run) * batch.batches
    version = run.release()
    if version is None or version < (8, 4):
        warm = max(warm, SHORTEST_WARMUP)
    done = min(warm, total)
    if most == 1 or done <= 0:
        return round(total / most)
    reached = 1.0 + (most - 1.0) * done / warm
    # The integral of 1 / a(i), where a rises from 1 to `most` over `warm` batches.
    return round(warm / (most - 1.0) * math.log(reached) + (total - done) / most)


def unchanged_epochs(history: History) -> int:
    """Epochs whose validation gives exactly the figures of the epoch before, though training went on.

    Losses are written with five digits, so that equal ones mean the same weights: no optimizer step lay between.
    """
    columns = [*history.curves.val_losses.values(), *history.curves.metrics.values()]
    if history.size < 2 or not history.curves.val_losses or not history.curves.train_losses:
        return 0
    validation = np.stack([finite_column(column)[history.rows] for column in columns])
    training = np.stack([finite_column(column)[history.rows] for column in history.curves.train_losses.values()])
    known = np.isfinite(validation)
    same = (validation[:, 1:] == validation[:, :-1]) | (~known[:, 1:] & ~known[:, :-1])
    losses = validation[: len(history.curves.val_losses)]
    said = ((losses[:, 1:] > 0) & known[: len(losses), 1:]).any(axis=0)
    trained = (training[:, 1:] != training[:, :-1]).any(axis=0)
    return int((same.all(axis=0) & said & trained & ~history.seams[1:]).sum())


def steps_seen(history: History) -> int | None:
    """Steps by the curves alone, where epochs without one show that an epoch makes no more than one; else None."""
    unchanged = unchanged_epochs(history)
    return history.size - unchanged if unchanged >= UNCHANGED * max(1, history.size - 1) else None


def average_lag(steps: int) -> float:
    """How many steps the moving average of the weights is behind them on average after `steps` steps.

    The mean age A of what is in it: A(u) = d(u) (A(u - 1) + 1). It is below a step until 1300 steps or so, for the
    decay starts at 0; it is largest against the run's length, by 0.23 of it, after 40000 steps.
    """
    age = 0.0
    for step in range(1, min(steps, _SETTLED) + 1):
        age = DECAY * (1.0 - math.exp(-step / RAMP)) * (age + 1.0)
    if steps > _SETTLED:
        final = DECAY / (1.0 - DECAY)
        age = final - (final - age) * DECAY ** (steps - _SETTLED)
    return age


_SETTLED = 40_000
"""Steps after which the decay is at its end, to nine digits."""
