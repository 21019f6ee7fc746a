"""Trains the benchmark's runs: clean ones, and those whose fault is planted in the training.

    python -m benchmarks.planted.trainings [NAME ...] [--device cpu]

What is there already is left alone, so it can be stopped and started again. All runs of a family start from one
training on pictures of all bases (other seeds), as most users start from a network that has learnt before.
"""

from __future__ import annotations

import argparse
import lzma
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import yaml

from benchmarks.planted.bases import BASES, QUALITY, class_names, render
from benchmarks.planted.families import FAMILIES, HELD_OUT_FAMILIES, Family, description
from benchmarks.planted.faults import drop_labels, swap_classes

HERE: Final = Path(__file__).resolve().parent
RUNS: Final = HERE / "runs"
START_SEED, SEED = 1000, 1
CARELESS_SEED: Final = 17
PACKED: Final = "best.pt.xz"
TRAIN_IMAGES, VAL_IMAGES = 120, 80
START_IMAGES, START_EPOCHS = 300, 50
"""images of each base. A start that has learnt its pictures well, as those that users take from a hub have: only then
do 40 epochs on 120 images converge, and a clean run is clean."""
SLIM_START_BASES: Final = ("shapes", "parcels")
SLIM_START_EPOCHS: Final[dict[Family, int]] = {"v5": 140, "26": 50}
EPOCHS: Final = 40
SLIM: Final[dict[str, Any]] = {"epochs": 100, "lr0": 0.02}
"""of slim networks, which learn more slowly"""
HELD_OUT_BASES: Final = ("parcels",)
"""what sets thresholds never scores: thresholds may look at the other bases only"""
IMGSZ: Final = 128
COMMON: Final[dict[str, Any]] = {
    "imgsz": IMGSZ,
    "workers": 0,
    "amp": False,
    "plots": False,
    "seed": 0,
    "deterministic": True,
    "batch": 8,
    # An optimizer step a batch, 15 an epoch: with the default of 64 there would be 2.
    "nbs": 8,
    "optimizer": "SGD",
    "lr0": 0.01,
    "epochs": EPOCHS,
    "mosaic": 0.5,
    # The signs of one base turn into one another when flipped; left out of all, so that runs are alike.
    "fliplr": 0.0,
}
NO_AUGMENTATION: Final = {"mosaic": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "translate": 0.0, "scale": 0.0}
PAIRS: Final[dict[str, Family]] = {"shapes": "11", "signs": "v8", "cells": "26", "traffic": "11", "parcels": "v5"}
"""the family in which a base's faulty runs are trained; clean runs are there of every pair"""


@dataclass(frozen=True)
class Training:
    """One run. `cause` is the fault planted (None: clean), `severity` 1 to 3.

    `images` of the training split are used; `keep` is the share of the boxes of the rarest classes that are left;
    `light` what the pixels of both splits are multiplied by;
    `spoilt` the share of the labels of both splits that a careless annotator left out, or gave another class;
    `width` is the network's; `stop` ends the run by an error after so many epochs, as a killed one ends. `seed` is that
    of the data set. `at` is the folder of a run that is kept elsewhere.
    """

    base: str
    family: Family
    cause: str | None = None
    severity: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    images: int = TRAIN_IMAGES
    keep: float = 1.0
    light: float = 1.0
    careless: Literal["dropped", "swapped"] | None = None
    spoilt: float = 0.0
    width: float = 1.0
    stop: int | None = None
    pretrained: bool = True
    variant: str = ""
    val_images: int = VAL_IMAGES
    seed: int = SEED
    at: Path | None = None

    @property
    def name(self) -> str:
        """The folder's name: base, family, cause, severity."""
        fault = "clean" if self.cause is None else self.cause
        parts = [self.base, self.family, fault, self.variant, str(self.severity) if self.severity else ""]
        return "-".join(part for part in parts if part)

    @property
    def slim(self) -> bool:
        """Whether its network is a slim one."""
        return self.base in HELD_OUT_BASES

    @property
    def folder(self) -> Path:
        """Where the run lies, once it is trained."""
        return self.at or RUNS / self.name


