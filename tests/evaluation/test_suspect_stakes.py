"""What hangs on a suspect: by what a queue in that order gains, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.label_interventions import Baseline, with_corrections
from runaudit.evaluation.label_quality import KINDS, Suspects, label_quality
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.suspect_stakes import stakes
from tests.evaluation.planted_labels import SIDE, ErrorKind, World, planted, simulated
from tests.evaluation.scenes import by_hand

WHOLE = (0, 0, 100, 100)
FAR = (300, 0, 400, 100)


def imbalanced(seed: int) -> Matches:
    """A simulated detector's matches, with a fifteenth of class 0 left and a fifth of class 1."""
    matches = simulated(World(images=400, seed=seed))
    share = np.array([1 / 15, 0.2, 1.0, 1.0])
    generator = np.random.default_rng(seed)
    kept = generator.uniform(size=len(matches.gt_cls)) < share[matches.gt_cls]
    found = matches.tp[:, 0] & (generator.uniform(size=len(matches.det_cls)) >= share[matches.det_cls])
    return matches.taking(detections=~found, labels=kept)


@pytest.mark.parametrize("kind", ["swap", "missing"])
def test_the_first_forty_of_the_queue_gain_more_than_the_forty_likeliest(kind: ErrorKind) -> None:
    sizes = np.full((400, 2), SIDE)
    wrong, _ = planted(imbalanced(3), sizes, kind, 0.15)
    suspects = label_quality(wrong, sizes, seed=0).suspects
    suspects = suspects.taking(np.flatnonzero(suspects.score >= 0.5))
    base = Baseline.of(wrong, ULTRALYTICS)

    def gain(rows: np.ndarray) -> float:
        return base.map50_95(with_corrections(base, suspects.taking(rows))) - base.value

    by_stake = np.argsort(-stakes(base.matches, suspects), kind="stable")[:40]
    assert len(suspects.score) > 80
    assert gain(by_stake) > 1.15 * gain(np.arange(40)) > 0


def suspect(kind: str, label: int, detection: int, score: float = 1.0) -> Suspects:
    return Suspects(np.array([KINDS.index(kind)]), np.array([label]), np.array([detection]), np.array([score]))  # type: ignore[arg-type]


def test_by_hand() -> None:
    """Class 0 has one label that nothing found; class 1 two, of which the surest detection finds one at 0.75."""
    near = (300, 0, 400, 77)
    labels = [(0, 0, WHOLE), (0, 1, FAR), (0, 1, (500, 0, 600, 100))]
    matches = by_hand(labels, [(0, 1, 0.9, near), (0, 1, 0.8, WHOLE), (0, 1, 0.7, (0, 300, 50, 350))])
    assert matches.tp[0].sum() == 6, "0.50 to 0.75"
    before = 0.6 / 2
    removed = before / 1
    expected = {
        # One of one label, which nothing found: 0 before, 0 after.
        ("spurious", 0, -1): 0.0,
        ("duplicated", 2, -1): removed,
        # Found at every threshold: a recall of a half at precision 1.
        ("misplaced", 1, 0): 1 / 2 - before,
        # Three labels: precision 1 at the six thresholds of the first, then 2/2; 1/2 at the other four.
        ("overlooked", -1, 1): abs((6 * 2 + 4 * 0.5) / 30 - before),
        # The same of its own class, and nothing of the class that it leaves.
        ("swapped", 0, 1): abs((6 * 2 + 4 * 0.5) / 30 - before),
    }
    for (kind, label, detection), moved in expected.items():
        assert stakes(matches, suspect(kind, label, detection))[0] == pytest.approx(moved / 2), kind
    halved = stakes(matches, suspect("duplicated", 2, -1, score=0.5))[0]
    assert halved == pytest.approx(removed / 4)
