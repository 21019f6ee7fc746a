"""What changes in mAP when images are left out, or between two passes: the difference and its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.average_precision import DetectionMetrics, detection_metrics
from runaudit.evaluation.bootstrap import Bootstrap, bootstrap, difference_interval, interval
from runaudit.evaluation.facts import Interval, InterventionFacts
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import AveragePrecision
from runaudit.evaluation.selection import matches_part

Grade = Literal["intervention", "oracle", "observational"]


@dataclass(frozen=True)
class Scores:
    """mAP50-95 of some images by class, and of their replicates: `average` (k,) and `replicates` (b, k).

    `distinct` counts the labelled images that differ.
    """

    classes: NDArray[np.int64]
    average: NDArray[np.float64]
    replicates: NDArray[np.float64]
    images: int
    distinct: int

    def of_classes(self, classes: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
        """The mean over some classes that all have labels here, and that of each replicate over those it drew."""
        columns = np.searchsorted(self.classes, classes)
        drawn = self.replicates[:, columns]
        present = ~np.isnan(drawn)
        total = np.where(present, drawn, 0).sum(axis=1)
        count = present.sum(axis=1)
        return float(self.average[columns].mean()), np.where(count > 0, total / np.maximum(count, 1), np.nan)


def scores(matches: Matches, kind: AveragePrecision, *, drawn: Bootstrap) -> Scores:
    """The scores of a pass whose replicates have been drawn."""
    metrics = detection_metrics(matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=kind)
    return _scores(metrics, drawn, len(matches.image))


def _scores(metrics: DetectionMetrics, drawn: Bootstrap, images: int) -> Scores:
    average = metrics.average_precision.mean(axis=1)
    return Scores(metrics.classes, average, drawn.class_map50_95, images, drawn.distinct)


def scores_of_some(
    matches: Matches, kept: NDArray[np.bool_], kind: AveragePrecision, *, replicates: int, seed: int
) -> Scores:
    """The scores of the images that `kept` (k,) is true for, in the very draws that all images have by this seed.

    A draw holds as many of them as it holds by chance, so that differences of replicates are paired.
    """
    within = matches.taking(detections=kept[matches.det_image], labels=kept[matches.gt_image])
    part = matches_part(matches, kept)
    metrics = detection_metrics(part.tp, part.det_conf, part.det_cls, part.gt_cls, kind=kind)
    drawn = bootstrap(within, replicates=replicates, seed=seed, kind=kind)
    return _scores(metrics, drawn, int(kept.sum()))


def difference(before: Scores, after: Scores) -> tuple[float, float, Interval | None] | None:
    """mAP50-95 before and after over the classes that both have, and the interval of after minus before.

    Replicates are subtracted one by one: paired where both come from the same draws, independent where they don't.
    None if no class has labels in both.
    """
    classes = np.intersect1d(before.classes, after.classes)
    if not len(classes):
        return None
    first, first_drawn = before.of_classes(classes)
    second, second_drawn = after.of_classes(classes)
    distinct = min(before.distinct, after.distinct)
    return first, second, difference_interval(interval(second_drawn - first_drawn), second - first, distinct)


def same_images(
    name: str,
    description: str,
    before: Matches,
    after: Matches,
    kind: AveragePrecision,
    *,
    replicates: int,
    seed: int,
) -> InterventionFacts | None:
    """The facts of two passes over the same images, each with its groups; paired where images stand in one order."""
    # Passes order images by shape and then by path, so that the same draw takes the same images of both.
    paired = np.array_equal(before.image, after.image)
    drawn = [
        scores(one, kind, drawn=bootstrap(one, replicates=replicates, seed=draw, kind=kind))
        for one, draw in ((before, seed), (after, seed if paired else seed + 1))
    ]
    return intervention(name, description, "intervention", *drawn)


def intervention(name: str, description: str, grade: Grade, before: Scores, after: Scores) -> InterventionFacts | None:
    """The facts of a change, or None if no class has labels before and after it."""
    found = difference(before, after)
    if found is None:
        return None
    first, second, ends = found
    return InterventionFacts(
        name=name,
        description=description,
        grade=grade,
        before=first,
        after=second,
        difference=second - first,
        ci95=ends,
        images=after.images,
    )
