"""What a whole audit costs beside bare `yolo val` on the same run: wall clock, ratio, and peak memory of each process.

    python -m benchmarks.audit [--rounds 3] [--val 600]

Both are commands started anew, in turn, on the healthy example run and a rendered validation split. The audit unpacks
nothing (a folder is handed in), reads run, checkpoint and data, re-validates, infers as many training images (at most
300), compares both, resamples 1000 times, and diagnoses. `yolo val` infers the validation images only, so that the
ratio per inferred image is stated beside the plain one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from examples.shapes import render

RUN = Path(__file__).parents[1] / "examples" / "runs" / "healthy"
POLL_SECONDS = 0.02
TRAINING_IMAGES = 300
"""The most that a standard audit infers (runaudit.evaluation.examination)."""


@dataclass(frozen=True)
class Cost:
    """Wall clock in seconds, and the peak resident memory of each process by its role, in MiB."""

    seconds: float
    memory: dict[str, float]


def _tree(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            waiting += [int(child) for child in task.read_text().split()]
    return found


def _role(command: list[str]) -> str:
    if "runaudit.isolation.child" in command:
        return command[command.index("runaudit.isolation.child") + 1]
    return "command line" if "runaudit.cli" in command else "yolo val"


def _peak(process: int) -> tuple[str, float] | None:
    """The role of a process and the peak of its resident memory so far; None if it has ended."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return (_role(command), int(peaks[0]) / 1024) if peaks else None


def measured(command: list[str], folder: Path) -> Cost:
    """Run the command to its end and watch it. Raises RuntimeError if it fails."""
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    memory: dict[str, float] = {}
    start = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            try:
                peaks = [_peak(member) for member in _tree(process.pid)]
            except OSError:
                peaks = []
            for role, peak in filter(None, peaks):
                memory[role] = max(memory.get(role, 0), peak)
            time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - start
    if process.returncode not in (0, 1):
        raise RuntimeError((folder / "log").read_text()[-2000:])
    return Cost(seconds, memory)


def main() -> None:
    """Print the medians of both commands and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--val", type=int, default=600, help="validation images")
    parser.add_argument("--train", type=int, default=600, help="training images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = render(folder / "data", train=options.train, val=options.val)
        # A name that no asset of the framework's has, so that it downloads nothing.
        weights = Path(shutil.copy(RUN / "weights" / "best.pt", folder / "audited-weights.pt"))
        audit = [sys.executable, "-m", "runaudit.cli", "check", str(RUN), "--data", str(data), "-o", str(folder / "r")]
        val = (
            "from ultralytics import YOLO; YOLO(r'{}').val(data=r'{}', imgsz=160, batch=16, plots=False, workers=0, "
            "project=r'{}')"
        ).format(weights, data, folder / "val")
        costs: dict[str, list[Cost]] = {"audit": [], "yolo val": []}
        for _ in range(options.rounds):
            costs["audit"].append(measured(audit, folder))
            costs["yolo val"].append(measured([sys.executable, "-c", val], folder))
            for cache in folder.rglob("*.cache"):
                cache.unlink()
    medians = {what: statistics.median(cost.seconds for cost in rounds) for what, rounds in costs.items()}
    for what, rounds in costs.items():
        peaks = {role: max(cost.memory.get(role, 0) for cost in rounds) for role in rounds[0].memory}
        memory = ", ".join(f"{role} {peak:.0f} MiB" for role, peak in peaks.items())
        print(f"{what:<9} {medians[what]:6.2f} s median of {options.rounds} on {options.val} images; peak {memory}")
    ratio = medians["audit"] / medians["yolo val"]
    inferred = options.val + min(options.train, options.val, TRAINING_IMAGES)
    print(f"ratio     {ratio:6.2f}")
    print(f"per inferred image {ratio * options.val / inferred:6.2f}, of {inferred} that the audit infers")


if __name__ == "__main__":
    main()
