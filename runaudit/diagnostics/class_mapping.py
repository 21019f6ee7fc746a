"""Do class ids, names and their number agree between checkpoint, data.yaml and labels?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.class_names import NameComparison, compare_names, says_nothing
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.folder_mapping import examine_folders
from runaudit.diagnostics.interventions import named, surely
from runaudit.diagnostics.lost_images import LIMITS as LOST
from runaudit.diagnostics.lost_images import Thresholds as LostThresholds
from runaudit.diagnostics.lost_images import severity_of_loss
from runaudit.diagnostics.metric_mismatch import reported_metrics
from runaudit.diagnostics.permuted_classes import LIMITS as PERMUTED
from runaudit.diagnostics.permuted_classes import Thresholds as PermutedThresholds
from runaudit.diagnostics.permuted_classes import permutation_finding
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import CheckpointFacts, DatasetFacts, Note, Split

CAUSE: Final = "class_mapping"


@dataclass(frozen=True)
class Thresholds:
    lost: LostThresholds = LOST
    permuted: PermutedThresholds = PERMUTED
    left: float = threshold(
        0.5,
        "Mean mAP50-95 of the classes of another name over what the run reported. Renaming leaves it at 1; the healthy "
        "example has 0.08 (0.054 of 0.654) once its labels are shifted by one class.",
    )
    one_class: int = threshold(
        50, "Labels that all have one id: of two classes, of which one has a tenth, so many miss it once in 200 sets."
    )
    foreign: float = threshold(
        0.1,
        "The same, as it stands: below it nothing speaks for the same classes, whatever was reported. About twice the "
        "0.054 of the shifted example.",
    )


LIMITS = Thresholds()
SHOWN: Final = 5


def examine(evidence: Evidence) -> CheckResult:
    """By ids, names and what the model finds; where all of these agree, by data.yaml's own count of them."""
    result = _examined(evidence)
    notes = evidence.dataset.notes if evidence.dataset is not None else ()
    conflict = next((note for note in notes if note.code == "class_count_conflict"), None)
    return result if result.finding is not None or conflict is None else _miscounted(conflict, evidence)


def _miscounted(conflict: Note, evidence: Evidence) -> CheckResult:
    names = len(evidence.dataset.names) if evidence.dataset is not None else 0
    return found(
        CAUSE,
        "minor",
        "data.yaml's `nc` is not the number of its names",
        f"{conflict.detail} ultralytics stops at such a file, and so do older versions of YOLOv5: it is not the one "
        "that the run was trained with, or was changed since. Look which of the two is right.",
        evidence=(Measurement("names in data.yaml", names, source=conflict.place),),
        impact=Impact("lowers", grade="observational"),
        remedies=(Remedy("Correct `names`, and leave `nc` out", "It is counted from the names."),),
        n=names,
    )


