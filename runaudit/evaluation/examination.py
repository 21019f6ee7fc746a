"""Examines a checkpoint on its data: a validation pass, the same on a part of the training images, what both show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from runaudit.errors import DatasetError
from runaudit.evaluation.alone import alone
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.bootstrap import REPLICATES
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.comparison import compare
from runaudit.evaluation.evaluate import OnProgress, Subject, loaded_subject
from runaudit.evaluation.facts import EvaluationFacts, ExaminationFacts, InterventionFacts
from runaudit.evaluation.label_contrast import label_contrast
from runaudit.evaluation.label_facts import ContrastFacts
from runaudit.evaluation.label_review import LabelReview, review_labels
from runaudit.evaluation.labels import Labelled, too_crowded
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.probe import Probe, probe, why_not_probed
from runaudit.evaluation.reconcile import Canonical, Depth, Reported, reconcile
from runaudit.evaluation.selection import labelled_part, sampled
from runaudit.evaluation.single_precision import single_precision
from runaudit.evaluation.summary import Measured
from runaudit.evaluation.touching_boxes import TooCrowdedError
from runaudit.evaluation.validation_pass import PassSettings
from runaudit.runs.facts import ImageIndex, RunFacts

TRAINING_IMAGES: Final = {"standard": 300, "deep": 1000}
"""The most training images that are inferred, and never more than there are validation images. 300 images with one
object each give mAP50 a standard error of 0.03, 1000 of 0.016 (diagnostics.md A2(4)); B4 asks for 1000."""

Unreproduced = Callable[[EvaluationFacts], Reported | None]
"""given what was measured, what the run reported instead; None where both agree or nothing was reported"""

ONE_SCENE: Final = (
    "All images of a split belong to one scene, or there is only one: what differs by split can't be told from chance."
)
NO_TRAINING_SPLIT: Final = "The data set has no training split that could be read."


def examine(
    run: RunFacts,
    *,
    weights: Path,
    index: ImageIndex,
    labels: Path,
    depth: Depth = "standard",
    device: str = "auto",
    on_progress: OnProgress | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    unreproduced: Unreproduced | None = None,
) -> ExaminationFacts:
    """Validate the run's checkpoint on the validation split and, with the same settings, on some training images.

    Args:
        run, weights, index, labels, device, replicates, seed: see `evaluate.measure`; `seed` also draws the images.
        depth: how many training images are inferred (TRAINING_IMAGES).
        on_progress: told of the images of both passes together, and of the passes that look for a reported figure.
        unreproduced: says what the run reported where that differs from the measured facts; settings are then tried.

    Raises what `evaluate.measure` raises, for the validation split only: whatever else can't be done, or runs out of
    memory, is told of in `absent`, by its name (`training`, `labels`, `label_contrast`, `leakage`, `shift`,
    `intervention NAME`, `trial NAME`), and the rest goes on.
    """
    report = on_progress or (lambda stage, done, total: None)
    clock = Clock()
    subject = loaded_subject(run, weights=weights, index=index, device=device, clock=clock, on_progress=report)
    labelled = subject.labelled(labels, "val")
    settings = subject.canonical_settings(labelled)
    everything, why_none = _training_split(subject, labels)
    most = min(len(labelled.entries), TRAINING_IMAGES[depth])
    part = None
    if everything is not None:
        part, why_none = _training_part(everything, most=most, seed=seed)
    count = len(labelled.entries)
    total = count + (len(part.entries) if part is not None else 0)
    validation = subject.measured(
        labelled,
        settings,
        replicates=replicates,
        seed=seed,
        clock=clock,
        on_images=lambda done, _: report("validate", done, total),
    )
    attempts = Attempts({} if why_none is None else {"training": why_none})
    training = None
    if part is not None:
        drawn = part
        training = attempts.at(
            "training",
            lambda: subject.measured(
                drawn,
                _wide_enough(settings, subject.canonical_settings(drawn)),
                replicates=replicates,
                seed=seed + 1,
                clock=Clock(),
                on_images=lambda done, _: report("validate", count + done, total),
            ),
        )
    facts = validation.facts
    reported = unreproduced(facts) if unreproduced is not None else None
    if reported is not None:
        canonical = Canonical(run, weights, index, labels, subject.network, validation.passed)
        found = reconcile(
            canonical,
            reported,
            depth=depth,
            seed=seed,
            on_trial=lambda done, most: report("reconcile", done, most),
            attempts=attempts,
        )
        facts = facts.model_copy(update={"reconciliation": found})
    reviewed = attempts.at("labels", lambda: _labels_reviewed(subject, validation, attempts, seed=seed))
    if reviewed is not None:
        facts = facts.model_copy(update={"label_quality": reviewed.facts})
    with clock.stage("compare"):
        by_itself = alone(subject, validation, depth=depth, replicates=replicates, seed=seed, attempts=attempts)
    contrast = attempts.at("label_contrast", lambda: _contrasted(subject, training, validation, seed=seed))
    compared = None
    if training is not None and everything is not None:
        with clock.stage("compare"):
            compared = compare(
                subject,
                validation,
                training,
                everything,
                depth=depth,
                replicates=replicates,
                seed=seed,
                attempts=attempts,
            )
    precision = attempts.at(
        "intervention float32",
        lambda: single_precision(subject, run, weights, validation, depth=depth, replicates=replicates, seed=seed),
    )
    probed: tuple[InterventionFacts, ...] = ()
    if depth == "deep" and everything is not None:
        probed = _probed(
            Probe.of(subject, run, weights, everything, validation, replicates=replicates, seed=seed),
            compared.toward_validation if compared is not None else None,
            attempts,
            clock,
        )
    absent = attempts.not_run
    if compared is not None and compared.shift is None:
        absent.setdefault("shift", ONE_SCENE)
    seconds = facts.seconds | {"compare": round(clock.seconds.get("compare", 0.0), 4)}
    if probed:
        seconds["probe"] = round(clock.seconds["probe"], 4)
    if training is not None:
        seconds["training"] = round(sum(training.facts.seconds.values()), 4)
    return ExaminationFacts(
        evaluation=facts.model_copy(update={"seconds": seconds}),
        training=training.facts if training is not None else None,
        interventions=(
            *(reviewed.interventions if reviewed is not None else ()),
            *(compared.interventions if compared is not None else ()),
            *by_itself,
            *((precision,) if precision is not None else ()),
            *probed,
        ),
        leakage=compared.leakage if compared is not None else None,
        shift=compared.shift if compared is not None else None,
        label_contrast=contrast or (),
        absent=absent,
    )


def _labels_reviewed(subject: Subject, validation: Measured, attempts: Attempts, *, seed: int) -> LabelReview | None:
    """What the detections say of the labels; None for rotated boxes, of which only the upright hulls could be held
    against each other. Raises DatasetError `boxes_too_crowded`."""
    passed = validation.passed
    if validation.facts.task == "obb":
        return None
    try:
        return review_labels(
            passed.matches,
            passed.settings.protocol,
            subject.index,
            classes=subject.network.classes,
            single_cls=passed.settings.single_cls,
            seed=seed,
            attempts=attempts,
        )
    except TooCrowdedError as error:
        raise too_crowded(passed.file_of(error.group), passed.labelled.split) from error


def _contrasted(
    subject: Subject, training: Measured | None, validation: Measured, *, seed: int
) -> tuple[ContrastFacts, ...]:
    """How often training labels contradict the model, and validation labels; () where boxes can't be held against each
    other, as those of rotated boxes can't."""
    if training is None or validation.facts.task == "obb":
        return ()
    files = [subject.index.images[position].file for position in training.matches.image]
    return label_contrast(training.matches, validation.matches, files=files, seed=seed)


