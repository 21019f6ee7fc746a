"""Trains the two example runs with ultralytics, for real: one healthy, one whose learning rate makes it diverge.

    python -m examples.train        (or: make examples)

As most runs do, both fine-tune a network that has learnt before: first comes a training on other images of the same
kind (another seed; its data and weights are not kept), whose class layers are then forgotten, as they are where the
classes differ. The two runs that follow are alike but for `lr0`. The optimizer is named (SGD) because ultralytics'
default, `optimizer=auto`, replaces lr0 and momentum by its own, and a fault planted in lr0 would be ignored.

The folders in examples/runs are what ultralytics wrote, with two differences. So that they name no folder of the
machine they were made on, `save_dir` and `data` are relative in args.yaml and in the checkpoint; and weights/last.pt,
which no audit of these runs needs, is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.shapes import render

HERE = Path(__file__).resolve().parent
RUNS = HERE / "runs"
ARCHITECTURE = HERE / "narrow.yaml"

START = "start"
"""Name of the first training; its best weights, less the class layers, are what both runs start from."""
START_DATA: dict[str, int] = {"seed": 1, "train": 480, "val": 40}
COMMON: dict[str, Any] = {
    "imgsz": 160,
    "device": "cpu",
    "workers": 0,
    "amp": False,  # the CPU has no use for it, and its self-test would fetch a model
    "plots": False,
    "seed": 0,
    "deterministic": True,
}
START_SETTINGS: dict[str, Any] = {
    **COMMON,
    "data": "start-data/data.yaml",
    "epochs": 50,
    "batch": 16,
    "nbs": 16,
    "optimizer": "AdamW",
    "lr0": 0.003,
    "val": False,  # but for the last epoch
}
SHARED: dict[str, Any] = {
    **COMMON,
    "data": "data/data.yaml",
    "epochs": 60,
    "batch": 16,
    "nbs": 16,  # an optimizer step a batch: with the default of 64, 60 epochs would make 225 steps, too few
    "optimizer": "SGD",
}
LEARNING_RATES = {"healthy": 0.002, "faulty": 0.5}
"""lr0 of each run."""


def main() -> None:
    """Train both runs and put them into examples/runs."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="runaudit-train-") as folder:
        scratch = Path(folder).resolve()
        render(scratch / "start-data", **START_DATA)
        render(scratch / "data")
        shutil.copy(ARCHITECTURE, scratch)
        _in_own_process(train, scratch, START, ARCHITECTURE.name, START_SETTINGS)
        _in_own_process(forget_classes, scratch, START)
        for name, lr0 in LEARNING_RATES.items():
            _in_own_process(train, scratch, name, f"{START}.pt", {**SHARED, "lr0": lr0})
            _keep(scratch / "runs" / name, RUNS / name)
            _refuse_paths(RUNS / name, [scratch, HERE.parent, Path.home()])


def _in_own_process(task: Callable[..., None], *arguments: object) -> None:
    """Do it in a process of its own, because ultralytics keeps environment, seeds and folders for a process' life."""
    process = multiprocessing.get_context("spawn").Process(target=task, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{task.__name__} failed")


def _settle(scratch: Path) -> None:
    """Keep ultralytics off the network and out of the home folder. It reads its environment when it is imported."""
    (scratch / "settings").mkdir(exist_ok=True)
    os.environ.update(YOLO_CONFIG_DIR=str(scratch / "settings"), YOLO_OFFLINE="true")
    os.chdir(scratch)


def train(scratch: Path, name: str, model: str, settings: dict[str, Any]) -> None:
    """Train the run `name` from `model` in the folder `scratch`."""
    _settle(scratch)
    from ultralytics import YOLO  # noqa: PLC0415
    from ultralytics.engine import trainer as engine  # noqa: PLC0415
    from ultralytics.utils import YAML  # noqa: PLC0415
    from ultralytics.utils.git import GitRepo  # noqa: PLC0415

    # The checkpoint records the repository around ultralytics' own files; a .venv in a checkout would name that.
    engine.GIT = GitRepo(scratch)
    save_dir = f"runs/{name}"

    def forget_this_machine(trainer: Any) -> None:
        trainer.args.save_dir, trainer.args.data = save_dir, settings["data"]
        YAML.save(trainer.save_dir / "args.yaml", vars(trainer.args))

    network = YOLO(model)
    network.add_callback("on_train_start", forget_this_machine)
    network.train(save_dir=save_dir, **settings)


def forget_classes(scratch: Path, name: str) -> None:
    """Write the best network of the run `name`, with new class layers, to `name`.pt."""
    _settle(scratch)
    import torch  # noqa: PLC0415
    from ultralytics import YOLO  # noqa: PLC0415

    torch.manual_seed(0)
    network = YOLO(f"runs/{name}/weights/best.pt")
    head = network.model.model[-1]
    for branch in head.cv3:
        branch[-1].reset_parameters()
    head.bias_init()
    network.save(f"{name}.pt")


def _keep(run: Path, target: Path) -> None:
    """Copy what an audit reads of the run to `target`, in place of what was there."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "weights").mkdir(parents=True)
    for kept in ("args.yaml", "results.csv", "weights/best.pt"):
        shutil.copy(run / kept, target / kept)


def _refuse_paths(run: Path, folders: list[Path]) -> None:
    """Raise ValueError if a file of the run names one of the folders. Checkpoints are uncompressed archives."""
    for file in filter(Path.is_file, run.rglob("*")):
        content = file.read_bytes()
        for folder in folders:
            if str(folder).encode() in content:
                raise ValueError(f"{file} names {folder}")


if __name__ == "__main__":
    main()
