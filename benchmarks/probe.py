"""What fine-tuning with a fix gains over fine-tuning without, on runs with the fault and on healthy ones.

    python -m benchmarks.probe [--only PATTERN]

Of the planted benchmark's development part, on the CPU: its networks are small enough. Prints each arm's gain with its
interval, and in how many runs the interval lies above 0: where the fault was planted, and where it was not.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.planted.audit_cases import prepared
from benchmarks.planted.cases import Case, cases
from benchmarks.planted.score import rate
from benchmarks.planted.trainings import copy_run
from runaudit.diagnostics.probed import ARMS
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.comparison import compare
from runaudit.evaluation.evaluate import loaded_subject
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.probe import Probe, probe
from runaudit.evaluation.selection import labelled_part, sampled
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from runaudit.runs.run import read_run

REPLICATES: Final = 1000
FAULT_OF: Final = {name: cause for cause, (name, _) in ARMS.items()}


def chosen() -> Iterator[Case]:
    """Clean runs, runs with a fault that an arm is for, and validation images that look different."""
    for case in cases():
        training, fault = case.training, case.fault
        if case.held_out or case.beside is not None or case.seed is not None or training.variant == "example":
            continue
        if fault is None and (case.expected is None or case.expected in FAULT_OF.values()) and case.severity != 1:
            yield case
        if fault is not None and fault.cause == "distribution_shift" and case.severity == 2:
            yield case


def probed(case: Case, scratch: Path) -> tuple[InterventionFacts, ...]:
    """The probe of one case, prepared below `scratch`."""
    run, data = scratch / "run", scratch / "data"
    copy_run(case.training, run)
    prepared(case, run, data)
    one, everything = opened(run, data, scratch, replicates=REPLICATES)
    passed = one.validated.passed
    drawn = labelled_part(everything, sampled(len(everything.entries), len(passed.labelled.entries), 0))
    attempts = Attempts()
    compared = compare(
        one.subject,
        one.validated,
        one.subject.measured(drawn, passed.settings, replicates=REPLICATES, seed=0, clock=Clock()),
        everything,
        depth="standard",
        replicates=REPLICATES,
        seed=0,
        attempts=attempts,
    )
    found = probe(one, toward_validation=compared.toward_validation, attempts=attempts)
    for name, why in attempts.not_run.items():
        print(f"  {name}: {why}")
    return found


def opened(run: Path, data: Path, scratch: Path, *, replicates: int) -> tuple[Probe, Labelled]:
    """The probe of the run on its data set, on the CPU, and all training images. Tensors and labels go to `scratch`."""
    weights, labels = scratch / "weights.safetensors", scratch / "labels.safetensors"
    facts = read_run(run, weights_out=weights)
    _, index, arrays = read_dataset(data, data / "data.yaml", own_machine=True)
    write_labels(labels, arrays)
    subject = loaded_subject(facts, weights=weights, index=index, device="cpu", clock=Clock())
    labelled, everything = subject.labelled(labels, "val"), subject.labelled(labels, "train")
    settings = subject.canonical_settings(labelled)
    validated = subject.measured(labelled, settings, replicates=replicates, seed=0, clock=Clock())
    return Probe.of(subject, facts, weights, everything, validated, replicates=replicates, seed=0), everything


def main() -> None:
    """Print each run's arms, then how often each arm gains for sure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose name this regular expression finds")
    options = parser.parse_args()
    gains: dict[tuple[str, bool], list[bool]] = defaultdict(list)
    for case in chosen():
        if not re.search(options.only, case.name) or not case.training.folder.exists():
            continue
        with tempfile.TemporaryDirectory(prefix="runaudit-probe-") as folder:
            found = probed(case, Path(folder))
        print(case.name)
        for one in found:
            low, high = one.ci95 or (float("nan"), float("nan"))
            print(f"  {one.name:28} {one.difference:+.3f} [{low:+.3f}, {high:+.3f}] from {one.before:.3f}", flush=True)
            gains[one.name, case.expected == FAULT_OF[one.name]].append(low > 0)
    for (name, planted), surely in sorted(gains.items()):
        where = "fault planted" if planted else "not planted"
        print(f"{name:28} {where:14} gains surely {rate(sum(surely), len(surely))}")


if __name__ == "__main__":
    main()
