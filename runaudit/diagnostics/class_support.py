"""The classes of a run with their names, as data or checkpoint tell them, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import finite_column


@dataclass(frozen=True)
class ClassSupport:
    """`counts` are instances by class over training and validation; empty where no data came, and then every class is
    taken to occur. `source` is where the names stand.
    """

    names: Mapping[int, str]
    counts: Mapping[int, int]
    source: str | None

    @property
    def classes(self) -> int:
        """Classes that occur."""
        return sum(self.occurs(index) for index in self.names)

    @property
    def instances(self) -> int:
        return sum(self.counts.values())

    def occurs(self, index: int) -> bool:
        return not self.counts or self.counts.get(index, 0) > 0

    def instances_of(self, indices: Iterable[int]) -> int:
        return sum(self.counts.get(index, 0) for index in indices)

    def name(self, index: int) -> str:
        return self.names.get(index, str(index))


def support_of(evidence: Evidence) -> ClassSupport:
    """Names from the data set, else from the checkpoint, else none."""
    dataset, checkpoint = evidence.dataset, evidence.run.checkpoint
    if dataset is None:
        names = checkpoint.names if checkpoint is not None else {}
        return ClassSupport(names, {}, checkpoint.source if checkpoint is not None else None)
    counts: dict[int, int] = {}
    for split in (dataset.splits.get("train"), dataset.splits.get("val")):
        for index, count in enumerate(split.class_instances if split is not None else ()):
            counts[index] = counts.get(index, 0) + count
    return ClassSupport(dataset.names, counts if any(counts.values()) else {}, dataset.source)


def best_map50(evidence: Evidence) -> float | None:
    """mAP50 as it was measured here, else the largest of the curves; None without either."""
    if evidence.evaluation is not None:
        return evidence.evaluation.metrics.map50
    curves = evidence.run.curves
    column = finite_column(curves.metrics.get("map50", ())) if curves is not None else None
    if column is None:
        return None
    known = column[(column >= 0) & (column <= 1)]
    return float(known.max()) if known.size else None
