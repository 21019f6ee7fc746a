"""What label errors cost: mAP measured again with labels left out, corrected or mapped, from the same detections.

A model that corrects the labels it is graded by always gains. So only labels go that are more probably wrong than the
model is, by an estimate that takes its own mistakes off (`mistake_mixture`); their gain is an oracle's; and beside each
stands a sham that does the same to as many labels drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.bootstrap import bootstrap, difference_interval, interval
from runaudit.evaluation.box_offsets import FEWEST, Residuals, corrected, habit
from runaudit.evaluation.box_pairs import overlapping
from runaudit.evaluation.class_permutation import complete
from runaudit.evaluation.distinct_images import independent_images
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_quality import LabelQuality, Suspects
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import Protocol
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.sightings import ON

PROBABLE: Final = 0.5
"""score from which a label is more probably wrong than the model"""
FOLDS: Final = 5
"""parts of the images that a correction is fitted around; halves leave too few boxes of small validation splits"""
REPLICATES: Final = 200
"""of a paired difference: its interval's ends then vary by a tenth of its width"""

Grade = Literal["intervention", "oracle", "observational"]


@dataclass(frozen=True)
class Baseline:
    """The matches as they stand, matched as `relabelled` does it, and what changes are compared with."""

    matches: Matches
    protocol: Protocol
    seed: int = 0

    @classmethod
    def of(cls, matches: Matches, protocol: Protocol, seed: int = 0) -> Baseline:
        return cls(relabelled(matches, protocol), protocol, seed)

    def map50_95(self, matches: Matches) -> float:
        kind = self.protocol.average_precision
        return detection_metrics(matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=kind).map50_95

    @cached_property
    def value(self) -> float:
        return self.map50_95(self.matches)

    @cached_property
    def replicates(self) -> NDArray[np.float64]:
        return self._replicates(self.matches)

    def _replicates(self, matches: Matches) -> NDArray[np.float64]:
        kind = self.protocol.average_precision
        return bootstrap(matches, replicates=REPLICATES, seed=self.seed, kind=kind).map50_95

    def compared(self, name: str, description: str, grade: Grade, after: Matches) -> InterventionFacts:
        """What `after`, of the same images, has more; replicates draw the same images of both."""
        value = self.map50_95(after)
        difference = value - self.value
        samples = self._replicates(after) - self.replicates
        ends = difference_interval(interval(samples), difference, independent_images(self.matches))
        return InterventionFacts(
            name=name,
            description=description,
            grade=grade,
            before=self.value,
            after=value,
            difference=difference,
            ci95=None if ends is None else (min(ends[0], difference), max(ends[1], difference)),
            images=len(after.image),
        )


def class_blind(base: Baseline) -> InterventionFacts:
    """mAP where any class will do."""
    matches = base.matches
    after = relabelled(
        matches, base.protocol, gt_cls=np.zeros_like(matches.gt_cls), det_cls=np.zeros_like(matches.det_cls)
    )
    return base.compared(
        "class_agnostic",
        "All classes counted as one, so that only finding and placing objects counts.",
        "oracle",
        after,
    )


def class_mapped(base: Baseline, mapping: dict[int, int], classes: int) -> InterventionFacts:
    """mAP with detected ids replaced by those that `mapping` gives them."""
    moved = complete(mapping, classes)
    after = relabelled(base.matches, base.protocol, det_cls=moved[base.matches.det_cls])
    pairs = ", ".join(f"{detected} to {cls}" for detected, cls in list(mapping.items())[:8])
    return base.compared(
        "class_permutation", f"The model's class ids mapped to the labels' ({pairs}).", "intervention", after
    )


