"""Labels written by another rule are told by it, and right labels by none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from runaudit.evaluation.label_interventions import Baseline, class_blind
from runaudit.evaluation.label_readings import LEAST_GAIN, other_reading
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from runaudit.runs.facts import ImageEntry
from tests.evaluation.planted_labels import World, simulated, square_sizes

Written = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""centre and size (m, 4) as shares to what stands in the file instead"""


def entries_of(matches: Matches, orientation: int = 1) -> list[ImageEntry]:
    """Images whose names are in another order than the matches have them, the odd ones turned by `orientation`."""
    count = len(matches.image)
    sizes = square_sizes(matches)
    return [
        ImageEntry(
            file=f"images/val/{(7 * number) % count:04d}.jpg",
            split="val",
            width=int(sizes[number, 0]),
            height=int(sizes[number, 1]),
            orientation=orientation if number % 2 else 1,
        )
        for number in range(count)
    ]


def any_class(matches: Matches) -> float:
    """mAP50-95 where any class will do."""
    return class_blind(Baseline.of(matches, ULTRALYTICS)).after


def written(matches: Matches, rule: Written) -> Matches:
    """The matches with what `rule` writes, read as centre and size."""
    extent = np.tile(square_sizes(matches)[matches.gt_image].astype(np.float64), 2)
    box = matches.gt_box / extent
    numbers = rule(np.hstack([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]]))
    read = np.hstack([numbers[:, :2] - numbers[:, 2:] / 2, numbers[:, :2] + numbers[:, 2:] / 2])
    return relabelled(matches, ULTRALYTICS, gt_box=read * extent)


def _corners(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([numbers[:, :2] - numbers[:, 2:] / 2, numbers[:, :2] + numbers[:, 2:] / 2])


def _corner_and_size(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([numbers[:, :2] - numbers[:, 2:] / 2, numbers[:, 2:]])


def _mirrored(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers * [-1, 1, 1, 1] + [1, 0, 0, 0]


def _upside_down(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return numbers * [1, -1, 1, 1] + [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (_corners, "corners"),
        (_corner_and_size, "corner_and_size"),
        (lambda numbers: numbers[:, [1, 0, 3, 2]], "axes_swapped"),
        (_mirrored, "mirrored"),
        (_upside_down, "upside_down"),
    ],
)
def test_labels_written_by_another_rule_are_told_by_it(rule: Written, name: str):
    clean = simulated(World())
    base = Baseline.of(written(clean, rule), ULTRALYTICS)
    found = other_reading(base, entries_of(clean))
    assert found is not None
    after, change = found
    assert change.name == f"labels_read_as_{name}" and change.grade == "intervention"
    assert change.after == pytest.approx(any_class(clean), abs=1e-3)
    assert Baseline.of(after, ULTRALYTICS).value == pytest.approx(Baseline.of(clean, ULTRALYTICS).value, abs=1e-3)
    assert change.ci95 is not None and change.ci95[0] > LEAST_GAIN


@pytest.mark.parametrize("world", [World(), World(difficulty=1.0, seed=1), World(small=0.3, seed=2)])
def test_right_labels_are_told_by_no_other_rule(world: World):
    matches = simulated(world)
    assert other_reading(Baseline.of(matches, ULTRALYTICS), entries_of(matches, orientation=6)) is None


def test_labels_drawn_before_the_image_was_turned_are_told():
    clean = simulated(World())
    turned = clean.gt_image % 2 == 1

    def before(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        # Orientation 6 turns the stored image clockwise: a point (x, y) of it comes to lie at (1 - y, x).
        stored = np.stack([numbers[:, 1], 1 - numbers[:, 0], numbers[:, 3], numbers[:, 2]], axis=1)
        return np.where(turned[:, None], stored, numbers)

    base = Baseline.of(written(clean, before), ULTRALYTICS)
    found = other_reading(base, entries_of(clean, orientation=6))
    assert found is not None and found[1].name == "labels_read_as_before_turning"
    after, change = found
    assert change.after == pytest.approx(any_class(clean), abs=1e-3)
    # What is left to judge are the labels of the images that nothing turned.
    assert set(after.gt_image.tolist()) == set(clean.gt_image[~turned].tolist())


def test_what_was_turned_may_look_like_another_class():
    clean = simulated(World())
    box = np.hstack([clean.gt_box[:, 1::-1], clean.gt_box[:, :1:-1]])
    swapped = relabelled(clean, ULTRALYTICS, gt_box=box, gt_cls=(clean.gt_cls + 1) % 4)
    found = other_reading(Baseline.of(swapped, ULTRALYTICS), entries_of(clean))
    assert found is not None and found[1].name == "labels_read_as_axes_swapped"


@pytest.mark.parametrize(("step", "name"), [(1, "next_image"), (-1, "previous_image")])
def test_labels_of_the_image_beside_are_told_by_the_order_of_names(step: int, name: str):
    clean = simulated(World())
    entries = entries_of(clean)
    order = np.argsort([entry.file for entry in entries])
    given = order[(np.argsort(order)[clean.gt_image] - step) % len(order)]
    moved = relabelled(clean, ULTRALYTICS, gt_image=given)
    found = other_reading(Baseline.of(moved, ULTRALYTICS), entries)
    assert found is not None and found[1].name == f"labels_read_as_{name}"
    assert found[1].after == pytest.approx(any_class(clean), abs=1e-3)
