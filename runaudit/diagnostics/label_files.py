"""Are labels missing, unreadable, out of bounds, of mixed types, elsewhere than the path rule says, or dropped?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.lost_images import LIMITS as LOST
from runaudit.diagnostics.lost_images import Thresholds as LostThresholds
from runaudit.diagnostics.lost_images import severity_of_loss
from runaudit.diagnostics.ranking import SEVERITIES
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import DatasetFacts, Split, SplitFacts, Task

CAUSE: Final = "label_files"


@dataclass(frozen=True)
class Thresholds:
    lost: LostThresholds = LOST
    stray: float = threshold(
        0.01,
        "Share of a split's images with a label file elsewhere: fewer may be other files of the same name.",
    )
    background: float = threshold(
        0.1,
        "Share of images without a label file. YOLOv5's tips advise 0 to 10 % background (yolo.md E); a split of 50 "
        "unlabelled images in 253 was trained to a mAP of 0.08 (yolo.md C2, 13). Real background can be more, so that "
        "this alone is never more than minor.",
    )
    contrast: float = threshold(
        0.5,
        "Difference of the share without a label file between train and val. With 20 images a split its standard "
        "error is at most 0.16, so that a random split makes such a difference once in a thousand times.",
    )
    contrast_images: int = threshold(20, "Images that each split needs for the contrast; see there.")
    whole: float = threshold(
        0.9,
        "Share of boxes that take 99 % of the width and height of their image. Data sets of detection have a few: 4 "
        "of 1,882 boxes of COCO128 in the corpus.",
    )
    whole_boxes: int = threshold(20, "Boxes that are needed for that: of a handful, all may be close-ups.")
    overhanging: float = threshold(
        0.01,
        "Share of boxes that reach beyond their image by more than a hundredth: none of 9,853 boxes of eight right "
        "sets (five of the corpus, three of the benchmark).",
    )
    corners: float = threshold(
        0.2,
        "The same share, from which the numbers are no centre and size at all: 0.37 to 0.82 of the boxes of these sets "
        "written as two corners, 0.02 to 0.37 as upper left corner and size.",
    )
    zero_area: float = threshold(
        0.005, "Share of boxes without area: none of them can ever be matched, so that recall loses as much."
    )


LIMITS = Thresholds()
_OUTLINES: Final[dict[Task, str]] = {"segment": "outlines", "obb": "corners"}
"""what the labels of a task have to hold beside a class"""

_WORDS: Final = {
    "label_not_a_number": "something that is no number",
    "label_columns": "a wrong number of columns",
    "label_mixed": "boxes and polygons in one file",
    "label_out_of_bounds": "coordinates beyond the image",
    "label_negative": "negative values",
    "label_class_not_integer": "a class that is no whole number",
    "label_class_unknown": "a class id that data.yaml has no name for",
    "label_unreadable": "a file that can't be opened",
    "label_too_large": "a file far too large",
}


@dataclass(frozen=True)
class _Problem:
    """One thing wrong with one split; `share` is the part of its images or boxes that it affects."""

    severity: Severity
    split: Split
    share: float
    images: int
    title: str
    explanation: str
    evidence: tuple[Measurement, ...]
    remedies: tuple[Remedy, ...]
    unjudgeable: bool = False


def examine(evidence: Evidence) -> CheckResult:
    dataset = evidence.dataset
    if evidence.run.task == "classify":
        return not_run(CAUSE, "A classification data set has folders, not label files.")
    if dataset is None:
        return not_run(CAUSE, why_absent(evidence, "dataset"))
    if not dataset.splits or not any(_total(split) for split in dataset.splits.values()):
        return inconclusive(CAUSE, "No split has an image that can be read.")
    problems = sorted(
        (
            problem
            for name, split in dataset.splits.items()
            for problem in (*_problems(dataset, name, split), *_shapes(evidence.run.task, name, split))
        ),
        key=lambda problem: (SEVERITIES.index(problem.severity), -problem.share),
    )
    return _finding(problems) if problems else _sound(dataset)


def _total(split: SplitFacts) -> int:
    """Images with a readable header, those that are dropped because of their label included."""
    return split.images + _dropped(split)


def _dropped(split: SplitFacts) -> int:
    return sum(count for code, count in split.rejected_by.items() if code.startswith("label"))


def _problems(dataset: DatasetFacts, name: Split, split: SplitFacts) -> Iterator[_Problem]:
    total = _total(split)
    if not total:
        return
    if split.labelled == 0:
        yield _unlabelled(name, split, total)
        return
    if split.stray_labels >= LIMITS.stray * total:
        yield _stray(name, split, total)
    elif (other := _contrast(dataset, name, split)) is not None:
        yield _lopsided(name, split, *other)
    elif split.missing_labels > LIMITS.background * total:
        yield _background(name, split, total)
    if _dropped(split):
        yield _invalid(name, split, total)
    if split.zero_area_rows >= LIMITS.zero_area * max(1, split.instances) and split.zero_area_rows:
        yield _flat(name, split)


def _shapes(task: Task, name: Split, split: SplitFacts) -> Iterator[_Problem]:
    """Rows that have not the shape that the task needs, or none that says where an object is."""
    if split.rows_without_outline and split.instances and task in _OUTLINES:
        yield _without_outline(task, name, split)
    over = split.overhanging_boxes / max(1, split.instances)
    if split.instances >= LIMITS.whole_boxes and over >= LIMITS.overhanging:
        yield _overhanging(name, split, over)
    whole = split.whole_image_boxes / max(1, split.instances)
    if split.instances >= LIMITS.whole_boxes and whole >= LIMITS.whole:
        yield _whole_image(name, split, whole)


def _without_outline(task: Task, name: Split, split: SplitFacts) -> _Problem:
    rows = split.rows_without_outline
    every = rows >= split.instances
    said = "are boxes only" if every else "are boxes, the others outlines"
    severity: Severity = "minor" if name == "test" else "critical" if every else "major"
    return _Problem(
        severity=severity,
        split=name,
        share=min(1.0, rows / split.instances),
        images=split.images,
        title=f"{rows} of {split.instances} {name} labels {said}, where the task {task} needs {_OUTLINES[task]}",
        explanation="From a box alone no outline can be learnt or measured. Where some labels of a split have one and "
        "some not, ultralytics drops the outlines of all of them, with a warning in the console only.",
        evidence=(
            Measurement(
                f"share of {name} labels without an outline",
                round(min(1.0, rows / split.instances), 4),
                0.0,
                n=split.instances,
                source=split.source,
            ),
        ),
        remedies=(
            Remedy(
                f"Export the labels with {_OUTLINES[task]}, or train the task detect",
                "A row of the task segment is `class x1 y1 x2 y2 x3 y3 ...`, of the task obb `class` and four corners, "
                "divided by the image's width and height.",
                code="yolo detect train data=data.yaml",
                reference="https://docs.ultralytics.com/datasets/segment/",
            ),
        ),
        unjudgeable=name != "train",
    )


def _overhanging(name: Split, split: SplitFacts, share: float) -> _Problem:
    guess = (
        "Two corners (x1 y1 x2 y2), or the upper left corner and the size, look like that when they are read as centre "
        "and size: the boxes then lie beside their objects, and a model that is trained on them learns just that."
        if share >= LIMITS.corners
        else "An annotation tool cuts boxes to the image; these were computed, by another rule or with a slip."
    )
    return _Problem(
        severity="minor" if name == "test" or share < LIMITS.corners else "major",
        split=name,
        share=share,
        images=split.images,
        title=f"{split.overhanging_boxes} of {split.instances} {name} boxes reach beyond their image",
        explanation=f"{guess} No framework says so: it only looks at each number by itself.",
        evidence=(
            Measurement(
                f"share of {name} boxes that reach beyond their image",
                round(share, 4),
                LIMITS.corners if share >= LIMITS.corners else LIMITS.overhanging,
                n=split.instances,
                source=split.source,
            ),
        ),
        remedies=(
            Remedy(
                "Draw some labels on their images, and write them as class, centre and size",
                "If the boxes fit once their numbers are taken for corners, convert all of them; then train again.",
                code="# x1, y1, x2, y2 to what YOLO reads, all as shares of width and height\n"
                "x, y, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1\n",
                reference="https://docs.ultralytics.com/datasets/detect/",
            ),
        ),
    )


def _whole_image(name: Split, split: SplitFacts, share: float) -> _Problem:
    return _Problem(
        severity="minor" if name == "test" else "major",
        split=name,
        share=share,
        images=split.images,
        title=f"{split.whole_image_boxes} of {split.instances} {name} boxes are the whole image",
        explanation="Such a box says what is on the image and not where: the model learns to answer with the frame, "
        "and mAP only tells whether it knows the class. Labels of a classification set, or an export without the "
        "boxes, look like that.",
        evidence=(
            Measurement(
                f"share of {name} boxes of the whole image",
                round(share, 4),
                LIMITS.whole,
                n=split.instances,
                source=split.source,
            ),
        ),
        remedies=(
            Remedy(
                "Draw boxes around the objects, or train a classifier",
                "If each image really shows one object from edge to edge, the task classify answers the same question "
                "with less.",
                code="yolo classify train data=folder_of_class_folders",
                reference="https://docs.ultralytics.com/tasks/classify/",
            ),
        ),
    )


def _unlabelled(name: Split, split: SplitFacts, total: int) -> _Problem:
    dropped, empty = _dropped(split), split.background - split.missing_labels
    reasons = [
        f"{split.missing_labels} have no label file" if split.missing_labels else "",
        f"{empty} have an empty one" if empty > 0 else "",
        f"{dropped} are dropped because of theirs ({_kinds(split)})" if dropped else "",
    ]
    where = f" Files of their names stand in {_folders(split)}, where the framework doesn't look." * bool(
        split.stray_labels
    )
    consequence = "training has nothing to learn from" if name == "train" else "no metric of it means anything"
    return _Problem(
        severity="minor" if name == "test" else "critical",
        split=name,
        share=1.0,
        images=total,
        title=f"No image of the {name} split has a usable label",
        explanation=f"Of {total} images {', '.join(reason for reason in reasons if reason)}: {consequence}.{where}",
        evidence=(
            Measurement(f"labelled images, {name}", 0, n=total, source=split.source),
            Measurement("images without a label file", split.missing_labels, n=total, source=split.source),
            *_stray_evidence(split, total),
            *_invalid_evidence(split, total),
        ),
        remedies=(
            *((_PATH_RULE,) if split.missing_labels or split.stray_labels else ()),
            *((_CORRECT,) if dropped else ()),
            *((_EXPORT,) if empty > 0 else ()),
        ),
        unjudgeable=name != "train",
    )


def _stray(name: Split, split: SplitFacts, total: int) -> _Problem:
    share = split.stray_labels / total
    return _Problem(
        severity=severity_of_loss(share),
        split=name,
        share=share,
        images=total,
        title=f"Labels of {split.stray_labels} {name} images stand where the framework doesn't look",
        explanation=f"It takes these images for background. Files of their names are in {_folders(split)}; the "
        "framework replaces the last `/images/` of an image's path by `/labels/`, and looks beside the image if there "
        "is none.",
        evidence=_stray_evidence(split, total),
        remedies=(_PATH_RULE,),
    )


def _lopsided(name: Split, split: SplitFacts, other: Split, other_share: float) -> _Problem:
    share = split.missing_labels / _total(split)
    return _Problem(
        severity="major",
        split=name,
        share=share,
        images=_total(split),
        title=f"{split.missing_labels} of {_total(split)} {name} images have no label file, hardly any {other} image",
        explanation="Both splits of a data set have about the same share of background. One that lacks most of its "
        "label files was probably put together without them; its objects then count as background.",
        evidence=(
            _missing_evidence(split, LIMITS.contrast),
            Measurement(f"share without a label file, {other}", round(other_share, 4)),
        ),
        remedies=(_FIND, _EMPTY),
    )


def _contrast(dataset: DatasetFacts, name: Split, split: SplitFacts) -> tuple[Split, float] | None:
    """The other one of train and val, and its share without a label file, if this split's is far higher."""
    other: Split = "val" if name == "train" else "train"
    facts = dataset.splits.get(other)
    if facts is None or name == "test" or min(_total(split), _total(facts)) < LIMITS.contrast_images:
        return None
    share = facts.missing_labels / _total(facts)
    return (other, share) if split.missing_labels / _total(split) - share >= LIMITS.contrast else None


