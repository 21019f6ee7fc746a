"""Do duplicates, near duplicates or frames of one scene stand in both splits, and what is mAP without them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import Interval, LeakageFacts
from runaudit.proportions import wilson_interval
from runaudit.runs.facts import SameImages

CAUSE: Final = "data_leakage"


@dataclass(frozen=True)
class Thresholds:
    inflation: float = threshold(
        0.02, "The report contract: 2 points of mAP50-95 are a major loss; here they are points that are not real."
    )
    distrusted_share: float = threshold(
        0.5,
        "Most of the metric is then measured on images that were seen. The public cases of leakage had 89 to 100 % "
        "(yolo.md C6, row 36).",
    )
    unmeasured_share: float = threshold(
        0.1,
        "Where the inflation can't be measured: leaked images with a mAP50-95 that is 0.2 higher than that of others, "
        "as memory of the training images gives it, then inflate the mean by 2 points.",
    )
    scene_share: float = threshold(
        0.1,
        "Validation images with a neighbouring frame in training. Random pairs reach the similarity in 1 of 1000 "
        "cases, "
        "so that neighbours in name alone seldom do.",
    )


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    leakage, files = evidence.leakage, same_images_of(evidence)
    if leakage is None:
        return by_bytes(evidence, files) if files is not None else not_run(CAUSE, _why_not_compared(evidence))
    copies = leakage.exact + leakage.near
    if copies:
        return _copies(evidence, leakage, files)
    scene = leakage.scene / leakage.images
    if scene >= LIMITS.scene_share:
        return _scenes(leakage)
    if leakage.compared < 2:
        return inconclusive(CAUSE, "Fewer than two training images could be read to compare with.", n=leakage.compared)
    return passed(
        CAUSE,
        f"None of {leakage.images} validation images has the bytes of one of {leakage.training_images} training "
        "images, "
        f"or looks like a copy of one of {leakage.compared} that were compared.",
        effect=0.0,
        ci95=leakage.ci95,
        n=leakage.images,
    )


def same_images_of(evidence: Evidence) -> SameImages | None:
    """What comparing the bytes of both splits gave; None where one of them is missing."""
    files = evidence.dataset.same_images if evidence.dataset is not None else None
    return files if files is not None and files.validation and files.training else None


def _why_not_compared(evidence: Evidence) -> str:
    return evidence.absent.get("leakage") or why_absent(evidence, "dataset" if evidence.dataset is None else "training")


def severity_of(share: float, inflation: float | None, ends: Interval | None) -> Severity:
    """By what the copies inflate; where that is not known, or only within wide limits, by how many they are.

    `inflation` is mAP50-95 less that without the copies, None where it was not measured. Where its interval leaves out
    2 points they matter little, however many they are: the figure without them is known, and is much the same. Where
    it lies above 0 and the inflation is of 2 points, and most images are copies, the figure is no measure of new
    images: critical.
    """
    most = share >= LIMITS.distrusted_share
    if inflation is None:
        return "critical" if most else "major" if share >= LIMITS.unmeasured_share else "minor"
    if ends is None or ends[1] < LIMITS.inflation:
        return "minor" if ends is not None else "major" if most else "minor"
    if ends[0] > 0 and inflation >= LIMITS.inflation:
        return "critical" if most else "major"
    return "major" if most else "minor"


def _copies(evidence: Evidence, leakage: LeakageFacts, files: SameImages | None) -> CheckResult:
    without = named(evidence, "without_leaked_images")
    copies = leakage.exact + leakage.near
    inflation = -without.difference if without is not None else None
    ends = (-without.ci95[1], -without.ci95[0]) if without is not None and without.ci95 is not None else None
    title, why, remedies = told(evidence, files, copies, leakage.images)
    return found(
        CAUSE,
        severity_of(leakage.share, inflation, ends),
        title,
        f"{why}{leakage.exact} have the same bytes as a training image, {leakage.near} show the same picture with the "
        f"same labels, encoded again, resized or mirrored. {_consequence(evidence, inflation, ends)} Bytes were "
        f"compared with all {leakage.training_images} training images, what they show with {leakage.compared} of them.",
        evidence=(
            Measurement(
                "share of validation images that stand in training",
                round(leakage.share, 4),
                LIMITS.distrusted_share,
                leakage.ci95,
                leakage.images,
            ),
            *(
                (
                    Measurement("inflation of mAP50-95", round(inflation, 4), LIMITS.inflation, ends, leakage.images),
                    Measurement(
                        "mAP50-95 without them", round(without.after, 4), round(without.before, 4), None, without.images
                    ),
                )
                if without is not None and inflation is not None
                else ()
            ),
            *(
                Measurement(f"{pair.kind} copy", pair.training_image, source=pair.image, n=1)
                for pair in leakage.pairs[:3]
            ),
        ),
        impact=Impact("inflates", max(0.0, inflation), ends, "intervention")
        if inflation is not None
        else Impact("unjudgeable"),
        remedies=remedies,
        images=leakage.leaked,
        effect=leakage.share,
        ci95=leakage.ci95,
        n=leakage.images,
    )


def _consequence(evidence: Evidence, inflation: float | None, ends: Interval | None) -> str:
    if inflation is None:
        why = evidence.absent.get("intervention without_leaked_images")
        return (
            f"mAP without them was not measured. {why}"
            if why
            else ("Too few validation images are left to measure mAP without them.")
        )
    said = f"Without them mAP50-95 changes by {-inflation:+.3f}"
    if ends is None:
        return f"{said}; how sure that is was not measured."
    if ends[1] < LIMITS.inflation:
        return f"{said}, so that they inflate it little, by {ends[1]:.3f} at most."
    if ends[0] > 0 and inflation >= LIMITS.inflation:
        return f"{said}, so that much of it is not real."
    return f"{said}; on so few images an inflation of up to {ends[1]:.3f} can't be excluded."


def by_bytes(evidence: Evidence, files: SameImages) -> CheckResult:
    """What the bytes of the files tell, where no model was run that could say what the copies cost."""
    share, ends = files.shared / files.validation, wilson_interval(files.shared, files.validation)
    part = "classification" if evidence.run.task == "classify" else "training"
    measured = evidence.classification is not None
    why_not = "" if measured else f" {evidence.absent.get('leakage') or why_absent(evidence, part)}"
    if not files.shared:
        return inconclusive(
            CAUSE,
            f"None of {files.validation} validation images has the bytes of one of {files.training} training images. "
            f"Copies that were encoded again, and frames of one scene, were not looked for.{why_not}",
            effect=0.0,
            ci95=ends,
            n=files.validation,
        )
    title, why, remedies = told(evidence, files, files.shared, files.validation)
    return found(
        CAUSE,
        severity_of(share, None, None),
        title,
        f"{why}{files.shared} have the same bytes as a training image. What they inflate was not measured, and copies "
        f"that were encoded again were not looked for.{why_not}",
        evidence=(
            Measurement(
                "share of validation images with the bytes of a training image",
                round(share, 4),
                LIMITS.distrusted_share,
                ends,
                files.validation,
            ),
            *(Measurement("exact copy", training, source=image, n=1) for image, training in files.pairs[:3]),
        ),
        impact=Impact("unjudgeable"),
        remedies=remedies,
        images=files.named,
        effect=share,
        ci95=ends,
        n=files.validation,
    )


def told(evidence: Evidence, files: SameImages | None, copies: int, images: int) -> tuple[str, str, tuple[Remedy, ...]]:
    """Title, first words and remedies: files that stand in both splits are no copies, but a split that was not made."""
    splits = evidence.dataset.splits if evidence.dataset is not None else {}
    if files is None or not files.same_file or 2 * files.same_file < copies or not {"val", "train"} <= splits.keys():
        return f"{copies} of {images} validation images stand in training too", "", REMEDIES
    val, train = splits["val"].source, splits["train"].source
    if files.same_file == files.validation:
        whole = files.validation == files.training
        title = f"Validation is done on the training images: `val` ({val}) points to " + (
            "the same images as `train`" if whole else f"{files.validation} of the images of `train`"
        )
        why = f"`val` ({val}) and `train` ({train}) lead to the very same files: there is no validation split. "
    else:
        title = f"{files.same_file} of {images} validation images are the very files of the training split"
        why = f"`val` ({val}) and `train` ({train}) overlap: both lead to {files.same_file} files. "
    return title, why, (SPLIT_REMEDY, RETRAIN_REMEDY)


def _scenes(leakage: LeakageFacts) -> CheckResult:
    share = leakage.scene / leakage.images
    return found(
        CAUSE,
        "minor",
        f"{leakage.scene} of {leakage.images} validation images show a scene that training shows too",
        "They are neighbouring frames of training images, by name and by what they show, or the same view with other "
        "objects. If the model is meant for this very scene, that is as it should be; else mAP says little of others.",
        evidence=(
            Measurement(
                "share of validation images of a scene in training",
                round(share, 4),
                LIMITS.scene_share,
                n=leakage.images,
            ),
            Measurement("similarity of neighbouring frames, at least", leakage.scene_similarity),
        ),
        remedies=REMEDIES,
        images=tuple(pair.image for pair in leakage.pairs if pair.kind == "scene"),
        effect=share,
        n=leakage.images,
    )


SPLIT_REMEDY: Final = Remedy(
    "Split the images into training and validation, and name both in data.yaml",
    "Draw whole groups (a film, place or day), not single images; `train` and `val` must have no file in common.",
    code="""\
