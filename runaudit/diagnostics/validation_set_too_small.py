"""How wide is the confidence interval of mAP, and which classes can't be judged?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import ClassificationFacts, EvaluationFacts, Interval
from runaudit.runs.facts import DatasetFacts, SplitFacts

CAUSE: Final = "validation_set_too_small"


@dataclass(frozen=True)
class Thresholds:
    half_width: float = threshold(
        0.05,
        "Half of the 95 % interval of mAP50-95: two runs must then differ by about 0.07 to be told apart, more than "
        "most changes to a training bring.",
    )
    half_width_major: float = threshold(
        0.1, "At this width a model of 0.5 may be one of 0.4 or of 0.6: a user would decide otherwise."
    )
    instances: int = threshold(
        30,
        "diagnostics.md A2(4): with 30 instances the standard error of AP50 is 0.085. Fewer make the bootstrap itself "
        "too narrow (its replicates hold the same few boxes).",
    )
    distinct: int = threshold(
        5,
        "Labelled images that differ. benchmarks/few_images.py: 95 % intervals over fewer hold the population's mAP in "
        "0 to 75 of 100 samples; they are widened to Wilson's, as if each image were one trial.",
    )
    few: int = threshold(
        20,
        "Labelled images that differ, or groups of images that belong together, however many objects they show. "
        "benchmarks/few_images.py: over 5 to 20 images intervals of 95 % hold the population's mAP in 71 to 83 of 100 "
        "samples only. Minor by itself.",
    )
    classes_share: float = threshold(
        0.5, "Share of classes that can't be judged from which the mean says little of them."
    )


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    if evidence.evaluation is not None:
        return _measured(_of_boxes(evidence.evaluation))
    if evidence.classification is not None:
        return _measured(_of_classes(evidence.classification))
    part = "classification" if evidence.run.task == "classify" else "evaluation"
    split = evidence.dataset.splits.get("val") if evidence.dataset is not None else None
    if split is None and evidence.dataset is not None and evidence.dataset.splits:
        return _no_split(evidence.dataset)
    if split is None:
        return not_run(CAUSE, why_absent(evidence, part))
    if split.instances == 0:
        return _empty(split.images, split.source)
    files = evidence.dataset.same_images if evidence.dataset is not None else None
    different = files.distinct.get("val") if files is not None else None
    if different is not None and different < LIMITS.distinct:
        return _copies(different, split, why_absent(evidence, part))
    return inconclusive(
        CAUSE,
        f"The validation split has {split.instances} instances on {split.images} images, but no interval was measured. "
        + why_absent(evidence, part),
        n=split.instances,
    )


@dataclass(frozen=True)
class _Measured:
    """What was measured: `metric` by name with its interval, on `counted` (instances, or images) of each class."""

    metric: str
    counted: str
    interval: Interval | None
    total: int
    images: int
    distinct: int | None
    classes: tuple[tuple[str, int], ...]
    groups: int | None = None

    @property
    def too_narrow(self) -> bool:
        """Whether the images are so few that their bootstrap interval is narrower than it should be; a classifier's is
        Wilson's, which is not."""
        return self.counted == "instances" and self.independent is not None and self.independent < LIMITS.few

    @property
    def grouped(self) -> int | None:
        """The groups that the interval rests on, where some images belong together."""
        return self.groups if self.groups is not None and self.groups < self.images else None

    @property
    def independent(self) -> int | None:
        """The labelled images that differ, frames of one scene counted once."""
        known = [count for count in (self.distinct, self.grouped) if count is not None]
        return min(known, default=None)

    @property
    def few_differ(self) -> bool:
        """Whether the images are so few, or mostly copies, that their interval is hardly one."""
        return self.distinct is not None and self.distinct < LIMITS.distinct


def _of_boxes(evaluation: EvaluationFacts) -> _Measured:
    return _Measured(
        "mAP50-95",
        "instances",
        evaluation.ci95.get("map50_95"),
        evaluation.instances,
        evaluation.images,
        evaluation.distinct_images,
        tuple((entry.name, entry.instances) for entry in evaluation.per_class if entry.instances > 0),
        evaluation.groups,
    )


