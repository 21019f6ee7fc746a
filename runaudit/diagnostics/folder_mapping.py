"""A classifier's classes against the class folders, as `class_mapping` answers for such runs.

The installed version of ultralytics brings them together by name; older ones number the folders of each split.
"""

from __future__ import annotations

from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, passed
from runaudit.diagnostics.class_names import normalised, says_nothing
from runaudit.diagnostics.evidence import CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.lost_images import severity_of_loss
from runaudit.diagnostics.metric_mismatch import reported_metrics
from runaudit.runs.facts import CheckpointFacts, DatasetFacts, RunFacts

CAUSE: Final = "class_mapping"
SHOWN: Final = 5
BY_NAME_FROM: Final = (8, 4, 190)
"""The first version that was read to go by name; 8.0.200, 8.2.0, 8.3.92 and 8.4.21 number each split's folders."""


def examine_folders(  # noqa: PLR0911 - one answer a case
    evidence: Evidence, dataset: DatasetFacts, checkpoint: CheckpointFacts | None, *, left: float, foreign: float
) -> CheckResult:
    """The answer for a classification run. `left` and `foreign` are class_mapping's thresholds."""
    folders = list(dataset.names.values())
    if checkpoint is None or not checkpoint.names:
        return inconclusive(CAUSE, "The checkpoint's class names are not known.", n=len(folders))
    model = [checkpoint.names[index] for index in sorted(checkpoint.names)]
    if folders and folders[0].startswith("n0") and not model[0].startswith("n0"):
        return inconclusive(
            CAUSE, "The folders are ImageNet's codes and the checkpoint has words; the framework translates them.", n=0
        )
    if set(folders).isdisjoint(model):
        return _disjoint(evidence, dataset, model, left=left, foreign=foreign)
    lost = [name for name in folders if name not in set(model)]
    if lost and (finding := _lost(evidence, dataset, model, lost)) is not None:
        return finding
    if (numbered := _numbered(evidence, dataset)) is not None:
        return numbered
    shared_folders = [name for name in folders if name in set(model)]
    if shared_folders != [name for name in model if name in set(folders)]:
        return _ordered(dataset, checkpoint, shared_folders)
    if absent := [name for name in model if name not in set(folders)]:
        return _absent(dataset, checkpoint, absent)
    more = f"; {len(lost)} more folders hold no validation image" if lost else ""
    return passed(CAUSE, f"Checkpoint and folders name the same {len(model)} classes{more}.", effect=0.0, n=len(model))


def _images(dataset: DatasetFacts, names: list[str]) -> tuple[int, int]:
    """Validation images of these folders, and of all."""
    val = dataset.splits.get("val")
    if val is None:
        return 0, 0
    wanted = set(names)
    return sum(n for index, n in enumerate(val.class_images) if dataset.names.get(index) in wanted), val.images


def _disjoint(
    evidence: Evidence, dataset: DatasetFacts, model: list[str], *, left: float, foreign: float
) -> CheckResult:
    """No name in common: the framework then goes by the place in the order."""
    folders = list(dataset.names.values())
    names = (dict(enumerate(model)), dataset.names)
    measured = evidence.classification.top1 if evidence.classification is not None else None
    if len(folders) == len(model) and any(says_nothing(side) for side in names) and measured is None:
        return inconclusive(
            CAUSE,
            f"Both know {len(model)} classes, but one side's names are only numbers: whether they stand for the same "
            "classes can't be told.",
            n=len(model),
        )
    limit = max(foreign, left * reported_metrics(evidence.run).get("top1", 0.0))
    known = measured is not None and measured >= limit and len(folders) == len(model)
    severity: Severity = "minor" if known else "major" if measured is None else "critical"
    evidence_items = [
        Measurement(f"class {index}", model[index], folders[index], source=dataset.source)
        for index in range(min(SHOWN, len(model), len(folders)))
    ]
    if evidence.classification is not None:
        judged = evidence.classification
        evidence_items.insert(
            0, Measurement("top-1 accuracy by the order of the folders", judged.top1, round(limit, 4), n=judged.images)
        )
    return found(
        CAUSE,
        severity,
        "Checkpoint and class folders have no name in common",
        "The framework then takes the folders in the order of their names for the classes in the checkpoint's order. "
        + (
            "The model finds what is in them, so that they probably mean the same."
            if known
            else "The model was trained on other classes, or on folders whose names sort in another order."
        ),
        evidence=tuple(evidence_items),
        impact=Impact("lowers" if known else "unjudgeable", grade="observational", metric="top1"),
        remedies=(_NAME_ALIKE,),
        classes=tuple(folders[:SHOWN]),
        effect=1.0,
        n=len(model),
    )


