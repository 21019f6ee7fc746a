"""Is mAP low on training images too, after convergence and at a sound learning rate?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics import insufficient_epochs, learning_rate, numerical_divergence
from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Measurement, Remedy
from runaudit.diagnostics.fitted import LIMITS as FITTED
from runaudit.diagnostics.fitted import Thresholds as FittedThresholds
from runaudit.diagnostics.fitted import far_too_small, fits_training_images
from runaudit.diagnostics.history import number
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.origin import origin_of
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import counted
from runaudit.evaluation.facts import EvaluationFacts, Interval

CAUSE: Final = "underfitting"


@dataclass(frozen=True)
class Thresholds:
    gap: float = threshold(
        0.1, "diagnostics.md B4: a gap to validation beyond this is overfitting, whatever training images reach."
    )
    fitted: FittedThresholds = FITTED


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    training = evidence.training
    if training is None:
        return not_run(CAUSE, why_absent(evidence, "training"))
    value, ends = training.metrics.map50, training.ci95.get("map50")
    if ends is None or training.instances < FITTED.instances:
        return inconclusive(
            CAUSE,
            f"The {training.images} training images that were validated hold {training.instances} objects; "
            f"{FITTED.instances} are needed.",
            effect=value,
            ci95=ends,
            n=training.images,
        )
    if value >= FITTED.low:
        return passed(
            CAUSE,
            f"mAP50 is {value:.3f} on {training.images} training images: the model can fit what it is trained on.",
            effect=value,
            ci95=ends,
            n=training.images,
        )
    gap = named(evidence, "training_images")
    if gap is not None and gap.difference > LIMITS.gap:
        return passed(
            CAUSE,
            f"mAP50 is only {value:.3f} on training images, but that is far above validation "
            f"({gap.difference:+.3f} of mAP50-95): the model lacks generality before it lacks capacity.",
            effect=value,
            ci95=ends,
            n=training.images,
        )
    epochs = insufficient_epochs.examine(evidence)
    excuse = _other_reason(evidence, training, epochs)
    if excuse is not None:
        return inconclusive(
            CAUSE,
            f"mAP50 is only {value:.3f} on training images, but {excuse}",
            effect=value,
            ci95=ends,
            n=training.images,
        )
    return _finding(evidence, training, epochs, ends)


def _other_reason(evidence: Evidence, training: EvaluationFacts, epochs: CheckResult) -> str | None:
    """Why a low mAP on training images needs no lack of capacity to explain it; None if nothing else does."""
    if evidence.run.curves is None:
        return "without curves nobody knows whether training had converged."
    for check, words in (
        (numerical_divergence, "training diverged"),
        (learning_rate, "the learning rate was not sound"),
    ):
        result = check.examine(evidence)
        if result.outcome == "failed":
            return f"{words}: {result.reason}."
    return _not_converged(evidence, training, epochs)


def _not_converged(evidence: Evidence, training: EvaluationFacts, epochs: CheckResult) -> str | None:
    """Whether more epochs may be what the model lacks, a sentence; None if not.

    A gain that is only projected is no reason against a network that is far too small, nor where its largest end would
    not lift mAP on training images to where it counts as fitting. From random weights that end was not measured.
    """
    if epochs.finding is None:
        known = epochs.outcome == "passed"
        return None if known else f"whether training had converged can't be told: {epochs.reason}"
    if epochs.finding.basis == "measured":
        return f"training had not converged: {epochs.reason}." if epochs.outcome == "failed" else None
    if far_too_small(evidence.run):
        return None
    most = epochs.finding.impact.ci95[1] if epochs.finding.impact.ci95 is not None else 1.0
    lacking = (FITTED.low / max(training.metrics.map50, 1e-6) - 1.0) * training.metrics.map50_95
    if origin_of(evidence.run).start != "scratch" and most < lacking:
        return None
    return f"training had not converged: {epochs.reason}."


def _finding(evidence: Evidence, training: EvaluationFacts, epochs: CheckResult, ends: Interval) -> CheckResult:
    value, small, checkpoint = training.metrics.map50, far_too_small(evidence.run), evidence.run.checkpoint
    if small and epochs.finding is not None:
        why = (
            "The learning rate was sound, and validation is hardly worse, so that more data of the same kind are not "
            "what it lacks. More epochs would help as well, but the network is far smaller than any stock detector."
        )
    else:
        why = (
            "It had converged, at a sound learning rate, and validation is hardly worse, so that neither more epochs "
            "nor more data of the same kind are what it lacks."
            if epochs.finding is None
            else "The learning rate was sound, validation is hardly worse, and what more epochs are projected to add "
            "doesn't make it fit: neither they nor more data of the same kind are what it lacks first."
        )
    size = (
        (Measurement("parameters", checkpoint.parameters, FITTED.parameters, source=checkpoint.source),)
        if small and checkpoint is not None
        else ()
    )
    frozen = _frozen(evidence)
    was = "was" if frozen == 1 else "were"
    held = f" {counted(frozen, 'layer')} {was} frozen, and learnt nothing of these images." if frozen else ""
    return found(
        CAUSE,
        "minor" if fits_training_images(evidence) else "major",
        f"The model fits not even its training images: mAP50 is {value:.3f} on them",
        f"{training.images} images that the model was trained on were validated as the validation images are. {why}"
        f"{held}",
        evidence=(
            Measurement("mAP50 on training images", round(value, 4), FITTED.low, ends, training.images),
            Measurement(
                "mAP50-95 on training images",
                round(training.metrics.map50_95, 4),
                None,
                training.ci95.get("map50_95"),
                training.images,
            ),
            *size,
        ),
        remedies=_remedies(evidence),
        effect=value,
        ci95=ends,
        n=training.images,
    )


def _frozen(evidence: Evidence) -> int:
    """How many layers were not trained, 0 for none. A list names them, but a list of one in YOLOv5, which counts them
    (YOLOv5 train.py, ultralytics engine/trainer.py)."""
    frozen = evidence.run.argument("freeze")
    if isinstance(frozen, list):
        one = frozen[0] if len(frozen) == 1 and evidence.run.framework == "yolov5" else None
        return len(frozen) if one is None else _frozen_count(one)
    return _frozen_count(frozen)


def _frozen_count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    size = int(number(evidence.run.argument("imgsz"), 640.0))
    epochs = evidence.run.epochs_planned or 100
    finer_stride = Remedy(
        "Use a P2 head",
        "A stride of 4 for objects of less than 16 pixels.",
        code='model = YOLO("yolov8s-p2.yaml").load("yolov8s.pt")\n',
        reference="https://github.com/ultralytics/ultralytics/tree/main/ultralytics/cfg/models/v8",
    )
    thawed = Remedy(
        "Train all layers",
        "What is frozen can't learn the images. Frozen layers save memory, and hold a small data set's overfitting.",
        {"freeze": None},
    )
    return (
        *((thawed,) if _frozen(evidence) else ()),
        Remedy(
            "Take a deeper or wider model",
            "The next size of the same family (n, s, m, l, x) has two to four times the parameters.",
        ),
        Remedy(
            f"Train and validate at imgsz={size * 3 // 2 // 32 * 32}",
            "Small objects get more cells. See model_architecture for how large the objects are at this imgsz.",
            {"imgsz": size * 3 // 2 // 32 * 32},
        ),
        *((finer_stride,) if evidence.run.task == "detect" else ()),
        Remedy(
            f"Train for {2 * epochs} epochs with a fresh schedule",
            "Only if the curves were still rising before the rate decayed.",
            {"epochs": 2 * epochs, "resume": False},
        ),
    )


CHECK = Check(
    cause=CAUSE,
    title="Underfitting",
    question=__doc__ or "",
    statistic=(
        "mAP50 on a random part of the training images, validated as the validation images are, with its bootstrap "
        "interval: minor where the value is low, major where the interval is. It only counts where the gap to "
        "validation is small and neither divergence, learning rate nor too few epochs explain it. A projected gain of "
        "more epochs explains it only if it would make the model fit, and not where the network has a sixteenth of the "
        "parameters of the smallest stock detectors."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Wrong labels in training: a model that is right counts as wrong. annotation_errors looks at them.",
        "Hard data: objects that people can't find either.",
        "Random weights and few epochs: a network that is not small is not named before it had the epochs.",
    ),
    references=("Goodfellow, Bengio and Courville, Deep Learning, 2016, chapter 11.3",),
    examine=examine,
)
