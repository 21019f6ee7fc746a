"""Evidence of classification runs for the tests: a classifier of a given skill on folders of given sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from runaudit.diagnostics.evidence import Evidence
from runaudit.evaluation.classification_metrics import accuracy, accuracy_intervals, class_accuracies, confusions
from runaudit.evaluation.facts import ClassificationFacts
from runaudit.runs.facts import DatasetFacts, RunFacts
from tests.diagnostics import cases

NAMES = ("ant", "bee", "cat")
NO_BOXES = "A classification run has no boxes, so that there is no mAP to measure."


def classification(
    images: Sequence[int] = (200, 200, 200),
    recall: Sequence[float] | None = None,
    names: Sequence[str] = NAMES,
    **changes: Any,
) -> ClassificationFacts:
    """Of each class the first part is right, as `recall` says; the others are taken for the next class."""
    classes = len(images)
    shares = recall or (0.9,) * classes
    target = np.repeat(np.arange(classes), images).astype(np.int32)
    place = np.concatenate([np.arange(count) for count in images])
    right = place < np.round(np.asarray(shares)[target] * np.asarray(images)[target])
    ranked = np.stack([np.where(right, target, (target + 1) % classes), (target + 2) % classes], axis=1).astype(
        np.int32
    )
    measured = accuracy(ranked, target)
    named = dict(enumerate(names))
    facts: dict[str, Any] = {
        "split": "val",
        "images": len(target),
        "top1": measured.top1,
        "top5": measured.top5,
        "ci95": accuracy_intervals(measured, len(target)),
        "per_class": class_accuracies(ranked[:, 0], target, named, classes),
        "confusions": confusions(ranked[:, 0], target, named, classes),
        "settings": {"imgsz": 224, "task": "classify"},
        "device": "cpu",
        "seconds": {"inference": 1.0},
    }
    return ClassificationFacts(**(facts | changes))


def run(reported: float = 0.9, version: str = "8.4.190", **arguments: Any) -> RunFacts:
    """A finished classification run whose best epoch reported this top-1 accuracy."""
    facts = cases.run(cases.smooth(ceiling=reported), arguments=arguments)
    assert facts.curves is not None and facts.best_row is not None
    column = [min(value or 0.0, reported) for value in facts.curves.metrics["map50_95"]]
    column[facts.best_row] = reported
    metrics = {"top1": tuple(column), "top5": (1.0,) * len(column)}
    return cases.with_curves(facts, metrics=metrics).model_copy(
        update={"task": "classify", "framework_version": version}
    )


def folders(
    train: Sequence[int] = (500, 500, 500), val: Sequence[int] = (200, 200, 200), names: Sequence[str] = NAMES
) -> DatasetFacts:
    """Class folders with so many images."""
    splits = {
        "train": cases.split(tuple(train), source="train", label_ids={}, box_census=None),
        "val": cases.split(tuple(val), source="val", label_ids={}, box_census=None),
    }
    return DatasetFacts(source=".", names=dict(enumerate(names)), splits=splits)


def evidence(
    measured: ClassificationFacts | None = None,
    *,
    reported: float = 0.9,
    dataset: DatasetFacts | None = None,
    model: Sequence[str] = NAMES,
    version: str = "8.4.190",
    **changes: Any,
) -> Evidence:
    """A healthy classifier, unless told otherwise."""
    names = dict(enumerate(model))
    facts = run(reported, version).model_copy(update={"checkpoint": cases.checkpoint(names=names, task="classify")})
    known = Evidence(
        facts,
        dataset=dataset or folders(),
        classification=measured or classification(),
        absent={"evaluation": NO_BOXES, "training": NO_BOXES},
    )
    return replace(known, **changes)


def unmeasured(why: str = "The audit was asked for with depth `curves`, which runs no model.") -> Evidence:
    """A classification run that was not validated again."""
    known = evidence()
    return replace(known, classification=None, absent=known.absent | {"classification": why})
