"""Times our validation against bare `yolo val` on the same checkpoint, images and machine.

    python -m benchmarks.revalidation [--weights best.pt] [--images N] [--size PIXELS] [--rounds N]

Each validation runs in a process of its own, one after the other, by turns. Prints wall clock, processor time and
largest resident memory of each, and the ratio of the medians. Ours reads checkpoint and labels without executing
anything and adds 1000 bootstrap replicates; `yolo val` scans labels and builds its cache. Without --weights a small
network is trained first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from examples.shapes import render

NARROW = Path(__file__).parents[1] / "examples" / "narrow.yaml"


def ours(weights: Path, data: Path, imgsz: int, folder: Path) -> float:
    """mAP50-95 of our validation."""
    from runaudit.evaluation.evaluate import evaluate_checkpoint  # noqa: PLC0415 - torch loads in this child only
    from runaudit.runs.checkpoint import read_checkpoint  # noqa: PLC0415
    from runaudit.runs.dataset import read_dataset  # noqa: PLC0415
    from runaudit.runs.facts import Configuration, RunFacts  # noqa: PLC0415
    from runaudit.runs.label_arrays import write_labels  # noqa: PLC0415

    checkpoint = read_checkpoint(weights, source=weights.name, weights_out=folder / "weights.safetensors")
    _, index, labels = read_dataset(data.parent, data, own_machine=False)
    write_labels(folder / "labels.safetensors", labels)
    configuration = Configuration(sources=(), values={"imgsz": imgsz}, places={})
    run = RunFacts(
        folder="",
        framework="ultralytics",
        task="detect",
        status="finished",
        checkpoint=checkpoint,
        configuration=configuration,
    )
    facts = evaluate_checkpoint(
        run, weights=folder / "weights.safetensors", index=index, labels=folder / "labels.safetensors"
    )
    return facts.metrics.map50_95


def bare(weights: Path, data: Path, imgsz: int, folder: Path) -> float:
    """mAP50-95 of `yolo val`, without plots."""
    from ultralytics import YOLO  # noqa: PLC0415

    for cache in data.parent.rglob("*.cache"):
        cache.unlink()
    results = YOLO(weights).val(data=str(data), imgsz=imgsz, plots=False, verbose=False, project=str(folder))
    return float(results.box.map)


VALIDATIONS = {"runaudit": ours, "yolo val": bare}


def train(folder: Path) -> Path:
    """A small network, trained for half a minute on 160-pixel images; its best.pt."""
    from runaudit.evaluation.framework import framework  # noqa: PLC0415

    data = render(folder / "training", train=240, val=40)
    settings: dict[str, Any] = {"epochs": 8, "imgsz": 160, "batch": 16, "nbs": 16, "optimizer": "AdamW", "lr0": 0.004}
    quiet: dict[str, Any] = {"workers": 0, "amp": False, "val": False, "plots": False, "verbose": False}
    model = framework().YOLO(NARROW, task="detect")
    model.train(data=str(data), mosaic=0.0, warmup_epochs=1, project=str(folder), name="run", **settings, **quiet)
    return folder / "run" / "weights" / "best.pt"


def child(name: str, weights: Path, data: Path, imgsz: int) -> dict[str, float]:
    """Run one validation in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        guards = {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        command = [sys.executable, "-m", "benchmarks.revalidation", "--child", name]
        arguments = ["--weights", str(weights), "--data", str(data), "--size", str(imgsz), "--folder", folder]
        done = subprocess.run(
            [*command, *arguments], env=os.environ | guards, check=True, stdout=subprocess.PIPE, text=True
        )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure_self(name: str, weights: Path, data: Path, imgsz: int, folder: Path) -> dict[str, float]:
    """What a child reports of itself, imports and start included."""
    start = time.perf_counter()
    map50_95 = VALIDATIONS[name](weights, data, imgsz, folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "map50_95": map50_95,
        "wall_s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "memory_mib": used.ru_maxrss / 1024,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=list(VALIDATIONS), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure_self(options.child, options.weights, options.data, options.size, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or train(Path(folder))
        data = render(Path(folder) / "validation", train=1, val=options.images, size=options.size, seed=5)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in VALIDATIONS}
        for _ in range(options.rounds):
            for name, rounds in results.items():
                rounds.append(child(name, weights, data, options.size))
    medians = {
        name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }
    print(f"{options.images} images of {options.size} pixels, medians of {options.rounds} rounds")
    for name, found in medians.items():
        print(f"{name:>9}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
    own, other = medians.values()
    print(f"ratio: wall {own['wall_s'] / other['wall_s']:.2f}, processor {own['cpu_s'] / other['cpu_s']:.2f}")


if __name__ == "__main__":
    main()
