"""What is audited: every run with its faults, what should be found, and what may be named in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.planted.bases import BASES
from benchmarks.planted.faults import CONTROLS, DOUBLES, FAULTS, LEAKS, Fault
from benchmarks.planted.trainings import EXAMPLE, HELD_OUT_BASES, PAIRS, Training, families, trainings

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
NO_AUGMENTATION_IS: Final = frozenset({"overfitting"})
"""what is right as well where augmentation is absent (not where it is wrong): it is the first remedy of overfitting"""
SEVERITIES: Final = (1, 2, 3)


@dataclass(frozen=True)
class Case:
    """One audit. `expected` is the planted cause (None: clean); `paired` the case that its effect is held against.

    `seed` draws other validation images of the same kind than those that the training saw. `beside` is the cause that
    was planted in the training, where the case plants a second fault in the data or the run.
    """

    name: str
    training: Training
    fault: Fault | None
    severity: int
    expected: str | None
    paired: str | None
    seed: int | None = None
    beside: str | None = None

    @property
    def accepted(self) -> frozenset[str]:
        """The causes that count as right."""
        absent = self.fault is None and self.training.variant == "none"
        return accepted(self.expected) | (NO_AUGMENTATION_IS if absent else frozenset())

    @property
    def accepted_beside(self) -> frozenset[str]:
        """The causes that count as right for the other fault of a pair."""
        return accepted(self.beside)

    @property
    def held_out(self) -> bool:
        """Whether the case scores; the others may set thresholds."""
        return self.training.base in HELD_OUT_BASES

    @property
    def measure(self) -> str:
        """What the fault must change to count."""
        return self.fault.measure if self.fault is not None else "lowers"


def accepted(cause: str | None) -> frozenset[str]:
    """The cause and its equivalents; none of no cause."""
    return frozenset() if cause is None else EQUIVALENT.get(cause, frozenset()) | {cause}


def cases() -> list[Case]:
    """All cases, clean ones first."""
    known = trainings()
    return [*_example(), *_trained(known), *_controls(known), *_planted(known), *_doubles(known)]


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
    free = [training for training in plain if training.base not in HELD_OUT_BASES]
    for position, control in enumerate(CONTROLS):
        # All of them in the held-out part, which has fewer runs.
        for training in [*free[position % 3 :: 3], *(training for training in plain if training not in free)]:
            yield Case(f"{training.name}+{control.variant}", training, control, 1, None, None, 4 + position)


def _planted(known: list[Training]) -> Iterator[Case]:
    by_name = {training.name: training for training in known}
    for position, fault in enumerate(FAULTS):
        for number, base in enumerate(BASES):
            held_out = base in HELD_OUT_BASES
            skipped = None if held_out else SEVERITIES[(position + number) % 3]
            for severity in SEVERITIES:
                # Two of three severities each, so that clean cases are a third of all; all in the held-out part.
                if severity == skipped:
                    continue
                # Families take turns, so that each fault meets each of them.
                turn = position + severity if held_out else position + number
                training = by_name[f"{base}-{families(base)[turn % len(families(base))]}-clean"]
                name = f"{training.name}+{fault.cause}-{fault.variant}-{severity}"
                yield Case(name, training, fault, severity, fault.cause, training.name)
    for fault in LEAKS:
        for base, family in PAIRS.items():
            training = by_name[f"{base}-{family}-overfitting-2"]
            for severity in SEVERITIES:
                name = f"{training.name}+{fault.cause}-{fault.variant}-{severity}"
                yield Case(name, training, fault, severity, fault.cause, training.name)


def _doubles(known: list[Training]) -> Iterator[Case]:
    """A fault of training and one of data or run at once: every pair in the held-out part, a third in other bases."""
    by_name = {training.name: training for training in known}
    faults = {fault.variant: fault for fault in FAULTS}
    for number, (base, family) in enumerate(PAIRS.items()):
        for trained, variant in DOUBLES if base in HELD_OUT_BASES else DOUBLES[number % 3 :: 3]:
            training, fault = by_name[f"{base}-{family}-{trained}-2"], faults[variant]
            name = f"{training.name}+{fault.cause}-{fault.variant}-3"
            yield Case(name, training, fault, 3, fault.cause, training.name, beside=training.cause)
