"""Trains the two example runs with ultralytics, for real: one healthy, one whose learning rate makes it diverge.

    python -m examples.train [--only healthy|faulty]        (or: make examples)

Both are the same training but for `lr0`. The optimizer is named (SGD) because ultralytics' default, `optimizer=auto`,
replaces lr0 and momentum by its own, and a fault planted in lr0 would be ignored. The folders in examples/runs are what
ultralytics wrote, with two differences, so that they name no folder of the machine they were made on: `save_dir` and
`data` are relative in args.yaml and in the checkpoint, and weights/last.pt, which no audit of these runs needs, is left
out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from examples.shapes import render

HERE = Path(__file__).resolve().parent
RUNS = HERE / "runs"
ARCHITECTURE = HERE / "narrow.yaml"

SHARED: dict[str, Any] = {
    "data": "data/data.yaml",
    "epochs": 100,
    "imgsz": 160,
    "batch": 16,
    "nbs": 16,  # one optimizer step a batch: with the default of 64, 100 epochs would make 375 steps, too few
    "optimizer": "SGD",
    "device": "cpu",
    "workers": 0,
    "amp": False,  # the CPU has no use for it, and its self-test would fetch a model
    "plots": False,
    "seed": 0,
    "deterministic": True,
}
LEARNING_RATES = {"healthy": 0.02, "faulty": 0.5}
"""lr0 of each run."""


def main() -> None:
    """Train both runs, or the one named on the command line, and put them into examples/runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(LEARNING_RATES), help="train this run alone")
    only = parser.parse_args().only
    for name in [only] if only else list(LEARNING_RATES):
        # A process each, because ultralytics keeps its environment, seeds and folders for the life of a process.
        training = multiprocessing.get_context("spawn").Process(target=make_run, args=(name,))
        training.start()
        training.join()
        if training.exitcode != 0:
            raise SystemExit(f"training the {name} run failed")


def make_run(name: str) -> None:
    """Render the data, train the run `name` in a temporary folder and keep it in examples/runs."""
    with tempfile.TemporaryDirectory(prefix="runaudit-train-") as folder:
        scratch = Path(folder).resolve()
        render(scratch / "data")
        shutil.copy(ARCHITECTURE, scratch)
        _train(name, scratch)
        _keep(scratch / "runs" / name, RUNS / name)
        _refuse_paths(RUNS / name, [scratch, HERE.parent, Path.home()])


def _train(name: str, scratch: Path) -> None:
    """Train one run in the folder `scratch`, with ultralytics kept off the network and out of the home folder."""
    (scratch / "settings").mkdir()
    os.environ.update(YOLO_CONFIG_DIR=str(scratch / "settings"), YOLO_OFFLINE="true")
    os.chdir(scratch)
    # Imported here because ultralytics reads its environment when it is imported.
    from ultralytics import YOLO  # noqa: PLC0415
    from ultralytics.engine import trainer as engine  # noqa: PLC0415
    from ultralytics.utils import YAML  # noqa: PLC0415
    from ultralytics.utils.git import GitRepo  # noqa: PLC0415

    # The checkpoint records the repository around ultralytics' own files; a .venv in a checkout would name that.
    engine.GIT = GitRepo(scratch)
    save_dir = f"runs/{name}"

    def forget_this_machine(trainer: Any) -> None:
        trainer.args.save_dir, trainer.args.data = save_dir, SHARED["data"]
        YAML.save(trainer.save_dir / "args.yaml", vars(trainer.args))

    model = YOLO(ARCHITECTURE.name)
    model.add_callback("on_train_start", forget_this_machine)
    model.train(save_dir=save_dir, lr0=LEARNING_RATES[name], **SHARED)


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