def _background(name: Split, split: SplitFacts, total: int) -> _Problem:
    marked = split.background - split.missing_labels
    habit = (
        f" {marked} other images are marked as background by an empty file, so that a missing file is not how this "
        "data set marks it."
        if marked > 0
        else ""
    )
    return _Problem(
        severity="minor",
        split=name,
        share=split.missing_labels / total,
        images=total,
        title=f"{split.missing_labels} of {total} {name} images have no label file and count as background",
        explanation="From the files alone, background can't be told from labels that were lost: if there are objects "
        f"on these images, the model is taught to overlook them, or is blamed for finding them.{habit}",
        evidence=(_missing_evidence(split, LIMITS.background),),
        remedies=(_EMPTY, _FIND),
    )


def _invalid(name: Split, split: SplitFacts, total: int) -> _Problem:
    dropped = _dropped(split)
    return _Problem(
        severity=severity_of_loss(dropped / total),
        split=name,
        share=dropped / total,
        images=total,
        title=f"{dropped} of {total} {name} images are dropped because of their labels",
        explanation=f"Their label files hold {_kinds(split)}. ultralytics drops such an image with all its boxes, and "
        "says so only in the console; YOLOv5 does the same except for class ids, at which it stops.",
        evidence=_invalid_evidence(split, total),
        remedies=(_CORRECT,),
    )


