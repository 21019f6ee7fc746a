"""How far several label sets of the same images agree on objects, classes and places. No model is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from runaudit.evaluation.box_pairs import BoxPairs, largest, overlapping
from runaudit.evaluation.unit_totals import drawn_totals
from runaudit.runs.facts import AgreementFacts, ImageIndex
from runaudit.runs.label_arrays import LabelArrays

ON: Final = 0.5
"""IoU from which two annotators mean one object"""
REPLICATES: Final = 400
OWN: Final = "labels"
"""the name of the data set's own labels"""


@dataclass(frozen=True)
class LabelSet:
    """One annotator's boxes: `image` (n,), `cls` (n,), `box` (n, 4) as x1, y1, x2, y2 in pixels, and the `annotated`
    images."""

    image: NDArray[Any]
    cls: NDArray[Any]
    box: NDArray[np.float32]
    annotated: NDArray[Any]

    @classmethod
    def of(cls, labels: LabelArrays, annotated: ArrayLike, index: ImageIndex) -> LabelSet:
        """Labels as they were read, put into pixels of their images. `annotated` are positions in the index, rising."""
        sizes = np.array([(entry.width, entry.height) for entry in index.images], dtype=np.float64).reshape(-1, 2)
        centre, side = labels.box[:, :2], labels.box[:, 2:]
        extent = np.tile(sizes[labels.image], 2)
        box = np.hstack([centre - side / 2, centre + side / 2]) * extent
        return cls(labels.image, labels.cls, box.astype(np.float32), np.asarray(annotated, dtype=np.int64))

    def within(self, images: NDArray[Any]) -> LabelSet:
        """The part on `images`."""
        kept = np.isin(self.image, images)
        return LabelSet(self.image[kept], self.cls[kept], self.box[kept], images)


def agreements(sets: Mapping[str, LabelSet], classes: int) -> tuple[AgreementFacts, ...]:
    """Each two label sets on the images that both annotated: of all classes together, then of each class that occurs.

    `classes` is the number of classes; ids lie below it.
    """
    return tuple(entry for first, second in combinations(sets, 2) for entry in _compared(first, second, sets, classes))


def _compared(
    first_name: str, second_name: str, sets: Mapping[str, LabelSet], classes: int
) -> Iterator[AgreementFacts]:
    common = np.intersect1d(sets[first_name].annotated, sets[second_name].annotated)
    if not len(common):
        return
    first, second = sets[first_name].within(common), sets[second_name].within(common)
    pairs = one_to_one(overlapping(first.image, first.box, second.image, second.box, ON), first, second)
    first_cls, second_cls = first.cls[pairs.first], second.cls[pairs.second]
    table = confusion(first, second, pairs, classes)
    matched = len(pairs.first)
    yield AgreementFacts(
        first=first_name,
        second=second_name,
        images=len(common),
        matched=matched,
        only_first=len(first.cls) - matched,
        only_second=len(second.cls) - matched,
        found=_f1(matched, len(first.cls), len(second.cls)),
        found_ci95=_interval(common, first.image[pairs.first], first.image, second.image),
        same_class=float((first_cls == second_cls).mean()) if matched else None,
        kappa=cohens_kappa(table[:classes, :classes]),
        alpha=krippendorffs_alpha(table),
        mean_iou=float(pairs.iou.mean()) if matched else None,
    )
    for cls in np.union1d(first.cls, second.cls):
        both = (first_cls == cls) & (second_cls == cls)
        mine, theirs = first.cls == cls, second.cls == cls
        count = int(both.sum())
        yield AgreementFacts(
            first=first_name,
            second=second_name,
            class_id=int(cls),
            images=len(common),
            matched=count,
            only_first=int(mine.sum()) - count,
            only_second=int(theirs.sum()) - count,
            found=_f1(count, int(mine.sum()), int(theirs.sum())),
            found_ci95=_interval(common, first.image[pairs.first[both]], first.image[mine], second.image[theirs]),
            mean_iou=float(pairs.iou[both].mean()) if count else None,
        )


