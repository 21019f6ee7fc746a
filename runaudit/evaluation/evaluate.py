"""Re-validates a checkpoint by the canonical protocol: network, images, detections, matches, metrics, intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runaudit.errors import CheckpointError
from runaudit.evaluation.batches import rounded_size
from runaudit.evaluation.bootstrap import REPLICATES
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.evaluation.inference import select_device, threads, worker_threads
from runaudit.evaluation.labels import Labelled, labelled_images
from runaudit.evaluation.network import Network, rebuild
from runaudit.evaluation.summary import Measured, summarize
from runaudit.evaluation.validation_pass import OnImages, Passed, PassSettings, run_pass
from runaudit.runs.facts import CheckpointFacts, ImageIndex, RunFacts, Split
from runaudit.runs.image_size import image_size

__all__ = [
    "Measured",
    "Subject",
    "canonical_settings",
    "evaluate_checkpoint",
    "loaded_subject",
    "measure",
]

OnProgress = Callable[[Literal["load_model", "validate", "reconcile"], int, int], None]
"""Called with the stage, images done and images in all, of `reconcile` passes; 0 of 0 where it can't be counted."""


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
    clock = Clock()
    subject = loaded_subject(run, weights=weights, index=index, device=device, clock=clock, on_progress=report)
    labelled = subject.labelled(labels, split)
    return subject.measured(
        labelled,
        subject.canonical_settings(labelled),
        replicates=replicates,
        seed=seed,
        clock=clock,
        on_images=lambda done, total: report("validate", done, total),
    )


@dataclass(frozen=True)
class Subject:
    """A run's network, loaded once, and what every pass of it takes. `imgsz` is the run's, in pixels."""

    checkpoint: CheckpointFacts
    network: Network
    index: ImageIndex
    imgsz: int
    single_cls: bool

    def labelled(self, labels: Path, split: Split) -> Labelled:
        """The images and labels of a split. Raises DatasetError `no_labelled_validation_images`."""
        return labelled_images(self.index, labels, split, classes=self.network.classes, single_cls=self.single_cls)

    def canonical_settings(self, labelled: Labelled) -> PassSettings:
        """The settings of the family's canonical protocol for these images."""
        return canonical_settings(self.network, labelled, self.imgsz, single_cls=self.single_cls)

    def passed(
        self,
        labelled: Labelled,
        settings: PassSettings,
        *,
        clock: Clock,
        on_images: OnImages | None = None,
        looks: bool = False,
    ) -> Passed:
        """A pass with the threads that the network may use (`run_pass`)."""
        with threads(worker_threads()):
            return run_pass(
                self.network, labelled, Path(self.index.root), settings, clock=clock, on_images=on_images, looks=looks
            )

    def measured(
        self,
        labelled: Labelled,
        settings: PassSettings,
        *,
        replicates: int,
        seed: int,
        clock: Clock,
        on_images: OnImages | None = None,
    ) -> Measured:
        """A pass with its images' properties, and its facts (`run_pass`, `summarize`)."""
        passed = self.passed(labelled, settings, clock=clock, on_images=on_images, looks=True)
        return summarize(self.checkpoint, self.network, passed, replicates=replicates, seed=seed, clock=clock)


def loaded_subject(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    device: str = "auto",
    clock: Clock,
    on_progress: OnProgress | None = None,
) -> Subject:
    """Rebuild the run's network, so that several passes share it.

    Raises CheckpointError (see `network.rebuild`; `checkpoint_unreadable` if the run has none) or InputError
    `imgsz_invalid`.
    """
    if run.checkpoint is None:
        raise CheckpointError("The run holds no checkpoint to validate.")
    imgsz, single_cls = image_size(run), run.argument("single_cls") is True
    if on_progress is not None:
        on_progress("load_model", 0, 0)
    with clock.stage("load_model"):
        network = rebuild(run.checkpoint, weights, select_device(device))
    return Subject(checkpoint=run.checkpoint, network=network, index=index, imgsz=imgsz, single_cls=single_cls)


def canonical_settings(network: Network, labelled: Labelled, imgsz: int, *, single_cls: bool) -> PassSettings:
    """The settings of the family's canonical protocol for these images and the run's `imgsz` (`image_size`)."""
    protocol = network.protocol
    # ultralytics raises its default limit to the fullest image's labels (models/yolo/detect/val.py).
    raised = labelled.most_in_an_image if protocol.raises_max_detections else 0
    return PassSettings(
        imgsz=rounded_size(imgsz, network.stride) if protocol.name == "yolov5" else imgsz,
        max_detections=max(protocol.max_detections, raised),
        single_cls=single_cls,
        protocol=protocol,
    )
