"""What is audited: every run with its faults, what should be found, and what may be named in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.planted.bases import BASES
from benchmarks.planted.families import FAMILIES
from benchmarks.planted.faults import CONTROLS, FAULTS, LEAKS, Fault
from benchmarks.planted.trainings import EXAMPLE, PAIRS, Training, trainings

EQUIVALENT: Final[dict[str, frozenset[str]]] = {
    # A rate far too low and a schedule far too short leave the same: a model that is still learning at its end.
    "learning_rate": frozenset({"numerical_divergence"}),
    "insufficient_epochs": frozenset({"learning_rate", "hardware_limits"}),
    "batch_size": frozenset({"insufficient_epochs", "learning_rate"}),
    "numerical_divergence": frozenset({"learning_rate", "weight_initialization", "checkpoint_integrity"}),
    "weight_initialization": frozenset({"insufficient_epochs", "numerical_divergence", "checkpoint_integrity"}),
    "underfitting": frozenset({"model_architecture"}),
    "model_architecture": frozenset({"underfitting"}),
    # Labels that are gone are gone, whether as files or as rows.
    "label_files": frozenset({"annotation_errors"}),
    "annotation_errors": frozenset({"label_files", "class_mapping"}),
    "class_mapping": frozenset({"annotation_errors"}),
    "image_format": frozenset({"annotation_errors"}),
    "hardware_limits": frozenset({"insufficient_epochs", "checkpoint_integrity"}),
    "metric_mismatch": frozenset({"checkpoint_integrity"}),
    "data_leakage": frozenset(),
    "overfitting": frozenset(),
}
"""planted cause -> causes that are right as well, written down before anything was scored (the same remedy, or the same
thing seen from another side)"""
SEVERITIES: Final = (1, 2, 3)
HELD_OUT_BASES: Final = ("signs", "traffic")
"""what sets thresholds never scores: thresholds may look at the other bases only"""


@dataclass(frozen=True)
class Case:
    """One audit. `expected` is the planted cause (None: clean); `paired` the case that its effect is held against.

    `seed` draws other validation images of the same kind than those that the training saw.
    """

    name: str
    training: Training
    fault: Fault | None
    severity: int
    expected: str | None
    paired: str | None
    seed: int | None = None

    @property
    def accepted(self) -> frozenset[str]:
        """The causes that count as right."""
        return frozenset() if self.expected is None else EQUIVALENT.get(self.expected, frozenset()) | {self.expected}

    @property
    def held_out(self) -> bool:
        """Whether the case scores; the others may set thresholds."""
        return self.training.base in HELD_OUT_BASES

    @property
    def measure(self) -> str:
        """What the fault must change to count."""
        return self.fault.measure if self.fault is not None else "lowers"


def cases() -> list[Case]:
    """All cases, clean ones first."""
    known = trainings()
    return [*_example(), *_trained(known), *_controls(known), *_planted(known)]


def _example() -> Iterator[Case]:
    """The example's healthy run, on many images of its kind, and with every fault that needs no training."""
    yield Case(EXAMPLE.name, EXAMPLE, None, 0, None, None)
    for seed in range(20, 35):
        yield Case(f"{EXAMPLE.name}+seed-{seed}", EXAMPLE, None, 0, None, None, seed)
    for position, control in enumerate(CONTROLS):
        for seed in (40 + position, 60 + position):
            yield Case(f"{EXAMPLE.name}+{control.variant}-{seed}", EXAMPLE, control, 1, None, None, seed)
    for fault in FAULTS:
        for severity in SEVERITIES:
            name = f"{EXAMPLE.name}+{fault.cause}-{fault.variant}-{severity}"
            yield Case(name, EXAMPLE, fault, severity, fault.cause, EXAMPLE.name)


def _trained(known: list[Training]) -> Iterator[Case]:
    for training in known:
        clean = f"{training.base}-{training.family}-clean"
        planted = training.cause is not None
        yield Case(training.name, training, None, training.severity, training.cause, clean if planted else None)


def _controls(known: list[Training]) -> Iterator[Case]:
    """Healthy runs on other images of the same kind, and on images that look a little like faulty ones."""
    clean = [training for training in known if training.cause is None]
    for training in clean:
        for seed in (2, 3):
            yield Case(f"{training.name}+seed-{seed}", training, None, 0, None, None, seed)
    plain = [training for training in clean if not training.variant]
    for position, control in enumerate(CONTROLS):
        for training in plain[position % 3 :: 3]:
            yield Case(f"{training.name}+{control.variant}", training, control, 1, None, None, 4 + position)


def _planted(known: list[Training]) -> Iterator[Case]:
    by_name = {training.name: training for training in known}
    for position, fault in enumerate(FAULTS):
        for number, base in enumerate(BASES):
            # Families take turns, so that each fault meets each of them.
            training = by_name[f"{base}-{FAMILIES[(position + number) % len(FAMILIES)]}-clean"]
            # Two of three severities each, so that clean cases are a third of all.
            for severity in SEVERITIES[: (position + number) % 3] + SEVERITIES[(position + number) % 3 + 1 :]:
                name = f"{training.name}+{fault.cause}-{fault.variant}-{severity}"
                yield Case(name, training, fault, severity, fault.cause, training.name)
    for fault in LEAKS:
        for base, family in PAIRS.items():
            training = by_name[f"{base}-{family}-overfitting-2"]
            for severity in SEVERITIES:
                name = f"{training.name}+{fault.cause}-{fault.variant}-{severity}"
                yield Case(name, training, fault, severity, fault.cause, training.name)
