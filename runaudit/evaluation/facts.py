"""The facts that re-validation yields: metrics, intervals and the settings they were measured with."""

from __future__ import annotations

from pydantic import JsonValue

from runaudit.runs.facts import Facts, Note

Interval = tuple[float, float]
"""lower and upper end of a 95 % confidence interval"""


class BoxMetrics(Facts):
    """Box metrics as the framework computes them, each in [0, 1]; P, R and F1 at the confidence of the best F1."""

    map50: float
    map50_95: float
    precision: float
    recall: float
    f1: float


class ClassMetrics(Facts):
    """One class of the validation split; metrics are None for a class without instances."""

    class_id: int
    name: str
    images: int
    instances: int
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    map50_95_ci95: Interval | None = None


class EvaluationFacts(Facts):
    """Re-validation of one checkpoint on one split.

    `ci95` has the keys `map50` and `map50_95`: percentile intervals of `replicates` bootstrap replicates,
    resampled by image. `confidence_threshold` is where the mean F1 over classes is highest.
    `skipped` notes images that could not be decoded.
    """

    split: str
    images: int
    instances: int
    metrics: BoxMetrics
    ci95: dict[str, Interval]
    replicates: int
    confidence_threshold: float
    per_class: tuple[ClassMetrics, ...]
    settings: dict[str, JsonValue]
    device: str
    seconds: dict[str, float]
    skipped: tuple[Note, ...] = ()
