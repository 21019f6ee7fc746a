"""How often the batch check alarms on simulated runs, healthy ones and ones that stopped too early, by batch.

    python -m benchmarks.batch_false_alarms [--runs 300]

Each run is given as many training images as make 700 optimizer steps at its batch, or at the default of 64 images a
step: below 1000 steps a large batch is suspected, so that this is where false alarms can be.
"""

from __future__ import annotations

import argparse
from collections import Counter

from benchmarks.simulated_curves import Kind, simulate
from runaudit.diagnostics.batch_size import examine
from runaudit.diagnostics.evidence import Evidence
from runaudit.runs.facts import DatasetFacts, RunFacts, SplitFacts

KINDS: tuple[Kind, ...] = ("healthy", "short", "overfitted", "spiky", "interrupted")
BATCHES = (16, 2, 128, 256)
STEPS = 700


def evidence(run: RunFacts, batch: int) -> Evidence:
    """The run at another batch, with a training split that makes `STEPS` optimizer steps."""
    if run.configuration is None or not run.epochs_run:
        raise ValueError("a simulated run has a configuration and epochs")
    values = run.configuration.values | {"batch": batch}
    run = run.model_copy(update={"configuration": run.configuration.model_copy(update={"values": values})})
    images = max(64, STEPS * max(batch, 64) // (run.epochs_run or 1))
    splits = {"train": split(images), "val": split(300)}
    return Evidence(run, dataset=DatasetFacts(source="data.yaml", names={0: "object"}, splits=splits))


def split(images: int) -> SplitFacts:
    return SplitFacts(
        source="images",
        images=images,
        labelled=images,
        background=0,
        missing_labels=0,
        rejected=0,
        instances=images,
        class_instances=(images,),
        class_images=(images,),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    for kind in KINDS:
        for batch in BATCHES:
            outcomes = Counter(examine(evidence(simulate(seed, kind).run, batch)).outcome for seed in range(runs))
            print(
                f"{kind:12} batch {batch:4d}  failed {outcomes['failed']:4d}  warned {outcomes['warned']:4d}  of {runs}"
            )


if __name__ == "__main__":
    main()
