"""Permuted ids are mapped back; classes that are only confused are not. The assignment against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation.class_permutation import assignment, best_permutation, class_confusion, complete
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from tests.evaluation.planted_labels import World, simulated


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 5), more=st.integers(0, 2), whole=st.booleans())
def test_the_assignment_is_the_cheapest(seed: int, rows: int, more: int, whole: bool):
    rng = np.random.default_rng(seed)
    cost = rng.integers(-9, 9, (rows, rows + more)).astype(float) if whole else rng.normal(size=(rows, rows + more))
    columns = assignment(cost)
    assert len(set(columns.tolist())) == rows
    cheapest = min(cost[np.arange(rows), list(chosen)].sum() for chosen in permutations(range(rows + more), rows))
    assert cost[np.arange(rows), columns].sum() == pytest.approx(cheapest)


@pytest.mark.parametrize("difficulty", [0.0, 2.0])
@pytest.mark.parametrize("ids", [[1, 2, 3, 4, 0], [2, 1, 0, 3, 4]], ids=["shifted", "two swapped"])
def test_permuted_ids_are_found(ids: list[int], difficulty: float):
    matches = simulated(World(classes=5, difficulty=difficulty))
    permuted = np.array(ids)[matches.gt_cls]
    found = best_permutation(class_confusion(relabelled(matches, ULTRALYTICS, gt_cls=permuted), 5))
    assert found.mapping == {detected: cls for detected, cls in enumerate(ids) if detected != cls}
    assert found.kept is not None and found.moved is not None and found.moved > 3 * found.kept
    assert complete(found.mapping, 5).tolist() == ids


@pytest.mark.parametrize("difficulty", [0.0, 2.0])
def test_right_ids_stay(difficulty: float):
    assert best_permutation(class_confusion(simulated(World(classes=5, difficulty=difficulty)), 5)).mapping == {}


def test_two_classes_that_can_not_be_told_apart_stay():
    matches = simulated(World(classes=5))
    coin = np.random.default_rng(0).integers(0, 2, len(matches.gt_cls))
    mixed = np.where(matches.gt_cls < 2, coin, matches.gt_cls)
    assert best_permutation(class_confusion(relabelled(matches, ULTRALYTICS, gt_cls=mixed), 5)).mapping == {}


def test_a_class_that_is_always_called_by_another_stays():
    matches = simulated(World(classes=5))
    collapsed = np.where(matches.det_cls == 1, 0, matches.det_cls)
    assert best_permutation(class_confusion(relabelled(matches, ULTRALYTICS, det_cls=collapsed), 5)).mapping == {}


def test_rare_classes_follow_once_others_moved():
    confusion = np.zeros((4, 4), dtype=np.int64)
    confusion[0, 1], confusion[1, 0], confusion[2, 3], confusion[3, 2] = 60, 50, 2, 3
    assert best_permutation(confusion).mapping == {1: 0, 0: 1, 3: 2, 2: 3}
    assert best_permutation(confusion[2:, 2:]).mapping == {}


def test_a_mapping_is_completed_to_a_permutation():
    assert sorted(complete({0: 3, 3: 1}, 5).tolist()) == [0, 1, 2, 3, 4]
    assert complete({}, 3).tolist() == [0, 1, 2]