def _lost(evidence: Evidence, dataset: DatasetFacts, model: list[str], lost: list[str]) -> CheckResult | None:
    """Folders that the model has no class for, if they hold validation images."""
    images, total = _images(dataset, lost)
    if not images:
        return None
    share = images / total
    respelt = [name for name in lost if normalised(name) in {normalised(other) for other in model}]
    top1 = evidence.classification.top1 if evidence.classification is not None else None
    return found(
        CAUSE,
        severity_of_loss(share),
        f"The model has no class for {len(lost)} of {len(dataset.names)} class folders",
        f"{', '.join(lost[:SHOWN])}: {images} of {total} validation images. The installed version leaves them out, so "
        "that the accuracy doesn't count them; older ones count them under other names."
        + (f" {respelt[0]} is spelt differently in the checkpoint." if respelt else ""),
        evidence=(
            Measurement(
                "share of validation images without a class", round(share, 4), 0, n=total, source=dataset.source
            ),
            Measurement("folders that are only spelt differently", len(respelt), 0, n=len(lost)),
        ),
        impact=Impact("inflates", None if top1 is None else top1 * share, None, "observational", "top1"),
        remedies=(_NAME_ALIKE,),
        classes=tuple(lost),
        effect=share,
        n=total,
    )


def _numbered(evidence: Evidence, dataset: DatasetFacts) -> CheckResult | None:
    """A split that lacks a folder, under a version that numbers each split's own."""
    measured = evidence.classification
    if measured is None or measured.own_order_top1 is None or _by_name(evidence.run):
        return None
    val = dataset.splits.get("val")
    empty = [] if val is None else [dataset.names[index] for index, n in enumerate(val.class_images) if n == 0]
    gap = measured.top1 - measured.own_order_top1
    return found(
        CAUSE,
        "minor",
        "The validation split has not all class folders, and the run's version numbers those that are there",
        f"No validation image is of {', '.join(empty[:SHOWN]) or 'some classes'}. If their folders are missing too, "
        "versions up to 8.4.21 at least give the folders behind them other ids than in training, so that what was "
        "reported while training compares wrong names. Figures here go by name.",
        evidence=(
            Measurement("top-1 accuracy by name", round(measured.top1, 5), n=measured.images),
            Measurement(
                "top-1 accuracy by the split's own order", round(measured.own_order_top1, 5), n=measured.images
            ),
        ),
        impact=Impact("lowers", max(0.0, gap), None, "intervention", "top1"),
        remedies=(
            Remedy(
                "Give each split a folder for each class, an empty one if need be, or update ultralytics",
                "The installed version brings folders and classes together by name.",
            ),
        ),
        classes=tuple(empty),
        effect=gap,
        n=measured.images,
    )


def _by_name(run: RunFacts) -> bool:
    """Whether the run's version is known to go by name."""
    version = run.release()
    return version is not None and version >= BY_NAME_FROM


def _ordered(dataset: DatasetFacts, checkpoint: CheckpointFacts, folders: list[str]) -> CheckResult:
    return found(
        CAUSE,
        "minor",
        "The checkpoint has the classes in another order than the folders",
        "Training takes folders in the order of their names, so that these were named, added or renamed afterwards. "
        "Figures here go by name; versions up to 8.4.21 at least go by order, and would compare wrong names.",
        evidence=(
            Measurement("first class", checkpoint.names[min(checkpoint.names)], folders[0], source=dataset.source),
        ),
        remedies=(_NAME_ALIKE,),
        effect=0.0,
        n=len(folders),
    )


def _absent(dataset: DatasetFacts, checkpoint: CheckpointFacts, absent: list[str]) -> CheckResult:
    return found(
        CAUSE,
        "minor",
        f"{len(absent)} of {len(checkpoint.names)} classes of the model have no folder",
        f"{', '.join(absent[:SHOWN])}: nothing tells how well the model knows them, and versions up to 8.4.21 at least "
        "number the folders that are there.",
        evidence=(
            Measurement("classes without a folder", len(absent), 0, n=len(checkpoint.names), source=dataset.source),
        ),
        remedies=(_NAME_ALIKE,),
        classes=tuple(absent),
        effect=len(absent) / len(checkpoint.names),
        n=len(checkpoint.names),
    )


_NAME_ALIKE: Final = Remedy(
    "Validate on folders named as the model was trained with",
    "One folder a class in each split, with the names that the checkpoint has, letter by letter.",
    reference="https://docs.ultralytics.com/datasets/classify/",
)
