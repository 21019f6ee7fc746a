"""How fast curves are audited: in a warm process against `import torch`, as a command against importing its libraries.

Both peers are measured in the same run, turn by turn with what they are compared with, since this machine may be
busy. Prints medians, and the ratios that issue 3 asks for: at least 20, and at most 3. Run with
`python benchmarks/curves.py [RUN]`; without RUN, a run of 300 epochs is written.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.policy import Policy
from runaudit.isolation.conclude import evidence_of
from runaudit.isolation.job import JobSpec, Source
from runaudit.reports.build import build_report
from runaudit.reports.schema import Provenance
from runaudit.runs.facts import IngestFacts
from runaudit.runs.run import read_run

TORCH = "import torch"
LIBRARIES = "import numpy, pydantic, typer, rich"
COLUMNS = (
    "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),"
    "metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
)


def write_run(folder: Path, epochs: int) -> Path:
    """A run's records as ultralytics 8.4 writes them, of a training that converges."""
    rows = [COLUMNS]
    for epoch in range(1, epochs + 1):
        left = 0.98**epoch
        losses = f"{0.5 + left:.5g},{0.4 + left:.5g},{0.9 + left:.5g}"
        score = 1 - left
        rate = f"{0.01 * (1 - 0.99 * (epoch - 1) / epochs):.6g}"
        metrics = f"{0.8 * score:.5g},{0.8 * score:.5g},{0.85 * score:.5g},{0.6 * score:.5g}"
        rows.append(f"{epoch},{epoch * 3.5},{losses},{metrics},{losses},{rate},{rate},{rate}")
    (folder / "results.csv").write_text("\n".join(rows) + "\n")
    (folder / "args.yaml").write_text(
        f"task: detect\nmodel: yolo11n.pt\nepochs: {epochs}\npatience: 100\nbatch: 16\noptimizer: SGD\nlr0: 0.01\n"
        "lrf: 0.01\n"
    )
    return folder


def audit_warm(run: Path, weights: Path) -> None:
    """What the ingest child does with a run at depth `curves`, in this process."""
    spec = JobSpec(run=Source(kind="folder", path=str(run)), depth="curves")
    facts = IngestFacts(run=read_run(run, weights_out=weights), dataset_absent="not asked for")
    evidence = evidence_of(facts, None, None, "not asked for", spec)
    report = build_report(
        evidence, examine_all(evidence), Policy(), depth="curves", provenance=Provenance(runaudit_version="0")
    )
    report.model_dump_json()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def python(*arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode not in codes:
        raise RuntimeError(ended.stderr)


def alternately(first: Callable[[], object], second: Callable[[], object], times: int) -> tuple[float, float]:
    """The median seconds of both, measured in turns after one turn to warm up."""
    first()
    second()
    pairs = [(seconds(first), seconds(second)) for _ in range(times)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or write_run(Path(folder), 300)
        weights = Path(folder) / "weights.safetensors"
        report = Path(folder) / "report.json"
        # `import torch` is measured inside its process, without the interpreter's own start.
        torch_seconds = "import time; s = time.perf_counter(); import torch; print(time.perf_counter() - s)"

        def import_torch() -> float:
            ended = subprocess.run([sys.executable, "-c", torch_seconds], capture_output=True, text=True, check=True)
            return float(ended.stdout)

        import_torch()
        audit_warm(run, weights)
        turns = [(seconds(lambda: audit_warm(run, weights)), import_torch()) for _ in range(options.times)]
        warm = statistics.median(turn[0] for turn in turns)
        torch = statistics.median(turn[1] for turn in turns)
        check = ("-m", "runaudit.cli", "check", str(run), "--depth", "curves", "--format", "json", "-o", str(report))
        command, libraries = alternately(
            lambda: python(*check, codes=(0, 1)), lambda: python("-c", LIBRARIES), 2 * options.times
        )
    print(f"reading and diagnosing curves, warm process   {warm * 1000:8.1f} ms")
    print(f"{TORCH:<45} {torch * 1000:8.1f} ms   {torch / warm:.1f} times as long (wanted: at least 20)")
    print(f"runaudit check --depth curves                 {command * 1000:8.1f} ms")
    print(
        f"python -c '{LIBRARIES}'  {libraries * 1000:.1f} ms   the command takes {command / libraries:.2f} times that "
        "(wanted: at most 3)"
    )


if __name__ == "__main__":
    main()