EXAMPLE: Final = Training(
    "shapes", "11", images=240, variant="example", val_images=120, seed=0, at=HERE.parents[1] / "examples/runs/healthy"
)
"""the healthy run of the examples, trained for longer than the others here"""


def families(base: str) -> tuple[Family, ...]:
    """The families that a base has clean runs of."""
    return HELD_OUT_FAMILIES if base in HELD_OUT_BASES else FAMILIES


def trainings() -> list[Training]:
    """All runs. Stopped in the middle, it should have some of every fault, and what each is held against."""
    faulty = [training for base, family in PAIRS.items() for training in _faulty(base, family)]
    return sorted([*_clean(), *faulty, *_held_out()], key=_turn)


def _turn(training: Training) -> int:
    """What faults are held against, the middle severity, other clean runs, then the other severities."""
    if training.cause is not None:
        return (2, 3, 1).index(training.severity) * 2 + 1
    paired = training.family == PAIRS[training.base] and training.variant in ("", "long")
    return 0 if paired else 2


def _clean() -> Iterator[Training]:
    for base in BASES:
        for family in families(base):
            yield Training(base, family)
    for base, family in PAIRS.items():
        epochs, rate = _schedule(base)
        # Healthy, but easily taken for a fault: few epochs that are enough at a high rate, few images.
        yield Training(base, family, settings={"epochs": epochs * 5 // 8, "lr0": 2 * rate}, variant="short")
        yield Training(base, family, images=70, variant="few-images")
        yield Training(base, family, settings={"epochs": 2 * epochs}, variant="long")
        yield Training(base, family, settings={"batch": 16, "nbs": 16, "lr0": 1.5 * rate}, variant="batch-16")
        # ultralytics rounds to multiples of 32: a size below this one would be that of all others.
        yield Training(base, family, settings={"imgsz": 160}, variant="imgsz-160")
    # Shapes, cells, vehicles and parcels look the same in a mirror; the signs don't.
    for base in ("shapes", "traffic", "parcels"):
        yield Training(base, PAIRS[base], settings={"fliplr": 0.5}, variant="flip-harmless")


def _schedule(base: str) -> tuple[int, float]:
    """Epochs and learning rate of a clean run."""
    settings = COMMON | (SLIM if base in HELD_OUT_BASES else {})
    return settings["epochs"], settings["lr0"]


def _faulty(base: str, family: Family) -> Iterator[Training]:
    whole, rate = _schedule(base)
    for severity, times in enumerate((10, 25, 50) if base in HELD_OUT_BASES else (10, 30, 100), start=1):
        yield Training(base, family, "learning_rate", severity, {"lr0": rate * times}, variant="high")
    for severity, part in enumerate((20, 100, 500), start=1):
        yield Training(base, family, "learning_rate", severity, {"lr0": rate / part}, variant="low")
    # Each half of the next, up to the clean run and its control of twice as many: what a doubling really brings.
    for severity, epochs in enumerate((whole // 2, whole // 4, whole // 8), start=1):
        yield Training(base, family, "insufficient_epochs", severity, {"epochs": epochs})
    for severity, share in enumerate((0.35, 0.2, 0.1), start=1):
        yield Training(base, family, "insufficient_epochs", severity, stop=round(share * whole), variant="killed")
    for severity, images in enumerate((32, 20, 12), start=1):
        settings = NO_AUGMENTATION | {"epochs": whole * 5 // 2, "weight_decay": 0.0}
        yield Training(base, family, "overfitting", severity, settings, images=images)
    # Channels come in eights: a slim network has no widths below these.
    for severity, width in enumerate((0.6, 0.4, 0.25) if base in HELD_OUT_BASES else (0.4, 0.25, 0.15), start=1):
        yield Training(base, family, "underfitting", severity, width=width, pretrained=False)
    for severity, batch in enumerate((40, 60, 120), start=1):
        yield Training(base, family, "batch_size", severity, {"batch": batch, "nbs": batch}, variant="large")
    small = {"batch": 1, "nbs": 1, "epochs": whole // 4}
    yield Training(base, family, "batch_size", 2, small, variant="small")
    for severity, keep in enumerate((0.1, 0.05, 0.02), start=1):
        yield Training(base, family, "class_imbalance", severity, keep=keep)
    # Rounded up to 96, 64 and 64.
    for severity, imgsz in enumerate((96, 64, 32) if base in HELD_OUT_BASES else (80, 64, 48), start=1):
        yield Training(base, family, "model_architecture", severity, {"imgsz": imgsz}, variant="imgsz")
    yield Training(base, family, "weight_initialization", 2, pretrained=False, variant="random")
    if base == "signs":
        for severity, share in enumerate((0.25, 0.5), start=2):
            yield Training(base, family, "augmentation", severity, {"fliplr": share}, variant="flip")


def _held_out() -> Iterator[Training]:
    """What only the held-out data set has: other seeds, spoilt labels in training, and faults of a second family."""
    (base,) = HELD_OUT_BASES
    first, second = HELD_OUT_FAMILIES
    for family, seed in ((first, 5), (first, 6), (second, 5)):
        yield Training(base, family, settings={"seed": seed}, seed=seed, variant=f"seed-{seed}")
    # Both splits alike: what is dark in training is so in validation.
    yield Training(base, first, light=0.35, variant="all-dark")
    settings = {"seed": 5, "epochs": 2 * SLIM["epochs"]}
    yield Training(base, first, settings=settings, seed=5, variant="seed-5-long")
    yield Training(base, second, settings={"epochs": 2 * SLIM["epochs"]}, variant="long")
    yield Training(base, first, "augmentation", 2, dict(NO_AUGMENTATION), variant="none")
    # The decay is multiplied by batch / nbs; where rate times decay passes 3.9, SGD with this momentum multiplies the
    # weights at each step, until they overflow. The longer the warm-up, the later.
    for severity, warmup in enumerate((20, 8, 3), start=1):
        settings = {"lr0": 1.0, "weight_decay": 1.0, "nbs": 1, "warmup_epochs": warmup}
        yield Training(base, first, "numerical_divergence", severity, settings, variant="trained")
    cause = "annotation_errors"
    for severity, share in enumerate((0.15, 0.3, 0.5), start=1):
        yield Training(base, first, cause, severity, careless="dropped", spoilt=share, variant="dropped")
    for severity, share in enumerate((0.1, 0.2, 0.35), start=1):
        yield Training(base, first, cause, severity, careless="swapped", spoilt=share, variant="swapped")
    kept = {("learning_rate", 2), ("insufficient_epochs", 2), ("overfitting", 2), ("underfitting", 3)}
    kept |= {("batch_size", 3), ("class_imbalance", 3), ("model_architecture", 2)}
    for training in _faulty(base, second):
        if (training.cause, training.severity) in kept and training.variant != "killed":
            yield training


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of runs; all if none is given")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--list", action="store_true", help="names the runs and trains none")
    options = parser.parse_args()
    chosen = [training for training in trainings() if not options.names or training.name in options.names]
    if options.list:
        print("\n".join(training.name for training in chosen))
        return
    with tempfile.TemporaryDirectory(prefix="runaudit-planted-") as folder:
        scratch = Path(folder).resolve()
        for training in chosen:
            if (RUNS / training.name).exists():
                continue
            begin = time.monotonic()
            start = _start(training.family, scratch, options.device, slim=training.slim)
            _in_own_process(_train, scratch, training, start, options.device)
            _keep(scratch / "runs" / training.name, training)
            print(f"{training.name}: {time.monotonic() - begin:.0f} s", flush=True)


def _start(family: Family, scratch: Path, device: str, *, slim: bool) -> Path:
    """The checkpoint that the family's runs start from, trained on first use and kept, packed, beside the runs."""
    name = f"start-{family}-slim" if slim else f"start-{family}"
    kept, start = RUNS / f"{name}.pt.xz", scratch / f"{name}.pt"
    if not kept.exists():
        RUNS.mkdir(exist_ok=True)
        _in_own_process(_train_start, scratch, name, family, device, slim)
        _pack(scratch / "runs" / name / "weights" / "best.pt", kept)
    _unpack(kept, start)
    return start


def _pack(file: Path, packed: Path) -> None:
    """Much of a small checkpoint is bookkeeping, which all but vanishes."""
    packed.write_bytes(lzma.compress(file.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


def _unpack(packed: Path, file: Path) -> None:
    file.write_bytes(lzma.decompress(packed.read_bytes()))


def _train_start(scratch: Path, name: str, family: Family, device: str, slim: bool) -> None:
    """A training on pictures of several bases at once, their classes side by side."""
    root = scratch / f"{name}-data"
    bases = SLIM_START_BASES if slim else tuple(base for base in BASES if base not in HELD_OUT_BASES)
    names: list[str] = []
    for base in bases:
        part = root / base
        render(base, part, seed=START_SEED, train=START_IMAGES, val=10)
        for labels in (part / "labels").rglob("*.txt"):
            rows = [line.split(" ", 1) for line in labels.read_text().splitlines()]
            labels.write_text("".join(f"{int(class_id) + len(names)} {box}\n" for class_id, box in rows))
        names += [f"{base} {name}" for name in class_names(base)]
    listed = {split: [f"{base}/images/{split}" for base in bases] for split in ("train", "val")}
    (root / "data.yaml").write_text(yaml.safe_dump(listed | {"names": names}))
    settings = COMMON | {
        "optimizer": "AdamW",
        "lr0": 0.003,
        "batch": 16,
        "nbs": 16,
        "epochs": SLIM_START_EPOCHS[family] if slim else START_EPOCHS,
        "val": False,
        "save": False,
        "device": device,
    }
    _run(scratch, name, description(family, len(names), slim=slim), root / "data.yaml", settings, None, None)


def _train(scratch: Path, training: Training, start: Path, device: str) -> None:
    """Train one run in `scratch`."""
    root = scratch / f"data-{training.name}"
    data = render(training.base, root, seed=training.seed, train=training.images, val=training.val_images)
    change_data(training, root)
    classes = len(class_names(training.base))
    layers = description(training.family, classes, width=training.width, slim=training.slim)
    settings = COMMON | {"device": device} | (SLIM if training.slim else {}) | training.settings
    _run(scratch, training.name, layers, data, settings, start if training.pretrained else None, training.stop)


def change_data(training: Training, root: Path) -> None:
    """Do to the rendered data below `root` what the training does to data."""
    if training.keep < 1:
        thin_out(root, len(class_names(training.base)), training.keep)
    for image in sorted((root / "images").rglob("*.jpg")) if training.light != 1 else ():
        picture = np.asarray(cv2.imread(str(image)), dtype=np.float32) * training.light
        cv2.imwrite(str(image), picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if training.careless is not None:
        change = drop_labels if training.careless == "dropped" else swap_classes
        for number, split in enumerate(("train", "val")):
            change(root, training.spoilt, np.random.default_rng((CARELESS_SEED, number)), split)


def thin_out(root: Path, classes: int, keep: float, *, rare: int = 2) -> None:
    """Leave a share `keep` of the training objects of the last `rare` classes; the others are painted over.

    Their images stay, so that the other classes lose nothing.
    """
    rng = np.random.default_rng(7)
    for file in sorted((root / "labels" / "train").glob("*.txt")):
        rows = [line.split() for line in file.read_text().splitlines()]
        gone = [int(row[0]) >= classes - rare and rng.uniform() >= keep for row in rows]
        if not any(gone):
            continue
        image = root / "images" / "train" / f"{file.stem}.jpg"
        picture: Any = cv2.imread(str(image))
        height, width = picture.shape[:2]
        mask = np.zeros((height, width), dtype=np.uint8)
        for row in (row for row, lost in zip(rows, gone, strict=True) if lost):
            x, y, w, h = (float(value) for value in row[1:])
            left, right = max(0, int((x - w / 2) * width) - 1), int((x + w / 2) * width) + 2
            top, bottom = max(0, int((y - h / 2) * height) - 1), int((y + h / 2) * height) + 2
            mask[top:bottom, left:right] = 255
        cv2.imwrite(str(image), cv2.inpaint(picture, mask, 3, cv2.INPAINT_TELEA), [cv2.IMWRITE_JPEG_QUALITY, 90])
        kept = (" ".join(row) for row, lost in zip(rows, gone, strict=True) if not lost)
        file.write_text("".join(f"{line}\n" for line in kept))


class _KilledError(Exception):
    """Ends a training in the middle."""


def _run(
    scratch: Path,
    name: str,
    layers: dict[str, Any],
    data: Path,
    settings: dict[str, Any],
    start: Path | None,
    stop: int | None,
) -> None:
    (scratch / "settings").mkdir(exist_ok=True)
    os.environ.update(YOLO_CONFIG_DIR=str(scratch / "settings"), YOLO_OFFLINE="true", YOLO_VERBOSE="false")
    os.chdir(scratch)
    from ultralytics import YOLO  # noqa: PLC0415
    from ultralytics.engine import trainer as engine  # noqa: PLC0415
    from ultralytics.utils import YAML  # noqa: PLC0415
    from ultralytics.utils.git import GitRepo  # noqa: PLC0415

    # The checkpoint records the repository around ultralytics' own files; a .venv in a checkout would name that.
    engine.GIT = GitRepo(scratch)
    save = engine.BaseTrainer.save_model

    def save_the_best(trainer: Any) -> Any:
        """Writing a checkpoint takes a fifth of an epoch here, and only the best is kept."""
        if trainer.fitness is None or trainer.fitness >= trainer.best_fitness or trainer.epoch + 1 >= trainer.epochs:
            return save(trainer)
        return False

    engine.BaseTrainer.save_model = save_the_best
    model = Path(f"narrow-{name}.yaml")
    model.write_text(yaml.safe_dump(layers))
    save_dir = f"runs/{name}"

    def forget_this_machine(trainer: Any) -> None:
        trainer.args.save_dir, trainer.args.data, trainer.args.model = save_dir, "data/data.yaml", "start.pt"
        if start is None:
            trainer.args.model, trainer.args.pretrained = "narrow.yaml", False
        YAML.save(trainer.save_dir / "args.yaml", vars(trainer.args))

    def die(trainer: Any) -> None:
        if stop is not None and trainer.epoch + 1 >= stop:
            raise _KilledError

    network = YOLO(str(model))
    if start is not None:
        # By a name without a folder: the checkpoint records what it was loaded from.
        shutil.copy(start, scratch / "start.pt")
        network.load("start.pt")
    network.add_callback("on_train_start", forget_this_machine)
    network.add_callback("on_fit_epoch_end", die)
    try:
        network.train(data=str(data), save_dir=save_dir, **settings)
    except _KilledError:
        return
    except RuntimeError as error:
        # ultralytics tries three times to go on from its last checkpoint, then the run ends as any user's does.
        if "NaN persisted" not in str(error):
            raise


def _in_own_process(task: Callable[..., None], *arguments: object) -> None:
    """Do it in a process of its own: ultralytics keeps environment, seeds and folders for a process' life."""
    process = multiprocessing.get_context("spawn").Process(target=task, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{task.__name__} failed")


def _keep(run: Path, training: Training) -> None:
    """Copy what an audit reads of the run to its place; a folder is there whole or not at all."""
    target = RUNS / f".{training.name}"
    shutil.rmtree(target, ignore_errors=True)
    (target / "weights").mkdir(parents=True)
    weights = run / "weights" / "best.pt"
    for kept in (run / "args.yaml", run / "results.csv"):
        shutil.copy(kept, target / kept.name)
    if weights.exists() and training.slim:
        _pack(weights, target / "weights" / PACKED)
    elif weights.exists():
        shutil.copy(weights, target / "weights" / "best.pt")
    target.rename(RUNS / training.name)


def copy_run(training: Training, target: Path) -> None:
    """Copy the run's folder to `target`, which must not exist, its checkpoint unpacked: as the training left it."""
    shutil.copytree(training.folder, target)
    packed = target / "weights" / PACKED
    if packed.exists():
        _unpack(packed, target / "weights" / "best.pt")
        packed.unlink()


if __name__ == "__main__":
    main()