def _flat(name: Split, split: SplitFacts) -> _Problem:
    share = split.zero_area_rows / max(1, split.instances)
    return _Problem(
        severity="major" if share >= LOST.at_stake else "minor",
        split=name,
        share=min(1.0, share),
        images=split.images,
        title=f"{split.zero_area_rows} boxes of the {name} split have no area",
        explanation="No prediction can ever match such a box; each counts as an object that was missed.",
        evidence=(
            Measurement(
                "share of boxes without area", round(share, 4), LIMITS.zero_area, n=split.instances, source=split.source
            ),
        ),
        remedies=(Remedy("Remove the boxes without area", "They are mostly clicks by mistake."),),
    )


def _kinds(split: SplitFacts) -> str:
    kinds = sorted(((n, code) for code, n in split.rejected_by.items() if code.startswith("label")), reverse=True)
    return ", ".join(f"{_WORDS.get(code, code)} ({count})" for count, code in kinds)


def _folders(split: SplitFacts) -> str:
    return ", ".join(split.stray_folders[:3]) or "other folders"


def _missing_evidence(split: SplitFacts, limit: float) -> Measurement:
    share = round(split.missing_labels / max(1, _total(split)), 4)
    return Measurement("share of images without a label file", share, limit, n=_total(split), source=split.source)


