"""What the weights of real checkpoints show: `python -m benchmarks.weight_health FILE...`, one line a checkpoint."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from runaudit.runs.checkpoint import read_checkpoint


def line(path: Path) -> str:
    """Counts of the checkpoint's batch-norm layers and channels, and its class biases."""
    with tempfile.TemporaryDirectory() as folder:
        facts = read_checkpoint(path, source=path.name, weights_out=Path(folder) / "weights.safetensors")
    health = facts.weight_health
    if health is None:
        return f"{path.name}: {facts.problem.code if facts.problem else 'no weights'}"
    return (
        f"{path.name}: {health.batch_norms} batch norms, {health.initial_batch_norms} with the scales of a new layer, "
        f"{health.untouched_batch_norms} with its statistics; {health.dead_channels} of {health.channels} channels "
        f"dead; {health.constant_count} constant layers; class bias {health.class_bias}"
    )


def main() -> None:
    for name in sys.argv[1:]:
        sys.stdout.write(line(Path(name)) + "\n")


if __name__ == "__main__":
    main()