def _of_classes(classification: ClassificationFacts) -> _Measured:
    return _Measured(
        "top-1 accuracy",
        "images",
        classification.ci95.get("top1"),
        classification.images,
        classification.images,
        classification.distinct_images,
        tuple((entry.name, entry.images) for entry in classification.per_class if entry.images > 0),
    )


def _no_split(dataset: DatasetFacts) -> CheckResult:
    """data.yaml leads to no validation image."""
    notes = [note for note in dataset.notes if note.code in _NO_IMAGES and re.search(r"\bval\b", note.detail)]
    place = notes[0].place if notes else dataset.source
    why = notes[0].detail if notes else f"{dataset.source} names no validation images."
    others = ", ".join(f"{split.images} of the split {name}" for name, split in dataset.splits.items())
    return found(
        CAUSE,
        "major",
        "There is no validation image",
        f"{why} Found were {others} images. Without validation images nothing can be measured again, and none of the "
        "run's figures can be checked.",
        evidence=(Measurement("validation images", 0, threshold=LIMITS.distinct, n=0, source=place),),
        impact=Impact("unjudgeable"),
        remedies=(
            Remedy(
                "Hand in the validation images, or correct the path `val` of data.yaml",
                "It is taken relative to `path`, or to data.yaml itself.",
                reference="https://docs.ultralytics.com/datasets/detect/",
            ),
        ),
        n=0,
    )


def _copies(different: int, split: SplitFacts, why_not: str) -> CheckResult:
    """Files that are copies of each other, where no model was run."""
    return found(
        CAUSE,
        "major",
        f"Of {split.images} validation images, {different} {'differs' if different == 1 else 'differ'}"
        if split.images > different
        else f"The validation split has {split.images} images only",
        f"Copies of one image add nothing to what is known of the model. No interval was measured. {why_not}",
        evidence=(
            Measurement(
                "validation images that differ by their bytes",
                different,
                LIMITS.distinct,
                n=split.images,
                source=split.source,
            ),
        ),
        impact=Impact("unjudgeable"),
        remedies=REMEDIES,
        n=split.images,
    )


_NO_IMAGES: Final = ("data_split_missing", "data_no_images", "data_path_ambiguous", "list_unreadable")
"""notes of the reader on a split whose images it could not find"""


def _empty(images: int, source: str | None) -> CheckResult:
    return found(
        CAUSE,
        "critical",
        "The validation split has no labelled object",
        f"None of its {images} images has a usable label, so that no metric means anything.",
        evidence=(Measurement("instances", 0, threshold=LIMITS.instances, n=images, source=source),),
        impact=Impact("unjudgeable"),
        remedies=REMEDIES,
        effect=None,
        n=0,
    )


def _measured(measured: _Measured) -> CheckResult:
    if measured.total == 0:
        return _empty(measured.images, None)
    interval = measured.interval
    half_width = (interval[1] - interval[0]) / 2.0 if interval is not None else None
    thin = [name for name, count in measured.classes if count < LIMITS.instances]
    width = "" if half_width is None else f"{measured.metric} is known to +-{half_width:.3f} (95 %). "
    on = f" on {measured.images} images" if measured.counted != "images" else ""
    counts = f"{measured.total} {measured.counted}{on}. "
    if measured.grouped is not None:
        counts += (
            f"The images come in {measured.grouped} groups: copies, or frames of one scene, whose errors are alike. "
            "The interval is drawn over groups. "
        )
    if measured.few_differ:
        alone = "1 of them differs" if measured.distinct == 1 else f"{measured.distinct} of them differ"
        counts += f"Only {alone} by labels and detections: the others are copies, or hold no label. "
    elif measured.too_narrow:
        few = f"{measured.distinct} labelled images differ"
        if measured.independent != measured.distinct:
            few = f"{measured.independent} groups say something of their own"
        counts += (
            f"Only {few}: over so few, such an interval is narrower than it should be, and holds the true figure in "
            "about four of five cases. "
        )
    classes = f"{len(thin)} of {len(measured.classes)} classes have fewer than {LIMITS.instances} {measured.counted}."
    severity = _severity(measured, half_width, len(thin))
    if severity is None:
        if half_width is None:
            return inconclusive(CAUSE, counts + "No interval was measured. " + classes, n=measured.total)
        return passed(CAUSE, width + counts + classes, effect=half_width, ci95=interval, n=measured.total)
    evidence = [
        Measurement(measured.counted, measured.total, threshold=LIMITS.instances, n=measured.images),
        Measurement("classes that can't be judged", len(thin), n=len(measured.classes)),
    ]
    if measured.too_narrow or measured.few_differ:
        limit = LIMITS.distinct if measured.few_differ else LIMITS.few
        name = "labelled images that differ"
        evidence.append(Measurement(name, measured.distinct, threshold=limit, n=measured.images))
    if measured.grouped is not None:
        name = "groups of images that the interval rests on"
        evidence.append(Measurement(name, measured.grouped, threshold=LIMITS.few, n=measured.images))
    if half_width is not None:
        name = f"half width of {measured.metric}'s interval"
        evidence.insert(0, Measurement(name, round(half_width, 4), LIMITS.half_width, interval, measured.images))
    return found(
        CAUSE,
        severity,
        f"Of {measured.images} validation images, {measured.distinct} labelled ones differ"
        if measured.few_differ and measured.images > LIMITS.distinct
        else "The validation split is too small to judge the model"
        if severity == "major"
        else "The validation split is small: its figures are uncertain",
        width + counts + classes,
        evidence=tuple(evidence),
        impact=Impact("unjudgeable", None, None, "observational"),
        remedies=REMEDIES,
        classes=tuple(thin),
        effect=half_width,
        ci95=interval,
        n=measured.total,
    )


