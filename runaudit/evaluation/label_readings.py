"""Reads the labels' numbers by other rules, to see whether the detections agree with one of those instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_facts import BEFORE_TURNING, READ_AS
from runaudit.evaluation.label_interventions import Baseline
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.relabelling import relabelled
from runaudit.runs.facts import ImageEntry

LEAST_GAIN: Final = 0.05
"""mAP50-95 that a rule gives back, by the lower end of its interval, from which the labels were written by it. By a
wrong rule boxes meet their objects by chance only: on the right labels of `shapes`, `signs` and `traffic` no rule gave
back anything (the most was -0.19, by `padded_square`)."""
SCREENED: Final = 500
"""images that all rules are tried on; only the best of them is measured on all"""

Shares = NDArray[np.float64]
"""(m, 4) as shares of width and height"""


@dataclass(frozen=True)
class Rule:
    """`read` takes the four numbers of each row as written (m, 4) and width and height of its image in pixels (m, 2),
    and gives the corners (x1, y1, x2, y2) as shares. `description` completes "Labels read as ..."."""

    name: str
    description: str
    read: Callable[[Shares, NDArray[np.float64]], Shares]


def _around(centre: Shares, size: Shares) -> Shares:
    return np.hstack([centre - size / 2, centre + size / 2])


def _of_corner(numbers: Shares, _extent: NDArray[np.float64]) -> Shares:
    return np.hstack([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]])


def _swapped(numbers: Shares, _extent: NDArray[np.float64]) -> Shares:
    return _around(numbers[:, [1, 0]], numbers[:, [3, 2]])


def _mirrored(numbers: Shares, _extent: NDArray[np.float64]) -> Shares:
    return _around(np.stack([1 - numbers[:, 0], numbers[:, 1]], axis=1), numbers[:, 2:])


def _upside_down(numbers: Shares, _extent: NDArray[np.float64]) -> Shares:
    return _around(np.stack([numbers[:, 0], 1 - numbers[:, 1]], axis=1), numbers[:, 2:])


def _in_padded_square(numbers: Shares, extent: NDArray[np.float64]) -> Shares:
    """The image stood in the middle of a square of its longer side."""
    larger = extent.max(axis=1, keepdims=True) / extent
    return _around((numbers[:, :2] - 0.5) * larger + 0.5, numbers[:, 2:] * larger)


def _in_square_below(numbers: Shares, extent: NDArray[np.float64]) -> Shares:
    """The same square, filled up to the right or below."""
    larger = extent.max(axis=1, keepdims=True) / extent
    return _around(numbers[:, :2] * larger, numbers[:, 2:] * larger)


RULES: Final = (
    Rule("corners", "two corners x1 y1 x2 y2", lambda numbers, _extent: numbers),
    Rule("corner_and_size", "the upper left corner and the size", _of_corner),
    Rule("axes_swapped", "y x height width", _swapped),
    Rule("mirrored", "drawn on the mirrored image", _mirrored),
    Rule("upside_down", "counted from the lower edge", _upside_down),
    Rule("padded_square", "drawn on the image padded to a square", _in_padded_square),
    Rule("padded_below", "drawn on the image padded to a square, to the right or below", _in_square_below),
)
"""what is written wrongly in practice, in the order of trying"""
NEIGHBOURS: Final = {"next_image": 1, "previous_image": -1}
"""rules of another kind: the labels are those of the image after or before, by file name"""

_TURNS: Final[dict[int, Callable[[Shares, Shares], tuple[Shares, Shares]]]] = {
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""EXIF orientation -> where a point of the stored image comes to lie (Exif 3.0, tag 0x0112)"""


@dataclass(frozen=True)
class _Reading:
    """The labels as one rule has them: `box` (m, 4) in pixels of `image` (m,), positions in the matches' images."""

    name: str
    description: str
    box: NDArray[np.float64]
    image: NDArray[Any]