def _stray_evidence(split: SplitFacts, total: int) -> tuple[Measurement, ...]:
    if not split.stray_labels:
        return ()
    share = round(split.stray_labels / total, 4)
    return (
        Measurement("share of images with a label file elsewhere", share, LOST.major, n=total, source=split.source),
        *(Measurement("labels found in", folder) for folder in split.stray_folders),
    )


def _invalid_evidence(split: SplitFacts, total: int) -> tuple[Measurement, ...]:
    if not _dropped(split):
        return ()
    places = {note.code: note.place for note in reversed(split.notes) if note.place is not None}
    return (
        Measurement("share of images dropped", round(_dropped(split) / total, 4), LOST.major, n=total),
        *(
            Measurement(code, count, n=total, source=places.get(code, split.source))
            for code, count in sorted(split.rejected_by.items())
            if code.startswith("label")
        ),
    )


def _finding(problems: list[_Problem]) -> CheckResult:
    """All problems in one finding, headed by the gravest."""
    first = problems[0]
    more = "".join(f" Also: {problem.title}." for problem in problems[1:])
    remedies = tuple({remedy.title: remedy for problem in problems for remedy in problem.remedies}.values())
    return found(
        CAUSE,
        first.severity,
        first.title,
        first.explanation + more,
        evidence=tuple(item for problem in problems for item in problem.evidence),
        impact=Impact("unjudgeable" if first.unjudgeable else "lowers", grade="observational"),
        remedies=remedies,
        effect=first.share,
        n=first.images,
    )


