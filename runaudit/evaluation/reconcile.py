"""Tries the settings by which a reported mAP may have been measured, cheapest first, and says which reproduces it.

What can be read off the canonical pass comes first; then passes over a sample of the images, each with one setting
changed; then a pass over all images for what came near. The candidates are those of research page yolo.md, A7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from runaudit.errors import CheckpointError, DatasetError
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.candidates import Candidate, candidates
from runaudit.evaluation.class_permutation import best_permutation, class_confusion, complete
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.conventions import Figures, conventions, figures
from runaudit.evaluation.facts import STRICT, ReconciliationFacts, Tolerance, Trial
from runaudit.evaluation.inference import threads, worker_threads
from runaudit.evaluation.labels import Labelled, labelled_images
from runaudit.evaluation.matching import Boxes, Matches, true_positives, true_positives_by_best_label
from runaudit.evaluation.network import Network, in_half_precision, rebuild
from runaudit.evaluation.protocol import YOLOV5
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.rotated_boxes import similarity_of
from runaudit.evaluation.selection import labelled_part, matches_part, sampled
from runaudit.evaluation.validation_pass import Passed, PassSettings, run_pass
from runaudit.runs.facts import ImageIndex, RunFacts, Split

SCREENED_IMAGES: Final = 128
"""images of the sample by which passes are judged before all images are spent on one"""
SCREENS: Final = {"standard": 8, "deep": 40}
CONFIRMED: Final = {"standard": 2, "deep": 5}
"""passes over all images that may follow, those first that came nearest"""
NEARER: Final = 0.6
"""What a setting may leave of the gap on the sample to be tried on all images: one that explains the gap leaves only
the sample's noise, which the pairing with the canonical pass keeps small."""
USUAL_CONFIDENCE: Final = (0.01, 0.1, 0.25, 0.5)
"""obb's default, what is often given by hand, the default of predicting, and half"""
OTHER_SPLIT_IMAGES: Final = {"standard": 2.0, "deep": 10.0}
"""images of another split that are worth a pass, as a multiple of those validated on"""

Depth = Literal["standard", "deep"]
OnTrial = Callable[[int, int], None]
"""called with trials done and the most there can be"""


@dataclass(frozen=True)
class Reported:
    """What the run reported of the audited checkpoint, and rows that may have been taken for it: name -> figures.

    `tolerance` is what reproduces a figure on these images (`EvaluationFacts.tolerance`).
    """

    figures: Figures
    other_rows: dict[str, Figures]
    tolerance: Tolerance = STRICT


@dataclass(frozen=True)
class Canonical:
    """What was measured canonically, and all that another pass takes."""

    run: RunFacts
    weights: Path
    index: ImageIndex
    labels: Path
    network: Network
    passed: Passed


def reconcile(
    canonical: Canonical,
    reported: Reported,
    *,
    depth: Depth,
    seed: int = 0,
    on_trial: OnTrial | None = None,
    attempts: Attempts | None = None,
) -> ReconciliationFacts:
    """Look for what makes the measured figures those that were reported.

    Args:
        canonical: the canonical pass and its inputs.
        reported: figures in [0, 1]; they are taken to differ from the canonical ones.
        depth: how many passes may be spent (SCREENS, CONFIRMED, OTHER_SPLIT_IMAGES).
        seed: of the sample of images.
        on_trial: told of every pass.
        attempts: told of passes that failed, as `trial NAME`; the others go on.

    A setting explains the figures if with it mAP50-95 and mAP50 are both within tolerance, and at most half of the gap
    is left. Passes end with the first
    that does. What was tried on a sample only explains nothing.
    """
    attempts = attempts or Attempts()
    trials = attempts.at("trial without a pass", lambda: list(_read_off(canonical, reported))) or []
    if not any(trial.explains for trial in trials):
        trials += _passes(canonical, reported, depth, seed, on_trial=on_trial, attempts=attempts)
    return ReconciliationFacts(
        reported_map50=reported.figures.map50,
        reported_map50_95=reported.figures.map50_95,
        trials=tuple(trials),
        explained_by=tuple(dict.fromkeys(trial.name for trial in trials if trial.explains)),
    )


