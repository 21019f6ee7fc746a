"""Re-validates a classifier as `yolo val` of the installed version would: top-1 and top-5 accuracy on a split."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from runaudit.errors import CheckpointError, DatasetError
from runaudit.evaluation.batches import MOST_BATCH_PIXELS
from runaudit.evaluation.classification_images import BATCH, classifier_batches
from runaudit.evaluation.classification_metrics import accuracy, accuracy_intervals, class_accuracies, confusions
from runaudit.evaluation.classification_network import Classifier, rebuild_classifier
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.distinct_images import distinct_files
from runaudit.evaluation.evaluate import OnProgress
from runaudit.evaluation.facts import AccuracyTrial, ClassificationFacts
from runaudit.evaluation.framework import framework
from runaudit.evaluation.inference import MOST_THREADS, describe_device, select_device, threads, worker_threads
from runaudit.runs.facts import ImageEntry, ImageIndex, Note, RunFacts, Split
from runaudit.runs.image_size import image_size
from runaudit.runs.label_arrays import read_labels

DEFAULT_IMGSZ: Final = 224
"""the framework's for classifiers, of a run that says nothing (models/yolo/classify/train.py)"""
_TOP: Final = 5


def evaluate_classifier(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    labels: Path,
    folder_names: Mapping[int, str],
    device: str = "auto",
    on_progress: OnProgress | None = None,
    split: Split = "val",
) -> ClassificationFacts:
    """Validate the run's checkpoint on a split of class folders, with the run's imgsz and batches of 16, in float32.

    Args:
        run: the facts of the run; its imgsz and single_cls are used, and its checkpoint.
        weights: the checkpoint's tensors, as safetensors.
        index: the images, with sizes as decoded.
        labels: the class of each image, as `class_folders.read_class_folders` gives it.
        folder_names: the names of the class folders by the ids of `labels`.
        device: `auto`, `cpu` or `cuda:N`.
        on_progress: called before the network is loaded, and before the first and after each batch.
        split: the split to validate on.

    Raises CheckpointError (see `rebuild_classifier`; `checkpoint_unreadable` if the run has none), DatasetError
    `no_labelled_validation_images`, or InputError `imgsz_invalid`.
    """
    report = on_progress or (lambda stage, done, total: None)
    if run.checkpoint is None:
        raise CheckpointError("The run holds no checkpoint to validate.")
    clock = Clock()
    imgsz = image_size(run, default=DEFAULT_IMGSZ)
    report("load_model", 0, 0)
    with clock.stage("load_model"):
        classifier = rebuild_classifier(run.checkpoint, weights, select_device(device))
    alignment = align(folder_names, run.checkpoint.names, single_cls=run.argument("single_cls") is True)
    chosen = _targets(index, labels, split, folder_names=folder_names, alignment=alignment, classes=classifier.classes)
    if not chosen.entries:
        raise _nothing_to_measure(split, chosen.left_out)
    with threads(worker_threads()):
        passed = _passed(classifier, chosen.entries, Path(index.root), imgsz, clock=clock, report=report)
    target = chosen.target[passed.images]
    if not len(target):
        raise _nothing_to_measure(split, chosen.left_out)
    first = passed.ranked[:, 0]
    measured = accuracy(passed.ranked, target)
    with clock.stage("intervals"):
        distinct = distinct_files(Path(index.root) / chosen.entries[row].file for row in passed.images)
    return ClassificationFacts(
        split=split,
        images=len(target),
        top1=measured.top1,
        top5=measured.top5,
        ci95=accuracy_intervals(measured, distinct),
        distinct_images=distinct,
        per_class=class_accuracies(first, target, run.checkpoint.names, classifier.classes),
        confusions=confusions(first, target, run.checkpoint.names, classifier.classes),
        left_out=chosen.left_out,
        aligned=alignment.by,
        own_order_top1=_own_order_top1(first, chosen, passed.images),
        settings=_settings(classifier, imgsz, alignment),
        device=describe_device(classifier.device),
        seconds={name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        skipped=passed.skipped,
    )


def examine_classifier(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    labels: Path,
    folder_names: Mapping[int, str],
    device: str = "auto",
    on_progress: OnProgress | None = None,
    unreproduced: Callable[[ClassificationFacts], bool],
) -> ClassificationFacts:
    """`evaluate_classifier` on the validation split and, where `unreproduced` says that the run reported other figures,
    on the test split: ultralytics 8.0.200 to 8.3.92 know no folder `valid`, and validate on `test` in its place.

    Raises what `evaluate_classifier` raises, for the validation split only.
    """

    def measured(split: Split, report: OnProgress | None) -> ClassificationFacts:
        return evaluate_classifier(
            run,
            weights=weights,
            index=index,
            labels=labels,
            folder_names=folder_names,
            device=device,
            on_progress=report,
            split=split,
        )

    facts = measured("val", on_progress)
    if not any(entry.split == "test" for entry in index.images) or not unreproduced(facts):
        return facts
    try:
        test = measured("test", None)
    except DatasetError:
        return facts
    trials = [AccuracyTrial(name="test", top1=test.top1, images=test.images)]
    if test.own_order_top1 is not None:
        trials.append(AccuracyTrial(name="test_own_order", top1=test.own_order_top1, images=test.images))
    return facts.model_copy(update={"trials": tuple(trials)})


@dataclass(frozen=True)
class Alignment:
    """The model's class of each folder id, -1 where it has none, and how they were brought together."""

    class_of: dict[int, int]
    by: Literal["name", "position", "single_cls"]


def align(folders: Mapping[int, str], model: Mapping[int, str], *, single_cls: bool = False) -> Alignment:
    """Which class of the model each folder stands for, as ClassificationDataset of the installed version decides.

    By name, ImageNet's codes (`n01440764`) by what they stand for; by the place in the order where no folder has the
    name of one of the model's classes. The framework counts places in each split's own folders, here in those
    of train.
    """
    if single_cls:
        return Alignment(dict.fromkeys(folders, 0), "single_cls")
    ids = {name: class_id for class_id, name in _readable(dict(model)).items()}
    named = _readable(dict(folders))
    if ids.keys().isdisjoint(named.values()):
        return Alignment({folder: folder if folder in model else -1 for folder in named}, "position")
    return Alignment({folder: ids.get(name, -1) for folder, name in named.items()}, "name")


def _readable(names: dict[int, str]) -> dict[int, str]:
    """ImageNet's codes as words. The framework takes all for codes if the first name is one."""
    if not names.get(0, "").startswith("n0"):
        return names
    framework()
    backend: Any = importlib.import_module("ultralytics.nn.autobackend")
    ordered = sorted(names)
    readable = backend.check_class_names([names[class_id] for class_id in ordered])
    return {class_id: str(readable[place]) for place, class_id in enumerate(ordered)}


@dataclass(frozen=True)
class _Chosen:
    """The images of a split that the model has a class for, that class (n,) int32, and how many were left out.

    `own_order` (n,) int32 is the place of each image's folder in the order of the split's folders that hold images.
    """

    entries: tuple[ImageEntry, ...]
    target: NDArray[np.int32]
    own_order: NDArray[np.int32]
    left_out: int


def _places(folders: NDArray[np.int32], names: Mapping[int, str]) -> NDArray[np.int32]:
    """For each folder id (n,), its place among those that occur, in the order of their names."""
    ordered = sorted(set(folders.tolist()), key=lambda folder: names.get(folder, ""))
    place = {folder: position for position, folder in enumerate(ordered)}
    return np.array([place[folder] for folder in folders.tolist()], dtype=np.int32)


def _targets(
    index: ImageIndex,
    labels: Path,
    split: Split,
    *,
    folder_names: Mapping[int, str],
    alignment: Alignment,
    classes: int,
) -> _Chosen:
    arrays = read_labels(labels)
    lookup = np.full(1 + max([-1, *alignment.class_of, *arrays.cls.tolist()]), -1, np.int32)
    for folder, class_id in alignment.class_of.items():
        lookup[folder] = class_id if 0 <= class_id < classes else -1
    of_split = np.array([entry.split == split for entry in index.images], dtype=np.bool_)[arrays.image]
    image, target = arrays.image[of_split], lookup[arrays.cls[of_split]]
    known = target >= 0
    return _Chosen(
        entries=tuple(index.images[position] for position in image[known]),
        target=target[known],
        own_order=_places(arrays.cls[of_split], folder_names)[known],
        left_out=int(len(target) - known.sum()),
    )


def _own_order_top1(first: NDArray[np.int32], chosen: _Chosen, images: NDArray[np.intp]) -> float | None:
    """Top-1 with the ids that the folders have in the order of the split's own; None if all are the same.

    ultralytics 8.0.200 to 8.4.21 number the classes of each split like that (ImageFolder); the installed version goes
    by name.
    """
    own = chosen.own_order[images]
    return None if np.array_equal(own, chosen.target[images]) else float((first == own).mean())


def _nothing_to_measure(split: Split, left_out: int) -> DatasetError:
    why = f" ({left_out} images are of folders that it has no class for)" if left_out else ""
    return DatasetError(
        f"No image of the split `{split}` can be read and is of a class that the model knows{why}, so there is nothing "
        "to measure against.",
        code="no_labelled_validation_images",
    )


@dataclass(frozen=True)
class _Passed:
    """`ranked` (n, k): the likeliest classes of the images at the positions `images` (n,), the likeliest first."""

    images: NDArray[np.intp]
    ranked: NDArray[np.int32]
    skipped: tuple[Note, ...]


def _passed(
    classifier: Classifier,
    entries: tuple[ImageEntry, ...],
    root: Path,
    imgsz: int,
    *,
    clock: Clock,
    report: OnProgress,
) -> _Passed:
    """Run the network over all images."""
    size = min(BATCH, max(1, MOST_BATCH_PIXELS // imgsz**2))
    loaded = classifier_batches(entries, root, imgsz=imgsz, size=size, threads=min(os.cpu_count() or 1, MOST_THREADS))
    images: list[int] = []
    ranked: list[NDArray[np.int32]] = [np.empty((0, min(_TOP, classifier.classes)), np.int32)]
    skipped: list[Note] = []
    report("validate", 0, len(entries))
    for start in range(0, len(entries), size):
        with clock.stage("decode"):
            batch = next(loaded)
        if batch.images:
            with clock.stage("inference"):
                ranked.append(_ranked(classifier, batch.pixels))
        images.extend(batch.images)
        skipped.extend(batch.skipped)
        report("validate", min(start + size, len(entries)), len(entries))
    return _Passed(np.array(images, dtype=np.intp), np.concatenate(ranked), tuple(skipped))


@torch.inference_mode()
def _ranked(classifier: Classifier, pixels: torch.Tensor) -> NDArray[np.int32]:
    """The likeliest classes of each image (models/yolo/classify/val.py update_metrics)."""
    output = classifier.module(pixels.to(classifier.device, non_blocking=True))
    scores = output[0] if isinstance(output, (list, tuple)) else output
    best = scores.argsort(1, descending=True)[:, : min(_TOP, classifier.classes)]
    ranked: NDArray[np.int32] = best.to(torch.int32).cpu().numpy()
    return ranked


def _settings(classifier: Classifier, imgsz: int, alignment: Alignment) -> dict[str, JsonValue]:
    """All that the figures depend on."""
    return {
        "protocol": "ultralytics",
        "framework_version": str(framework().__version__),
        "task": "classify",
        "imgsz": imgsz,
        "batch": BATCH,
        "resize": "shorter side, bilinear with antialiasing",
        "crop": "centre",
        "single_cls": alignment.by == "single_cls",
        "classes_aligned_by": alignment.by,
        "half": False,
        "fused": True,
        "tf32": classifier.device.type == "cuda" and bool(torch.backends.cudnn.allow_tf32),
        "augment": False,
        "interval": "wilson",
    }
