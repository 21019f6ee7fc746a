"""How often the curve checks alarm on simulated healthy runs, and how many planted faults they find.

python -m benchmarks.curve_false_alarms [--runs 300]
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from benchmarks.simulated_curves import Kind, simulate
from runaudit.diagnostics import insufficient_epochs, learning_rate, numerical_divergence, overfitting
from runaudit.diagnostics.evidence import Check, Evidence

CHECKS: tuple[Check, ...] = (
    insufficient_epochs.CHECK,
    learning_rate.CHECK,
    overfitting.CHECK,
    numerical_divergence.CHECK,
)
KINDS: tuple[Kind, ...] = ("healthy", "short", "overfitted", "diverged", "interrupted", "spiky")


def count(kind: Kind, runs: int) -> tuple[Counter[tuple[str, str]], list[float]]:
    """How often each check gave each outcome, and the projected over the true gain of what is still improving."""
    outcomes: Counter[tuple[str, str]] = Counter()
    ratios = []
    for seed in range(runs):
        simulated = simulate(seed, kind)
        for check in CHECKS:
            result = check.examine(Evidence(simulated.run))
            outcomes[check.cause, result.outcome] += 1
            projected = check is insufficient_epochs.CHECK and result.finding is not None and result.effect
            if kind == "short" and projected:
                ratios.append(projected / simulated.doubling_gain)
    return outcomes, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    for kind in KINDS:
        outcomes, ratios = count(kind, runs)
        for check in CHECKS:
            failed, warned = outcomes[check.cause, "failed"], outcomes[check.cause, "warned"]
            print(f"{kind:12} {check.cause:22} failed {failed:4d}  warned {warned:4d}  of {runs}")
        if ratios:
            low, middle, high = np.percentile(ratios, [5, 50, 95])
            print(f"{kind:12} projected over true gain: median {middle:.2f}, 5 % {low:.2f}, 95 % {high:.2f}")


if __name__ == "__main__":
    main()