def _sound(dataset: DatasetFacts) -> CheckResult:
    splits = dataset.splits.items()
    images = sum(split.images for _, split in splits)
    background = ", ".join(
        f"{split.background} of {split.images} {name} images are background" for name, split in splits
    )
    duplicates = sum(split.duplicate_rows for _, split in splits)
    caches = sorted({cache for _, split in splits for cache in split.caches})
    extra = f" {duplicates} repeated rows count once, as in the framework." if duplicates else ""
    extra += f" {caches[0]} is a label cache; it was not opened, and may be stale." if caches else ""
    return passed(CAUSE, f"Every label file can be used; {background}.{extra}", effect=0.0, n=images)


_PATH_RULE = Remedy(
    "Put the label files where the framework looks",
    "For `.../images/val/a.jpg` it reads `.../labels/val/a.txt`: the folder must be called `images`, in lower case, "
    "and "
    "`labels` must stand beside it. Then delete the `.cache` files, so that labels are read again.",
    code="from pathlib import Path\n"
    "for image in Path('dataset/images').rglob('*.jpg'):\n"
    "    label = Path(str(image).replace('/images/', '/labels/')).with_suffix('.txt')\n"
    "    if not label.exists():\n"
    "        print('no label', image)\n",
    reference="https://docs.ultralytics.com/datasets/detect/",
)
_CORRECT = Remedy(
    "Correct the label rows that are named",
    "A row is `class x_center y_center width height`, the class from 0, the rest divided by the image's size. One "
    "wrong "
    "row costs the whole image. Export the labels again rather than clipping them where many are wrong.",
    reference="https://docs.ultralytics.com/datasets/detect/",
)
_EXPORT = Remedy(
    "Export the labels again",
    "The label files are there and hold nothing: the export ran without annotations, or they were emptied since. Look "
    "for the annotations where they were made; check that the task, the classes and the split were chosen.",
)
_EMPTY = Remedy(
    "Mark background with an empty label file",
    "Then a file that is missing is one that was lost, here and in the framework's own scan.",
)
_FIND = Remedy(
    "Look at some of the images without a label file",
    "If there are objects on them, export the labels again, or leave these images out of the split.",
)

CHECK = Check(
    cause=CAUSE,
    title="Label files",
    question=__doc__ or "",
    statistic=(
        "For each split: the share of images without a usable label, of those without a label file (against the other "
        "split's), of those whose label file stands elsewhere, and of those that ultralytics 8.4 drops because of a "
        "row; "
        "boxes without area, or beyond their image; labels without the outline that the task needs; boxes of "
        "the whole image. Label caches are named and never opened."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Real background without label files: at most minor, unless the other split has hardly any.",
        "Rows a little beyond the image: dropped by 8.0 to 8.3 and by YOLOv5, tolerated to 1 % by 8.4 and here.",
        "Files of the same names that belong to another data set in the same archive.",
        "An index or a README in text form is no label file: only names of images are looked for.",
    ),
    references=("yolo.md A5, C2, C4", "Hestness et al., Deep learning scaling is predictable, arXiv:1712.00409"),
    examine=examine,
)