def _probed(
    one: Probe, toward_validation: PixelChange | None, attempts: Attempts, clock: Clock
) -> tuple[InterventionFacts, ...]:
    """What fine-tuning shows, where it can be done; else `attempts` is told why not."""
    why = why_not_probed(one)
    if why is not None:
        attempts.not_run["intervention continued_training"] = why
        return ()
    with clock.stage("probe"):
        return probe(one, toward_validation=toward_validation, attempts=attempts)


def _training_split(subject: Subject, labels: Path) -> tuple[Labelled | None, str | None]:
    """All training images with their labels, or None and why."""
    if not any(entry.split == "train" for entry in subject.index.images):
        return None, NO_TRAINING_SPLIT
    try:
        return subject.labelled(labels, "train"), None
    except DatasetError as error:
        return None, error.detail


def _training_part(everything: Labelled, *, most: int, seed: int) -> tuple[Labelled | None, str | None]:
    """At most `most` training images drawn at random with their labels, or None and why."""
    part = labelled_part(everything, sampled(len(everything.entries), most, seed))
    if not len(part.cls):
        return None, f"None of {len(part.entries)} training images drawn at random has a label."
    return part, None


def _wide_enough(validation: PassSettings, training: PassSettings) -> PassSettings:
    """The settings of the validation pass, with as many detections an image as the fuller split needs."""
    return replace(validation, max_detections=max(validation.max_detections, training.max_detections))