@dataclass(frozen=True)
class _Gap:
    """What is sought, and what was measured canonically instead, over how many images."""

    sought: Figures
    measured: Figures
    images: int
    tolerance: Tolerance


def _trial(name: str, setting: dict[str, JsonValue], found: Figures, gap: _Gap) -> Trial:
    return Trial(
        name=name,
        setting=setting,
        map50=found.map50,
        map50_95=found.map50_95,
        images=gap.images,
        explains=found.closes(gap.sought, gap.measured, gap.tolerance),
    )


def _read_off(canonical: Canonical, reported: Reported) -> Iterator[Trial]:
    """Trials without a pass: another row, another convention, another confidence, classes left out or permuted."""
    matches, settings = canonical.passed.matches, canonical.passed.settings
    protocol, sought, own = settings.protocol, reported.figures, conventions(canonical.run)
    gap = _Gap(sought, figures(matches, protocol), len(matches.image), reported.tolerance)
    for row, figure in reported.other_rows.items():
        found = _nearest([figures(matches, protocol, convention) for convention in own], figure)
        yield _trial("row", {"row": row}, found, replace(gap, sought=figure))
    if "older" in own:
        convention: dict[str, JsonValue] = {"average_precision": YOLOV5.average_precision.convention}
        yield _trial("average_precision", convention, figures(matches, protocol, "older"), gap)
    for confidence in USUAL_CONFIDENCE:
        kept = _confident(matches, confidence)
        found = _nearest([figures(kept, protocol, convention) for convention in own], sought)
        yield _trial("conf", {"conf": confidence}, found, gap)
    if not settings.single_cls and canonical.network.classes > 1:
        found = figures(_without_classes(matches, settings), protocol)
        yield _trial("single_cls", {"single_cls": True}, found, gap)
        mapping = best_permutation(class_confusion(matches, canonical.network.classes)).mapping
        if mapping and matches.gt_rotated is None:
            moved = complete(mapping, canonical.network.classes)
            mapped = relabelled(matches, protocol, det_cls=moved[matches.det_cls])
            ids: dict[str, JsonValue] = {str(detected): cls for detected, cls in mapping.items()}
            yield _trial("names", {"names": ids}, figures(mapped, protocol), gap)


def _nearest(found: list[Figures], sought: Figures) -> Figures:
    return min(found, key=lambda figure: (not figure.reproduces(sought), abs(figure.map50_95 - sought.map50_95)))


def _confident(matches: Matches, confidence: float) -> Matches:
    """The matches of detections above a confidence: fewer detections take no label from one that ranks before them."""
    return matches.taking(detections=matches.det_conf > confidence, labels=np.ones(len(matches.gt_cls), dtype=bool))


def _without_classes(matches: Matches, settings: PassSettings) -> Matches:
    """The matches with every class made 0 (but with the boxes that NMS kept class by class)."""
    det_cls, gt_cls = np.zeros_like(matches.det_cls), np.zeros_like(matches.gt_cls)
    rule = true_positives if settings.protocol.matching == "by_confidence" else true_positives_by_best_label
    detections = Boxes(matches.det_image, det_cls, matches.det_box)
    tp = rule(detections, Boxes(matches.gt_image, gt_cls, matches.gt_box), similarity_of(matches))
    return replace(matches, det_cls=det_cls, gt_cls=gt_cls, tp=tp, tp_further=None)


