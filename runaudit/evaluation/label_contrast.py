"""Do the labels of training contradict the model more often than those of validation, where it is as sure?

A model learns the images that it is trained on, faults and all, so that what it is sure of agrees with right training
labels at least as often as with those of images it has never seen: overfitting, a weak model, an early one or a shift
of validation only make the difference larger. Where the contrary is so, the training labels are worse than those of
validation. Confidence alone can't tell: it grows with training and falls with faults in the labels alike. So what is
compared is what lies under detections of the same confidence, validation being the control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import largest, overlapping
from runaudit.evaluation.label_facts import Contradiction, ContrastFacts
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.sightings import ON, TOUCHING, without_twins
from runaudit.evaluation.unit_totals import drawn_totals

EDGES: Final[NDArray[np.float64]] = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""confidences from which a bin begins; what is below the first says too little of an object"""
REPLICATES: Final = 400
FEWEST: Final = 50
"""detections of each split behind a difference"""
MOST_IMAGES: Final = 50
"""training images named, those with the surest contradictions first"""
KINDS: Final[tuple[Contradiction, ...]] = get_args(Contradiction)
_AGREES: Final = len(KINDS)


@dataclass(frozen=True)
class _Seen:
    """One detection an object: its `state` (n,), a position in KINDS or _AGREES, its bin of EDGES and its image."""

    state: NDArray[np.intp]
    bin: NDArray[np.intp]
    image: NDArray[np.int32]
    confidence: NDArray[np.float32]

    def by_unit(self, unit: NDArray[np.int32]) -> NDArray[np.float64]:
        """How many of each image, or group of them, are in each bin and state: (units, bins, states)."""
        shape = int(unit.max()) + 1, len(EDGES), len(KINDS) + 1
        place = np.ravel_multi_index((unit[self.image], self.bin, self.state), shape)
        return np.bincount(place, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def label_contrast(
    training: Matches, validation: Matches, *, files: list[str], seed: int = 0
) -> tuple[ContrastFacts, ...]:
    """Compare what lies under equally sure detections of both splits; () with too few detections of one.

    Args:
        training: of a pass over images that the model was trained on.
        validation: of one by the same settings over images that it was not.
        files: (k,) names of the training images, in the order of `training.image`.
        seed: of the intervals, which resample images or their groups of both splits.

    Raises TooCrowdedError, see `touching_boxes`.
    """
    of_training, of_validation = _seen(training), _seen(validation)
    if min(len(of_training.state), len(of_validation.state)) < FEWEST:
        return ()
    tables = of_training.by_unit(training.unit), of_validation.by_unit(validation.unit)
    first, second = _shares(*(table.sum(axis=0)[None] for table in tables))
    generator = np.random.default_rng(seed)
    drawn = _shares(*(_drawn(table, generator) for table in tables))
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975], axis=0)
    difference = (first - second)[0]
    return tuple(
        ContrastFacts(
            kind=kind,
            training=float(first[0, number]),
            validation=float(second[0, number]),
            difference=float(difference[number]),
            ci95=(float(min(low[number], difference[number])), float(max(high[number], difference[number]))),
            detections=len(of_training.state),
            images=_images(of_training, number, files),
        )
        for number, kind in enumerate(KINDS)
    )


def _seen(matches: Matches) -> _Seen:
    """What the model sees, at EDGES[0] or surer, by the surest detection of each object."""
    rows = without_twins(matches, np.flatnonzero(matches.det_conf >= EDGES[0]), matches.det_conf)
    pairs = overlapping(matches.det_image[rows], matches.det_box[rows], matches.gt_image, matches.gt_box, TOUCHING)
    same = matches.det_cls[rows[pairs.first]] == matches.gt_cls[pairs.second]
    of_any, _ = largest(pairs.first, pairs.iou, len(rows))
    own = pairs.kept(same)
    of_own, _ = largest(own.first, own.iou, len(rows))
    state = np.select(
        [of_own >= ON, of_any >= ON, of_any >= TOUCHING],
        [_AGREES, KINDS.index("swapped"), KINDS.index("misplaced")],
        KINDS.index("overlooked"),
    )
    confidence = matches.det_conf[rows]
    return _Seen(state, np.searchsorted(EDGES, confidence, side="right") - 1, matches.det_image[rows], confidence)


def _drawn(table: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Counts of REPLICATES draws of the units of a table: (replicates, bins, states)."""
    drawn = drawn_totals(table.reshape(len(table), -1), replicates=REPLICATES, generator=generator)
    return drawn.reshape(REPLICATES, *table.shape[1:])


def _shares(training: NDArray[Any], validation: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shares of each state in both, (b, states), as if both were as sure as training: weighted by its bins.

    Bins that one of them lacks tell nothing and are left out.
    """
    totals = training.sum(axis=2), validation.sum(axis=2)
    weight = np.where((totals[0] > 0) & (totals[1] > 0), totals[0], 0.0)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    first, second = (
        (weight[:, :, None] * counts / np.maximum(total, 1.0)[:, :, None]).sum(axis=1)
        for counts, total in zip((training, validation), totals, strict=True)
    )
    return first, second


def _images(seen: _Seen, kind: int, files: list[str]) -> tuple[str, ...]:
    rows = np.flatnonzero(seen.state == kind)
    order = rows[np.argsort(-seen.confidence[rows], kind="stable")]
    return tuple(dict.fromkeys(files[int(image)] for image in seen.image[order]))[:MOST_IMAGES]