def other_reading(base: Baseline, entries: Sequence[ImageEntry]) -> tuple[Matches, InterventionFacts] | None:
    """The matches with the labels read by the rule that gives back most, and what it gives back.

    Any class will do: it is where boxes lie that a rule changes, and what was turned may look like another class (a
    sign). None where no rule surely gives back LEAST_GAIN. Of labels drawn before their image was turned, the matches
    are those of the other images: what the turned ones show can't be judged until they are turned back. `entries` are
    the images of `base`, in its order.
    """
    matches, count = base.matches, len(base.matches.image)
    blind = Baseline.of(
        replace(matches, gt_cls=np.zeros_like(matches.gt_cls), det_cls=np.zeros_like(matches.det_cls)),
        base.protocol,
        base.seed,
    )
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(base.seed).permutation(count)[:SCREENED]] = True
    before = base.map50_95(_matched(blind, _as_written(base), chosen))
    gains = [(base.map50_95(_matched(blind, one, chosen)) - before, one) for one in _readings(base, entries)]
    gain, best = max(gains, key=lambda entry: entry[0])
    if gain < LEAST_GAIN:
        return None
    said = f"Labels read as {best.description}, where any class will do."
    found = blind.compared(READ_AS + best.name, said, "intervention", _matched(blind, best))
    if found.ci95 is None or found.ci95[0] < LEAST_GAIN:
        return None
    if best.name == BEFORE_TURNING:
        upright = np.array([entry.orientation == 1 for entry in entries])
        return _matched(base, _as_written(base), upright), found
    return _matched(base, best), found


def _matched(base: Baseline, reading: _Reading, chosen: NDArray[np.bool_] | None = None) -> Matches:
    """The matches with the labels of a reading; on the images `chosen` (k,) only, if they are given."""
    matches, box, image = base.matches, reading.box, reading.image
    cls = matches.gt_cls
    if chosen is not None:
        kept = chosen[image]
        box, image, cls = box[kept], image[kept], cls[kept]
        labels = np.zeros(len(matches.gt_cls), dtype=bool)
        matches = matches.taking(detections=chosen[matches.det_image], labels=labels)
    return relabelled(matches, base.protocol, gt_box=box, gt_image=image, gt_cls=cls)


def _as_written(base: Baseline) -> _Reading:
    return _Reading("as_written", "they are", base.matches.gt_box.astype(np.float64), base.matches.gt_image)


def _readings(base: Baseline, entries: Sequence[ImageEntry]) -> list[_Reading]:
    """The labels by every rule that may change some."""
    image = base.matches.gt_image
    sides = np.array([(entry.width, entry.height) for entry in entries], dtype=np.float64)
    extent = sides[image]
    corners = base.matches.gt_box.astype(np.float64) / np.tile(extent, 2)
    numbers = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    found = [
        _Reading(rule.name, rule.description, rule.read(numbers, extent) * np.tile(extent, 2), image) for rule in RULES
    ]
    orientation = np.array([entry.orientation for entry in entries])[image]
    if (orientation > 1).any():
        box = _turned(corners, orientation) * np.tile(extent, 2)
        found.append(_Reading(BEFORE_TURNING, "drawn before the EXIF tag turned the image", box, image))
    order = np.argsort([entry.file for entry in entries], kind="stable")
    place = np.argsort(order)
    for name, step in NEIGHBOURS.items():
        other = order[(place[image] + step) % len(order)]
        said = f"those of the {name.replace('_', ' ')} by file name"
        found.append(_Reading(name, said, corners * np.tile(sides[other], 2), other))
    return found


def _turned(corners: Shares, orientation: NDArray[Any]) -> Shares:
    """Corners as shares of the stored image, as those of the image that its orientation (m,) makes of it."""
    turned = corners.copy()
    for number, turn in _TURNS.items():
        rows = orientation == number
        x, y = turn(corners[rows][:, [0, 2]], corners[rows][:, [1, 3]])
        turned[rows] = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
    return turned