def _passes(
    canonical: Canonical,
    reported: Reported,
    depth: Depth,
    seed: int,
    *,
    on_trial: OnTrial | None,
    attempts: Attempts,
) -> Iterator[Trial]:
    """Trials that need a pass: over a sample, then, of those that came near, over all images; other splits last."""
    evaluated = np.flatnonzero(np.isin(canonical.passed.labelled.entry, canonical.passed.matches.image))
    sample = evaluated[sampled(len(evaluated), SCREENED_IMAGES, seed)]
    tried = candidates(canonical.run, canonical.network, canonical.passed.settings, depth)[: SCREENS[depth]]
    report, most = on_trial or (lambda done, total: None), len(tried) + CONFIRMED[depth]
    near: list[tuple[float, Candidate]] = []
    for done, candidate in enumerate(tried, start=1):
        trial = attempts.at(f"trial {candidate.name}", partial(_tried, canonical, candidate, reported, sample))
        if trial is None:
            continue
        near.append((abs(trial.map50_95 - reported.figures.map50_95), candidate))
        report(done, most)
        yield trial
        if trial.explains:
            return
    measured = figures(canonical.passed.matches, canonical.passed.settings.protocol)
    gap = abs(measured.map50_95 - reported.figures.map50_95)
    for done, (left, candidate) in enumerate(sorted(near, key=lambda item: item[0])[: CONFIRMED[depth]], start=1):
        if len(sample) == len(evaluated) or left > NEARER * gap:
            break
        trial = attempts.at(f"trial {candidate.name}", partial(_tried, canonical, candidate, reported, evaluated))
        report(len(tried) + done, most)
        if trial is not None:
            yield trial
            if trial.explains:
                return
    most_images = OTHER_SPLIT_IMAGES[depth] * len(evaluated)
    yield from attempts.at("trial split", lambda: list(_other_splits(canonical, reported, most_images))) or ()


def _tried(canonical: Canonical, candidate: Candidate, reported: Reported, positions: NDArray[np.intp]) -> Trial | None:
    """The candidate's pass over the images at `positions`; None if the other head can't be built.

    Over a sample, the figures are the canonical ones of all images, moved by what the setting changes on the sample.
    """
    passed = canonical.passed
    labelled = labelled_part(passed.labelled, positions)
    network = _network(canonical, candidate)
    if network is None or not len(labelled.cls):
        return None
    other = _run(canonical, network, labelled, candidate.settings)
    part = matches_part(passed.matches, np.isin(passed.matches.image, labelled.entry))
    whole = len(part.image) == len(passed.matches.image)
    protocol, found = candidate.settings.protocol, []
    for convention in conventions(canonical.run):
        changed = figures(other.matches, protocol, convention)
        if not whole:
            everywhere = figures(passed.matches, protocol, convention)
            changed = everywhere.moved(figures(part, protocol, convention), changed)
        found.append(changed)
    trial = _trial(
        candidate.name,
        candidate.setting,
        _nearest(found, reported.figures),
        _Gap(
            reported.figures,
            figures(passed.matches, passed.settings.protocol),
            len(part.image),
            reported.tolerance,
        ),
    )
    return trial if whole else trial.model_copy(update={"explains": False, "sampled": True})


def _network(canonical: Canonical, candidate: Candidate) -> Network | None:
    network, checkpoint = canonical.network, canonical.run.checkpoint
    if candidate.one_to_one and checkpoint is not None:
        try:
            return rebuild(checkpoint, canonical.weights, network.device, one_to_one=True)
        except CheckpointError:
            return None
    if candidate.settings.half and checkpoint is not None:
        return in_half_precision(checkpoint, canonical.weights, network.device)
    return network


def _run(canonical: Canonical, network: Network, labelled: Labelled, settings: PassSettings) -> Passed:
    with threads(worker_threads()):
        return run_pass(network, labelled, Path(canonical.index.root), settings, clock=Clock())


def _other_splits(canonical: Canonical, reported: Reported, most_images: float) -> Iterator[Trial]:
    """The canonical pass over test and training images, if there are not too many: a path may name another split."""
    others: tuple[Split, ...] = ("test", "train")
    settings = canonical.passed.settings
    measured = figures(canonical.passed.matches, settings.protocol)
    for split in others:
        images = sum(entry.split == split for entry in canonical.index.images)
        if split == canonical.passed.labelled.split or not 0 < images <= most_images:
            continue
        try:
            labelled = labelled_images(
                canonical.index,
                canonical.labels,
                split,
                classes=canonical.network.classes,
                single_cls=settings.single_cls,
            )
            matches = _run(canonical, canonical.network, labelled, settings).matches
        except DatasetError:
            continue
        found = [figures(matches, settings.protocol, convention) for convention in conventions(canonical.run)]
        nearest = _nearest(found, reported.figures)
        gap = _Gap(reported.figures, measured, len(matches.image), reported.tolerance)
        yield _trial("split", {"split": split}, nearest, gap)