def one_to_one(pairs: BoxPairs, first: LabelSet, second: LabelSet) -> BoxPairs:
    """The pairs of which each box is the other's best among those left, round by round.

    That is what taking pairs by falling IoU one after the other gives. Of equal IoUs those of one class come first.
    """
    value = pairs.iou.astype(np.float64) + 1e-6 * (first.cls[pairs.first] == second.cls[pairs.second])
    left = np.arange(len(value))
    chosen: list[NDArray[np.intp]] = []
    while len(left):
        _, best_second = largest(pairs.first[left], value[left], len(first.cls))
        _, best_first = largest(pairs.second[left], value[left], len(second.cls))
        rows = best_second[best_second >= 0]
        mutual = rows[best_first[pairs.second[left[rows]]] == rows]
        taken = left[mutual]
        chosen.append(taken)
        free = ~np.isin(pairs.first[left], pairs.first[taken]) & ~np.isin(pairs.second[left], pairs.second[taken])
        left = left[free]
    rows = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.intp)
    return BoxPairs(pairs.first[rows], pairs.second[rows], pairs.iou[rows])


def confusion(first: LabelSet, second: LabelSet, pairs: BoxPairs, classes: int) -> NDArray[np.int64]:
    """Classes by the first (rows) and the second (columns), (classes + 1, classes + 1); the last stands for none."""
    size = classes + 1
    alone_first = np.setdiff1d(np.arange(len(first.cls)), pairs.first)
    alone_second = np.setdiff1d(np.arange(len(second.cls)), pairs.second)
    row = np.r_[first.cls[pairs.first], first.cls[alone_first], np.full(len(alone_second), classes)]
    column = np.r_[second.cls[pairs.second], np.full(len(alone_first), classes), second.cls[alone_second]]
    return np.bincount(row.astype(np.int64) * size + column, minlength=size**2).reshape(size, size)


def cohens_kappa(table: NDArray[np.int64]) -> float | None:
    """Cohen's kappa of two raters, (k, k) counts; None without a pair, or where both always say the same one class.

    Source: Cohen, Educational and Psychological Measurement 20 (1960), 37-46.
    """
    total = table.sum()
    if not total:
        return None
    expected = float((table.sum(axis=0) / total) @ (table.sum(axis=1) / total))
    return (float(np.trace(table) / total) - expected) / (1 - expected) if expected < 1 else None


def krippendorffs_alpha(table: NDArray[np.int64]) -> float | None:
    """Krippendorff's alpha of two raters for nominal data, (k, k) counts of units; None where only one value occurs.

    Source: Krippendorff, Computing Krippendorff's alpha-reliability (2011), part B.
    """
    coincidences = (table + table.T).astype(np.float64)
    values = coincidences.sum(axis=1)
    total = values.sum()
    expected = total**2 - (values**2).sum()
    if total < 2 or not expected:
        return None
    return float(1 - (total - 1) * (total - np.trace(coincidences)) / expected)


def _f1(matched: int, first: int, second: int) -> float:
    return 2 * matched / (first + second) if first + second else 1.0


def _interval(
    images: NDArray[Any], matched: NDArray[Any], first: NDArray[Any], second: NDArray[Any]
) -> tuple[float, float] | None:
    """Of F1, resampling `images`; the others are the images of the matched pairs and of the boxes."""
    counts = np.stack(
        [np.bincount(np.searchsorted(images, part), minlength=len(images)) for part in (matched, first, second)], axis=1
    )
    drawn = drawn_totals(counts, replicates=REPLICATES, generator=np.random.default_rng(0))
    boxes = drawn[:, 1] + drawn[:, 2]
    values = 2 * drawn[boxes > 0, 0] / boxes[boxes > 0]
    return tuple(np.quantile(values, [0.025, 0.975]).tolist()) if len(values) else None