def _examined(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    dataset, checkpoint = evidence.dataset, evidence.run.checkpoint
    if dataset is None:
        return not_run(CAUSE, why_absent(evidence, "dataset"))
    if dataset.single_cls or evidence.run.argument("single_cls") is True:
        return passed(CAUSE, "The run was trained with single_cls: all classes count as one.", effect=0.0, n=1)
    if evidence.run.task == "classify":
        return _folders(evidence, dataset, checkpoint)
    if not dataset.names:
        return inconclusive(CAUSE, "data.yaml names no classes.")
    ids = _ids(dataset)
    if _from_one(ids, len(dataset.names)):
        return _one_based(dataset, ids)
    moved = _moved(evidence, dataset)
    if moved is not None:
        return moved
    by_names = _by_names(evidence, dataset, checkpoint)
    unknown = {index: rows for index, rows in ids.items() if index >= len(dataset.names)}
    if by_names is not None and by_names.finding is not None and (by_names.outcome == "failed" or not unknown):
        return by_names
    if unknown:
        return _unknown(dataset, ids, unknown)
    if (by_names is None or by_names.finding is None) and (alone := _one_class(evidence, dataset, ids)) is not None:
        return alone
    if by_names is not None:
        return by_names
    return inconclusive(
        CAUSE,
        f"The labels' ids fit data.yaml's {len(dataset.names)} classes; the checkpoint's names are not known: "
        + (why_absent(evidence, "checkpoint") if checkpoint is None else "it holds none."),
        n=sum(ids.values()),
    )


def _folders(evidence: Evidence, dataset: DatasetFacts, checkpoint: CheckpointFacts | None) -> CheckResult:
    """The answer for a classifier, whose classes are folders."""
    outputs = checkpoint.model_yaml.get("nc") if checkpoint is not None and checkpoint.model_yaml else None
    if checkpoint is not None and checkpoint.names and type(outputs) is int and outputs != len(checkpoint.names):
        return _outputs(checkpoint, outputs)
    return examine_folders(evidence, dataset, checkpoint, left=LIMITS.left, foreign=LIMITS.foreign)


def _ids(dataset: DatasetFacts) -> Counter[int]:
    """Class id -> rows over all splits, as written."""
    ids: Counter[int] = Counter()
    for split in dataset.splits.values():
        ids.update(split.label_ids)
    return ids


def _from_one(ids: Counter[int], classes: int) -> bool:
    """Ids count from 1: the id after the last class is used, that of the first is not, and none lies beyond."""
    return classes in ids and 0 not in ids and max(ids) == classes


def _moved(evidence: Evidence, dataset: DatasetFacts) -> CheckResult | None:
    """The finding that ids of one split count from 1, or are permuted in another way; None if neither.

    A split without the first class, and with a stray id, counts from 0 all the same: where there is a model, it has to
    see the ids moved, too.
    """
    permuted = permutation_finding(evidence, dataset)
    if permuted is None and evidence.evaluation is not None:
        return None
    one = _one_based_split(dataset)
    if one is None or permuted is None or one.finding is None or permuted.finding is None:
        return one or permuted
    return replace(one, finding=replace(one.finding, impact=permuted.finding.impact))


def _one_based_split(dataset: DatasetFacts) -> CheckResult | None:
    """The finding that one of train and val alone counts from 1; None if neither does."""
    for name in ("train", "val"):
        split = dataset.splits.get(name)
        if split is not None and _from_one(ids := Counter(split.label_ids), len(dataset.names)):
            return _one_based(dataset, ids, name)
    return None


def _one_based(dataset: DatasetFacts, ids: Counter[int], split: Split | None = None) -> CheckResult:
    """Of all labels, or of one split alone."""
    who = "The labels count" if split is None else f"The {split} labels alone count"
    then = "Then train again: the model learnt the shifted names." if split is None else f"Of the {split} split only."
    folder = "dataset/labels" if split is None else f"dataset/labels/{split}"
    classes = len(dataset.names)
    return found(
        CAUSE,
        "critical",
        f"{who} classes from 1, YOLO counts from 0",
        f"Ids run from {min(ids)} to {max(ids)} for {classes} classes: each object has the name of the class after its "
        "own, and images with the last class are dropped.",
        evidence=(
            Measurement("lowest class id", min(ids), 0, n=sum(ids.values()), source=dataset.source),
            Measurement("highest class id", max(ids), classes - 1, n=sum(ids.values()), source=dataset.source),
        ),
        impact=Impact("unjudgeable"),
        remedies=(Remedy("Subtract 1 from each class id", then, code=_SHIFT.replace("dataset/labels", folder)),),
        effect=1.0,
        n=sum(ids.values()),
    )


_NO_OBJECT: Final = frozenset({"background", "bg", "none", "empty"})
"""names that no object is meant to have"""


def _one_class(evidence: Evidence, dataset: DatasetFacts, ids: Counter[int]) -> CheckResult | None:
    """The finding that all labels have one id though several classes are named; None if they have not."""
    rows = sum(ids.values())
    if len(ids) != 1 or len(dataset.names) < 2 or rows < LIMITS.one_class:
        return None
    only = next(iter(ids))
    measured = _mean_map(evidence.evaluation, (only,))
    lacking = [name for index, name in dataset.names.items() if index != only]
    if len(lacking) == 1 and lacking[0].strip("_ ").casefold() in _NO_OBJECT:
        return None
    # Names without labels do no harm by themselves (exports name the whole set as a first class); lost ids do: then
    # the model, which has learnt them, finds other classes where these labels are.
    blind = named(evidence, "class_agnostic")
    told_apart = blind is not None and surely(blind, LOST.at_stake)
    grave = told_apart or (measured is not None and measured < LIMITS.foreign)
    return found(
        CAUSE,
        "major" if grave else "minor",
        f"All {rows} labels are of class {only} (`{dataset.names.get(only, only)}`), of {len(dataset.names)} classes "
        "that data.yaml names",
        f"The model can't learn {', '.join(lacking[:SHOWN])}{' and others' * (len(lacking) > SHOWN)} from them. Either "
        "the class ids were lost when the labels were exported, or data.yaml names classes that this data set lacks; "
        "mean figures are then of one class only.",
        evidence=(
            Measurement("class ids among the labels", 1, len(dataset.names), n=rows, source=dataset.source),
            *((Measurement("mAP50-95 of that class", round(measured, 4), n=rows),) if measured is not None else ()),
            *(
                (
                    Measurement(
                        "mAP50-95 gained if any class will do",
                        round(blind.difference, 4),
                        LOST.at_stake,
                        blind.ci95,
                        blind.images,
                    ),
                )
                if blind is not None
                else ()
            ),
        ),
        impact=Impact("lowers", blind.difference, blind.ci95, "oracle")
        if told_apart and blind is not None
        else Impact("lowers", grade="observational"),
        remedies=(
            Remedy(
                "Export the labels again with their class ids, or name one class in data.yaml",
                "Look at a few images first: if objects of other classes are on them, the ids were lost. If one class "
                "is what is meant, train with one name.",
            ),
        ),
        classes=tuple(lacking),
        effect=1.0 - 1.0 / len(dataset.names),
        n=rows,
    )


def _unknown(dataset: DatasetFacts, ids: Counter[int], unknown: dict[int, int]) -> CheckResult:
    rows, count = sum(ids.values()), sum(unknown.values())
    shown = ", ".join(map(str, sorted(unknown)[:SHOWN]))
    places = [note.place for split in dataset.splits.values() for note in split.notes if note.code == UNKNOWN_CODE]
    return found(
        CAUSE,
        severity_of_loss(count / rows),
        f"{count} label rows have a class id that data.yaml has no name for: {shown}",
        f"data.yaml names {len(dataset.names)} classes, so that ids end at {len(dataset.names) - 1}. ultralytics drops "
        "each image with such a row; YOLOv5 stops at it.",
        evidence=(
            Measurement(
                "share of rows with an unknown class id",
                round(count / rows, 4),
                LOST.major,
                n=rows,
                source=places[0] if places else dataset.source,
            ),
            Measurement("highest class id", max(ids), len(dataset.names) - 1, source=dataset.source),
        ),
        impact=Impact("lowers", grade="observational"),
        remedies=(
            Remedy(
                "Name all classes in data.yaml, or correct the ids", "Labels and data.yaml come from different lists."
            ),
        ),
        effect=count / rows,
        n=rows,
    )


def _by_names(  # noqa: PLR0911 - one answer a case
    evidence: Evidence, dataset: DatasetFacts, checkpoint: CheckpointFacts | None
) -> CheckResult | None:
    """The answer of comparing names; None where the checkpoint has none."""
    if checkpoint is None or not checkpoint.names:
        return None
    outputs = checkpoint.model_yaml.get("nc") if checkpoint.model_yaml else None
    if type(outputs) is int and outputs != len(checkpoint.names):
        return _outputs(checkpoint, outputs)
    compared = compare_names(checkpoint.names, dataset.names)
    if not compared.same and says_nothing(checkpoint.names) != says_nothing(dataset.names):
        return _placeholders(checkpoint, dataset, compared)
    if compared.moved or compared.other:
        return _differing(evidence, checkpoint, dataset, compared)
    if compared.only_data or compared.only_model:
        return _number(evidence.evaluation, checkpoint, dataset, compared)
    if compared.respelt:
        return _respelt(checkpoint, dataset, compared)
    return passed(
        CAUSE,
        f"Checkpoint and data.yaml name the same {len(dataset.names)} classes in the same order"
        + (", and no label has another id." if any(split.label_ids for split in dataset.splits.values()) else "."),
        effect=0.0,
        n=len(dataset.names),
    )


def _placeholders(checkpoint: CheckpointFacts, dataset: DatasetFacts, compared: NameComparison) -> CheckResult:
    if compared.only_data or compared.only_model:
        return _number(None, checkpoint, dataset, compared)
    which = "checkpoint" if says_nothing(checkpoint.names) else "data.yaml"
    return inconclusive(
        CAUSE,
        f"Both know {len(dataset.names)} classes, but the names of the {which} are only numbers: whether they stand "
        "for "
        "the same classes can't be told.",
        n=len(dataset.names),
    )


def _differing(
    evidence: Evidence, checkpoint: CheckpointFacts, dataset: DatasetFacts, compared: NameComparison
) -> CheckResult:
    """Names that differ at the same id."""
    affected = compared.moved or compared.other
    measured = _mean_map(evidence.evaluation, affected)
    reported = reported_metrics(evidence.run).get("map50_95", 0.0)
    limit = max(LIMITS.foreign, LIMITS.left * reported)
    known = measured is not None and measured >= limit
    severity = _severity(known=known, measured=measured is not None, moved=bool(compared.moved))
    of_classes = f"{len(affected)} of {len(dataset.names)} classes"
    if compared.moved:
        title = f"Checkpoint and data.yaml name {of_classes} in another order"
    elif known:
        title = f"Checkpoint and data.yaml have other names for {of_classes}"
    else:
        title = f"Checkpoint and data.yaml name other classes: {of_classes} differ"
    pairs = [
        Measurement(f"class {index}", checkpoint.names[index], dataset.names[index], source=dataset.source)
        for index in affected[:SHOWN]
    ]
    if measured is not None:
        pairs.insert(
            0, Measurement("mean mAP50-95 of these classes", round(measured, 4), round(limit, 4), n=len(affected))
        )
    return found(
        CAUSE,
        severity,
        title,
        f"{_WHY[bool(compared.moved), known]} Class {affected[0]} is `{checkpoint.names[affected[0]]}` in the "
        f"checkpoint and `{dataset.names[affected[0]]}` in data.yaml.",
        evidence=tuple(pairs),
        impact=Impact("lowers" if known else "unjudgeable", grade="observational"),
        remedies=(_USE_NAMES,),
        classes=tuple(dataset.names[index] for index in affected),
        effect=len(affected) / len(dataset.names),
        n=len(dataset.names),
    )


def _severity(*, known: bool, measured: bool, moved: bool) -> Severity:
    """`known`: the model is seen to find these classes. Then a rename is harmless, and another order misleads about the
    classes but not about their mean.
    """
    if known:
        return "major" if moved else "minor"
    return "critical" if moved or measured else "major"


_WHY: Final = {
    (True, False): "The metrics of these classes are those of other classes: their labels are compared with detections "
    "of what the model knows by another name.",
    (
        True,
        True,
    ): "The labels follow the checkpoint's order, since the model finds them: it is data.yaml whose names are "
    "wrong, and each figure of these classes stands under the wrong name.",
    (False, False): "The model was trained on other classes than those that it is validated on, or the wrong data.yaml "
    "or checkpoint was handed in.",
    (False, True): "The model finds what is labelled, so that they probably mean the same.",
}
"""By whether names moved, and whether the model is seen to find these classes."""


def _mean_map(evaluation: EvaluationFacts | None, classes: tuple[int, ...]) -> float | None:
    if evaluation is None:
        return None
    wanted = set(classes)
    values = [
        entry.map50_95
        for entry in evaluation.per_class
        if entry.class_id in wanted and entry.instances > 0 and entry.map50_95 is not None
    ]
    return float(np.mean(values)) if values else None


def _number(
    evaluation: EvaluationFacts | None, checkpoint: CheckpointFacts, dataset: DatasetFacts, compared: NameComparison
) -> CheckResult:
    """The same names as far as both go, but one side knows more classes."""
    val = dataset.splits.get("val")
    used = [index for index in compared.only_data if val is not None and _instances(val.class_instances, index)]
    evidence = (
        Measurement("classes of the checkpoint", len(checkpoint.names), len(dataset.names), source=checkpoint.source),
        Measurement("classes of data.yaml", len(dataset.names), source=dataset.source),
        Measurement("validated classes that the model can't know", len(used), 0, n=len(dataset.names)),
    )
    share = len(used) / max(1, sum(count > 0 for count in val.class_instances)) if val is not None else 0.0
    lost = _lost_by(evaluation, share)
    return found(
        CAUSE,
        "major" if used else "minor",
        f"The checkpoint knows {len(checkpoint.names)} classes, data.yaml names {len(dataset.names)}",
        (
            f"The model can never find {', '.join(dataset.names[index] for index in used[:SHOWN])}; each of these "
            "classes "
            "counts in the mean with an AP of 0."
            if used
            else "No validation label is of a class that one side lacks, so that the metrics don't suffer."
        ),
        evidence=evidence,
        impact=Impact("lowers", lost, None, "observational"),
        remedies=(_USE_NAMES,),
        classes=tuple(dataset.names[index] for index in used),
        effect=share,
        n=len(dataset.names),
    )


def _instances(counts: tuple[int, ...], index: int) -> int:
    return counts[index] if index < len(counts) else 0


def _lost_by(evaluation: EvaluationFacts | None, share: float) -> float | None:
    """mAP50-95 lost if `share` of the classes counts as 0 and would else be found as well as the others."""
    if evaluation is None or not 0.0 < share < 1.0:
        return None
    measured = evaluation.metrics.map50_95
    return float(min(1.0, measured / (1.0 - share)) - measured)


def _respelt(checkpoint: CheckpointFacts, dataset: DatasetFacts, compared: NameComparison) -> CheckResult:
    first = compared.respelt[0]
    return found(
        CAUSE,
        "minor",
        f"Checkpoint and data.yaml spell {len(compared.respelt)} class names differently",
        f"`{checkpoint.names[first]}` and `{dataset.names[first]}`, for one. The metrics don't suffer; code that looks "
        "classes up by name may.",
        evidence=(
            Measurement(
                "names spelt differently", len(compared.respelt), 0, n=len(dataset.names), source=dataset.source
            ),
        ),
        remedies=(_USE_NAMES,),
        effect=0.0,
        n=len(dataset.names),
    )


def _outputs(checkpoint: CheckpointFacts, outputs: int) -> CheckResult:
    return found(
        CAUSE,
        "major",
        f"The checkpoint's network has {outputs} classes but {len(checkpoint.names)} names",
        "Its names were changed after training, or belong to another network: which output means which class isn't "
        "known.",
        evidence=(Measurement("names of the checkpoint", len(checkpoint.names), outputs, source=checkpoint.source),),
        impact=Impact("unjudgeable"),
        remedies=(_USE_NAMES,),
        effect=float(abs(outputs - len(checkpoint.names))),
        n=outputs,
    )


UNKNOWN_CODE: Final = "label_class_unknown"
_SHIFT = """\
from pathlib import Path
for path in Path('dataset/labels').rglob('*.txt'):
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    path.write_text(''.join(' '.join([str(int(row[0]) - 1), *row[1:]]) + '\\n' for row in rows))
"""
_USE_NAMES = Remedy(
    "Validate with the data.yaml that the model was trained with",
    "The order of `names` is what gives an id its meaning; copying them from the checkpoint is right only if the "
    "labels "
    "were made with its ids.",
    reference="https://docs.ultralytics.com/datasets/detect/",
)

CHECK = Check(
    cause=CAUSE,
    title="Class mapping",
    question=__doc__ or "",
    statistic=(
        "Names of the checkpoint against names of data.yaml, id by id, without case, white space, `_` and `-`; their "
        "numbers, and that of the network's outputs; class ids of all label rows, those of dropped images included. "
        "Where "
        "names differ, the mean mAP50-95 of these classes. Detections: the one-to-one mapping of ids that most found "
        "labels agree with, and mAP50-95 with ids mapped by it, against mAP50-95 as it stands (200 replicates, by "
        "image or group). Of a classifier, names of the class folders instead, and "
        "what top-1 accuracy becomes where a version goes by their order."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Classes that were only renamed or translated: minor where the model finds them, major without re-validation.",
        "A class list that begins with an unused `background`: the labels then rightly count from 1.",
        "single_cls: one class by design.",
        "Two classes that the model can't tell apart, or calls by one name: no mapping then wins for sure.",
        "Names that are only numbers say nothing, and are not compared with real ones.",
    ),
    references=("yolo.md A5 and C3",),
    examine=examine,
)