def habit_corrected(base: Baseline, found: Residuals, sizes: NDArray[Any]) -> InterventionFacts | None:
    """mAP with the mean looseness and offset taken off the labels; None with too few boxes.

    The images, of `sizes` (k, 2), go to FOLDS parts, and each is corrected by what the others show, so that no label
    is by what its own detection says. A fit may have half of what all need: that makes the correction less exact,
    which takes from its gain, and no interval is made of it.
    """
    matches = base.matches
    # Frames of one scene go to one part.
    image, unit = matches.unit[matches.gt_image[found.label]], matches.unit[matches.gt_image]
    box = matches.gt_box.copy()
    for fold in range(FOLDS):
        others = image % FOLDS != fold
        measured = habit(image[others], found.value[others], fewest=FEWEST // 2)
        if measured is None:
            return None
        rows = unit % FOLDS == fold
        box[rows] = corrected(matches.gt_box[rows], measured.edge, sizes[matches.gt_image[rows]])
    return base.compared(
        "box_habit_corrected",
        "The mean looseness and offset of the labels against sure detections taken off every label, measured on "
        "other images.",
        "intervention",
        relabelled(matches, base.protocol, gt_box=box),
    )


def suspects_changed(
    base: Baseline, quality: LabelQuality, attempts: Attempts | None = None
) -> tuple[InterventionFacts, ...]:
    """mAP with suspects left out and with suspects corrected, each beside its sham; () without a probable suspect.

    `attempts` is told of those that failed.
    """
    attempts = attempts or Attempts()
    suspects = _probable(quality.suspects)
    count = len(suspects.score)
    if not count:
        return ()
    generator = np.random.default_rng(base.seed)
    confirmed = quality.seen.agreeing
    drawn = generator.choice(confirmed, size=min(count, len(confirmed)), replace=False)
    # A label that only goes takes nothing over from the model, so that its gain needs no sham of that.
    removed = int((suspects.of("spurious") | suspects.of("duplicated")).sum())
    taken_over = drawn[: max(0, len(drawn) - removed)]
    number = f"{count} label{'s' if count > 1 else ''} more probably wrong than the model"
    entries: tuple[tuple[str, str, Callable[[], Matches]], ...] = (
        (
            "suspects_left_out",
            f"{number} left out, and what was detected there.",
            lambda: left_out(base, suspects),
        ),
        (
            "random_left_out",
            f"Sham: {len(drawn)} confirmed labels at random left out, and what was detected there.",
            lambda: _without(base, drawn, base.matches.gt_image[drawn], base.matches.gt_box[drawn]),
        ),
        ("suspects_corrected", f"{number} corrected as the model has it.", lambda: with_corrections(base, suspects)),
        (
            "random_corrected",
            f"Sham: {len(taken_over)} confirmed labels at random given the box of their detection.",
            lambda: _adjusted(base, taken_over, quality.seen.seen_by[taken_over]),
        ),
    )
    done = (
        attempts.at(f"intervention {name}", partial(_compared, base, name, said, change))
        for name, said, change in entries
    )
    return tuple(one for one in done if one is not None)


def _compared(base: Baseline, name: str, description: str, change: Callable[[], Matches]) -> InterventionFacts:
    return base.compared(name, description, "oracle", change())


def left_out(base: Baseline, suspects: Suspects) -> Matches:
    """Suspect labels gone, with what the model sees instead of them: the detections of the same place."""
    matches = base.matches
    seen = suspects.detection[suspects.detection >= 0]
    labels = suspects.label[suspects.label >= 0]
    return _without(base, labels, matches.det_image[seen], matches.det_box[seen])


def _without(base: Baseline, labels: NDArray[np.intp], image: NDArray[Any], box: NDArray[np.float32]) -> Matches:
    """Without these labels, and without the detections that lie on the boxes `box` of the images `image`."""
    matches = base.matches
    gone = np.zeros(len(matches.gt_cls), dtype=bool)
    gone[labels] = True
    on = overlapping(matches.det_image, matches.det_box, image, box, ON)
    kept = np.ones(len(matches.det_cls), dtype=bool)
    kept[on.first] = False
    # What finds a label that stays is no part of the suspect.
    kept |= matches.tp[:, 0] & ~_finds(matches, gone)
    return relabelled(matches.taking(detections=kept, labels=~gone), base.protocol)


def _finds(matches: Matches, labels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which detections have the class of one of `labels` (m,) and lie on it."""
    rows = np.flatnonzero(labels)
    pairs = overlapping(matches.det_image, matches.det_box, matches.gt_image[rows], matches.gt_box[rows], ON)
    found = np.zeros(len(matches.det_cls), dtype=bool)
    found[pairs.first[matches.det_cls[pairs.first] == matches.gt_cls[rows[pairs.second]]]] = True
    return found


def with_corrections(base: Baseline, suspects: Suspects) -> Matches:
    """Labels as the model would have them: added, removed, of its class, or of its box."""
    matches = base.matches
    cls, box = matches.gt_cls.copy(), matches.gt_box.copy()
    kept = np.ones(len(cls), dtype=bool)
    kept[suspects.label[suspects.of("spurious") | suspects.of("duplicated")]] = False
    swapped, misplaced, added = (suspects.of(kind) for kind in ("swapped", "misplaced", "overlooked"))
    cls[suspects.label[swapped]] = matches.det_cls[suspects.detection[swapped]]
    box[suspects.label[misplaced]] = matches.det_box[suspects.detection[misplaced]]
    new = suspects.detection[added]
    return relabelled(
        matches,
        base.protocol,
        gt_image=np.r_[matches.gt_image[kept], matches.det_image[new]],
        gt_cls=np.r_[cls[kept], matches.det_cls[new]],
        gt_box=np.vstack([box[kept], matches.det_box[new]]),
    )


def _adjusted(base: Baseline, labels: NDArray[np.intp], detections: NDArray[np.intp]) -> Matches:
    box = base.matches.gt_box.copy()
    box[labels] = base.matches.det_box[detections]
    return relabelled(base.matches, base.protocol, gt_box=box)


def _probable(suspects: Suspects) -> Suspects:
    """Those of PROBABLE or more; of several of one label the first, which has the highest score."""
    rows = np.flatnonzero(suspects.score >= PROBABLE)
    label = suspects.label[rows]
    _, first = np.unique(label, return_index=True)
    keep = label < 0
    keep[first] = True
    rows = rows[keep]
    return suspects.taking(rows)
