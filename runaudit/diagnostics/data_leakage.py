"""Do duplicates, near duplicates or frames of one scene stand in both splits, and what is mAP without them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import InterventionFacts, LeakageFacts

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
    scene_share: float = threshold(
        0.1,
        "Validation images with a neighbouring frame in training. Random pairs reach the similarity in 1 of 1000 "
        "cases, "
        "so that neighbours in name alone seldom do.",
    )


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    leakage = evidence.leakage
    if leakage is None:
        return not_run(CAUSE, evidence.absent.get("leakage") or why_absent(evidence, "training"))
    copies = leakage.exact + leakage.near
    if copies:
        return _copies(leakage, named(evidence, "without_leaked_images"))
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


def _copies(leakage: LeakageFacts, without: InterventionFacts | None) -> CheckResult:
    copies = leakage.exact + leakage.near
    inflation = -without.difference if without is not None else None
    ends = (-without.ci95[1], -without.ci95[0]) if without is not None and without.ci95 is not None else None
    # Without labelled images beyond the leaked ones, nothing but seen images stands behind the metric.
    distrusted = leakage.share >= LIMITS.distrusted_share or without is None
    inflated = inflation is not None and inflation >= LIMITS.inflation and ends is not None and ends[0] > 0
    severity: Severity = "critical" if distrusted else "major" if inflated else "minor"
    if inflation is None:
        consequence = "Too few validation images are left to measure mAP without them."
    elif inflated:
        consequence = f"Without them mAP50-95 is {-inflation:+.3f}, so that much of it is not real."
    else:
        consequence = f"Without them mAP50-95 changes by {-inflation:+.3f}, so that they inflate it little."
    return found(
        CAUSE,
        severity,
        f"{copies} of {leakage.images} validation images stand in training too",
        f"{leakage.exact} have the same bytes as a training image, {leakage.near} show the same picture with the same "
        f"labels, encoded again, resized or mirrored. {consequence} Bytes were compared with all "
        f"{leakage.training_images} training images, what they show with {leakage.compared} of them.",
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
                    Measurement(
                        "mAP50-95 without them", round(without.after, 4), round(without.before, 4), None, without.images
                    ),
                )
                if without is not None
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
        remedies=REMEDIES,
        images=leakage.leaked,
        effect=leakage.share,
        ci95=leakage.ci95,
        n=leakage.images,
    )


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
        "interval."
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