def _severity(measured: _Measured, half_width: float | None, thin: int) -> Severity | None:
    if measured.total < LIMITS.instances or measured.few_differ or (half_width or 0.0) > LIMITS.half_width_major:
        return "major"
    if (
        (half_width or 0.0) > LIMITS.half_width
        or measured.too_narrow
        or thin > LIMITS.classes_share * len(measured.classes)
    ):
        return "minor"
    return None


REMEDIES = (
    Remedy(
        "Collect a larger validation split",
        "The interval shrinks with the square root of the number of images; four times as many halve it.",
    ),
    Remedy(
        "Cross-validate",
        "Where no more images can be had: train on k splits and score each image once, by the model that didn't "
        "see it. "
        "Keep frames of one scene in one split.",
        code="from sklearn.model_selection import GroupKFold\n"
        "folds = GroupKFold(n_splits=5).split(images, groups=scene_of_image)\n",
    ),
)

CHECK = Check(
    cause=CAUSE,
    title="Size of the validation split",
    question=__doc__ or "",
    statistic="Half width of the 95 % interval of mAP50-95, by bootstrap over images, or over groups of images that "
    "belong together: copies, versions of one picture that an upload made, and images that follow each other in a "
    "series of file names and look alike as 1 of 1000 unrelated pairs does. Of a classifier Wilson's interval of top-1 "
    "accuracy; labelled images that differ, copies counted once; instances a class. Over few images that differ, and "
    "where no replicate differs, the interval is widened to Wilson's. Where the 20 images of each scene have their "
    "difficulty in common (intraclass correlation 0.54), 64 and 66 % of 200 intervals by image over 20 and 50 scenes "
    "hold the population's mAP, and 94 % of those by scene; over 50 and 100 independent images 93 to 95 % do "
    "(benchmarks/grouped_images.py).",
    thresholds=LIMITS,
    false_positives=(
        "Groups are found by copies, file names and looks. Images of one place, day or flight that neither follow each "
        "other by name nor look alike are taken for independent: the true interval is then wider. So are the scenes of "
        "a film of fewer than four scenes, of which too many pairs of frames look alike to tell.",
        "Images that happen to look alike and follow each other by name, about one of 50, are joined; that leaves "
        "fewer units to draw and changes no width.",
        "The images of a classifier are taken for independent, but for copies: no pass looks for their scenes.",
        "A mAP near 0 or 1 has a narrow interval at any size; the count of instances guards against it.",
        "Images of other objects may all have the same labels and be given the same confidence: they count as one.",
    ),
    references=(
        "Wilson, Probable inference, JASA 22, 1927; Brown, Cai and DasGupta, Statistical Science 16, 2001",
        "Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13",
        "Field and Welsh, Bootstrapping clustered data, Journal of the Royal Statistical Society B 69, 2007",
        "diagnostics.md A2(4): standard error of AP50 by number of instances",
    ),
    examine=examine,
)