from pathlib import Path
from sklearn.model_selection import GroupShuffleSplit

files = sorted(Path("images").rglob("*.jpg"))
groups = [scene_of(file) for file in files]  # the film, place or day that an image comes from
train, val = next(GroupShuffleSplit(test_size=0.2, random_state=0).split(files, groups=groups))
for name, rows in (("train.txt", train), ("val.txt", val)):
    Path(name).write_text("".join(f"./{files[row]}\\n" for row in rows))
# data.yaml:  train: train.txt   val: val.txt
""",
    reference="https://docs.ultralytics.com/datasets/detect/",
)
RETRAIN_REMEDY: Final = Remedy(
    "Train again on the new training split",
    "This model has seen all of these images: no part of them can tell what it does on new ones. Until then only "
    "images that were never used say something.",
)
REMEDIES = (
    Remedy(
        "Split again, by group",
        "Images of one film, place or day belong into one split. Copies of a validation image are taken out of "
        "training.",
        code="""\
from sklearn.model_selection import GroupShuffleSplit

groups = [scene_of(file) for file in files]  # the film, place or day that an image comes from
train, val = next(GroupShuffleSplit(test_size=0.2, random_state=0).split(files, groups=groups))
""",
        reference="https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.GroupShuffleSplit.html",
    ),
    Remedy(
        "Take the copies out of validation and validate again",
        "The model can stay; only its figure changes. The affected images are listed.",
    ),
)

CHECK = Check(
    cause=CAUSE,
    title="Data leakage",
    question=__doc__ or "",
    statistic=(
        "The share of validation images that have the bytes of a training image, or are a copy of one: cosine hashes "
        "within 10 of 64 bits, upright or mirrored; thumbnails in colour, less the mean of all images, that "
        "correlate by "
        "0.9; and labels of which half agree by an IoU of 0.5. Neighbouring frames by name that are more alike than "
        "999 of "
        "1000 random pairs count as one scene. The cost is mAP50-95 again without the copies, with a paired bootstrap "
        "interval. Files are compared by their bytes also where no model can be run, and of classifiers; what copies "
        "cost is then not known. Severity follows the cost: minor where its interval leaves out 2 points, else major "
        "where the cost is sure or most images are copies, critical where both hold, or where most are copies and the "
        "cost can't be measured."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A camera that stands still: what all images share is taken out before they are compared, and copies must "
        "carry "
        "the same labels.",
        "Flat and all but black images have nothing to be known by; only equal bytes tell them.",
        "At depth `standard` 2000 training images are compared by what they show; copies of others are missed.",
    ),
    references=(
        "Zauner, Implementation and benchmarking of perceptual image hash functions, 2010",
        "Barz and Denzler, Do we train on test data? Purging CIFAR of near-duplicates, J. Imaging 6, 2020",
    ),
    examine=examine,
)
