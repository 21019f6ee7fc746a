"""Which file names belong to one series of frames."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.sequences import frames, neighbours, taken


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("images/train/film_0012.jpg", "images/val/film_0013.png", True),
        ("a/film_12_jpg.rf.0a1b2c.jpg", "b/film_13_jpg.rf.ffee99.jpg", True),
        ("frame12.jpg", "frame40.jpg", False),
        ("left_12.jpg", "right_12.jpg", False),
        ("cam1_0012_l.jpg", "cam1_0013_l.jpg", True),
        ("cam1_0012.jpg", "cam2_0012.jpg", False),
        ("20240102030405.jpg", "20240102030406.jpg", False),
        ("cat.jpg", "cat.png", False),
    ],
)
def test_names(first: str, second: str, together: bool) -> None:
    named = frames([first, second])
    left, right = neighbours(taken(named, np.array([0])), taken(named, np.array([1])))
    assert (left.tolist(), right.tolist()) == (([0], [0]) if together else ([], []))


def test_neighbours_are_counted_once_each_way() -> None:
    named = frames([f"f_{number}.jpg" for number in (0, 5, 10, 11, 40)])
    left, right = neighbours(named, named)
    pairs = {(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True) if a < b}
    assert pairs == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
