"""Numbers and names of a report as a person reads them, the same in every rendering."""

from __future__ import annotations

import json
from itertools import zip_longest
from typing import Final

from pydantic import JsonValue

from runaudit.diagnostics.evidence import METRIC_NAMES
from runaudit.reports.schema import (
    AnnotatorCensus,
    Dataset,
    ErrorKind,
    EvidenceItem,
    Impact,
    Interval,
    Report,
    SplitCensus,
    Validation,
)

VERDICTS = {
    "pass": "PASS",
    "warn": "WARN",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
}


def number(value: float | int | str | bool | None) -> str:
    """At most four significant digits; `-` for what is missing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def between(value: Interval | None) -> str:
    return "" if value is None else f" ({value[0]:.3f} to {value[1]:.3f})"


def measured(item: EvidenceItem) -> str:
    """`name: value (interval), threshold t, n = 10, results.csv:41`."""
    parts = [f"{item.name}: {number(item.value)}{between(item.ci95)}"]
    if item.threshold is not None:
        parts.append(f"threshold {number(item.threshold)}")
    if item.n is not None:
        parts.append(f"n = {item.n}")
    if item.source is not None:
        parts.append(item.source)
    return ", ".join(parts)


def stake(impact: Impact) -> str:
    """What the cause costs, and how that is known."""
    if impact.direction == "unjudgeable":
        return "the model's worth can't be judged"
    if impact.value is None:
        return "not measured"
    name = METRIC_NAMES.get(impact.metric, impact.metric)
    verb = "not real" if impact.direction == "inflates" else "at stake"
    return f"{impact.value:.3f}{between(impact.ci95)} {name} {verb} ({impact.grade})"


def patch(value: dict[str, JsonValue]) -> list[str]:
    """A config patch as YAML reads it, an item an argument: `lr0: 0.01`, `cos_lr: true`."""
    return [f"{key}: {json.dumps(item)}" for key, item in value.items()]


def run_line(report: Report) -> str:
    """The run in one line."""
    run = report.run
    version = f" {run.framework_version}" if run.framework_version else ""
    architecture = f", {run.architecture}" if run.architecture else ""
    epochs = f", {number(run.epochs_run)} of {number(run.epochs_planned)} epochs"
    best = f", best epoch {run.best_epoch}" if run.best_epoch is not None else ""
    return f"{run.framework}{version} {run.task}{architecture}{epochs}{best}, {run.status.replace('_', ' ')}"


def metric_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Name, re-validated value with interval, reported value (of the row that the checkpoint stands for), difference;
    empty where validation was not run.
    """
    validation = report.validation
    if validation is None:
        return []
    if validation.metrics.top1 is not None:
        accuracy = {"top1": validation.metrics.top1, "top5": validation.metrics.top5}
        return _rows(validation, {"top1": "top-1 accuracy", "top5": "top-5 accuracy"}, accuracy)
    metrics = validation.metrics
    geometries = {"": metrics.box or metrics.obb, "mask_": metrics.mask, "pose_": metrics.pose}
    rows = []
    for prefix, measured in geometries.items():
        if measured is not None:
            titles = {prefix + name: prefix.replace("_", " ") + title for name, title in _TITLES.items()}
            values = {prefix + name: getattr(measured, name) for name in _TITLES}
            rows += _rows(validation, titles, values)
    return rows


_TITLES: Final = {
    "map50_95": "mAP50-95",
    "map50": "mAP50",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}


def _rows(
    validation: Validation, titles: dict[str, str], values: dict[str, float | None]
) -> list[tuple[str, str, str, str]]:
    return [
        (
            title,
            f"{number(values[key])}{between(validation.ci95.get(key))}",
            number((validation.compared or validation.reported).get(key)),
            f"{validation.difference[key]:+.4f}" if key in validation.difference else "-",
        )
        for key, title in titles.items()
    ]


def confusion_rows(report: Report) -> list[tuple[str, str, str]]:
    """Class, what the model took it for, and how many images; the pairs that are mistaken most often."""
    pairs = report.validation.error_types.confusions if report.validation is not None else []
    return [(pair.labelled, pair.predicted, str(pair.images)) for pair in pairs if pair.images is not None]


ERROR_TITLES: dict[ErrorKind, str] = {
    "cls": "wrong class",
    "loc": "misplaced",
    "both": "both",
    "dupe": "duplicate",
    "bkg": "on background",
    "miss": "missed",
}


def error_line(report: Report) -> str | None:
    """What each kind of error costs, the dearest first; None where it was not measured."""
    found = report.validation.error_types if report.validation is not None else None
    if found is None or not found.errors:
        return None
    costs = sorted(
        ((found.errors[kind], title) for kind, title in ERROR_TITLES.items() if kind in found.errors),
        key=lambda cost: -cost[0].d_ap50,
    )
    listed = ", ".join(f"{title} {cost.d_ap50:.3f}{between(cost.d_ap50_ci95)}" for cost, title in costs)
    return f"AP at IoU 0.5 that mending one kind of error would add (TIDE): {listed}"


def confidence_line(report: Report) -> str | None:
    """The threshold of the best F1, what the default loses, and calibration; None where it was not measured."""
    validation = report.validation
    if validation is None or validation.thresholds is None:
        return None
    best, default = validation.thresholds.overall, validation.thresholds.default
    said = (
        f"Best F1 {best.f1:.3f} at confidence {best.threshold:.2f}{between(best.threshold_ci95)}; "
        f"the default {default:g} loses {best.lost:.3f}{between(best.lost_ci95)}"
    )
    error = validation.calibration.d_ece
    if error is None:
        return said
    return f"{said}; calibration error {error.corrected:.3f}{between(error.ci95)} (D-ECE without chance)"


CENSUS_TITLES = ("split", "images", "without an object", "dropped", "objects")


def dataset_line(dataset: Dataset) -> str:
    """The data set in one line."""
    classes = len(dataset.names)
    return f"{dataset.source}, {classes} class{'es' if classes != 1 else ''}"


def census_rows(dataset: Dataset) -> list[tuple[str, str, str, str, str]]:
    """A row of CENSUS_TITLES for each split, then for each further annotator.

    Dropped are images (of annotators: label files) that the framework leaves out without a word.
    """
    rows = [
        (
            name,
            str(split.images),
            f"{split.background}"
            + (f", {split.missing_labels} of them without a label file" if split.missing_labels else ""),
            str(split.rejected),
            str(split.instances),
        )
        for name, split in dataset.splits.items()
    ]
    return rows + [
        (
            f"{name} (annotator)",
            str(annotator.images),
            f"{annotator.background}"
            + (f", and {annotator.not_annotated} images not annotated" if annotator.not_annotated else ""),
            str(annotator.rejected),
            str(annotator.instances),
        )
        for name, annotator in dataset.annotators.items()
    ]


def dataset_notes(dataset: Dataset, most: int) -> list[str]:
    """What was noted while reading, at most `most` of it: on data.yaml, then on its parts, whose names are put first.

    Each part has its turn, so that none is hidden by another's many.
    """
    parts: list[tuple[str, SplitCensus | AnnotatorCensus]] = [*dataset.splits.items(), *dataset.annotators.items()]
    named = [dataset.notes, *([f"{name}: {note}" for note in part.notes] for name, part in parts)]
    found = [note for turn in zip_longest(*named) for note in turn if note is not None]
    # How many more can't be said: a part's last line may itself stand for many.
    return found if len(found) <= most else [*found[:most], "and more, which the JSON report lists"]
