"""Accuracy against the framework's own class, intervals against published and brute-force figures."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.classification_metrics import (
    MOST_CONFUSIONS,
    Accuracy,
    accuracy,
    accuracy_intervals,
    class_accuracies,
    confusions,
)
from runaudit.evaluation.framework import framework

NAMES = {0: "ant", 1: "bee", 2: "cat"}


def ranking(images: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest classes of random scores, and random targets."""
    generator = np.random.default_rng(seed)
    ranked = np.argsort(-generator.random((images, classes)), axis=1)[:, : min(5, classes)].astype(np.int32)
    return ranked, generator.integers(0, classes, images).astype(np.int32)


@settings(deadline=None)  # the framework is imported by the first example
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**16))
def test_accuracy_is_the_frameworks(images: int, classes: int, seed: int) -> None:
    framework()
    ranked, target = ranking(images, classes, seed)
    theirs = import_module("ultralytics.utils.metrics").ClassifyMetrics()
    theirs.process([torch.from_numpy(target)], [torch.from_numpy(ranked)])
    ours = accuracy(ranked, target)
    assert (ours.top1, ours.top5) == pytest.approx((theirs.top1, theirs.top5), abs=1e-6)
    assert ours.top1 <= ours.top5
    if classes <= 5:
        assert ours.top5 == 1.0


def test_accuracy_has_wilsons_interval_which_keeps_a_width_where_all_are_right() -> None:
    found = accuracy_intervals(Accuracy(top1=81 / 263, top5=1.0), 263)
    assert found["top1"] == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert found["top5"] == (pytest.approx(0.9856, abs=5e-5), 1.0)
    assert accuracy_intervals(Accuracy(1.0, 1.0), 1)["top1"] == (pytest.approx(0.2065, abs=5e-5), 1.0)


def test_classes_and_confusions() -> None:
    target = np.array([0, 0, 0, 1, 1, 0], dtype=np.int32)
    chosen = np.array([0, 1, 1, 1, 0, 0], dtype=np.int32)
    ant, bee, cat = class_accuracies(chosen, target, NAMES, 3)
    assert (ant.images, ant.correct, ant.predicted, ant.recall, ant.precision) == (4, 2, 3, 0.5, 2 / 3)
    assert (bee.images, bee.correct, bee.predicted, bee.recall, bee.precision) == (2, 1, 3, 0.5, 1 / 3)
    assert (cat.images, cat.recall, cat.recall_ci95, cat.precision) == (0, None, None, None)
    assert [(pair.labelled, pair.predicted, pair.images) for pair in confusions(chosen, target, NAMES, 3)] == [
        ("ant", "bee", 2),
        ("bee", "ant", 1),
    ]


def test_only_the_worst_pairs_are_told() -> None:
    target = np.repeat(np.arange(30, dtype=np.int32), 2)
    found = confusions((target + 1) % 30, target, {}, 30)
    assert len(found) == MOST_CONFUSIONS
    assert (found[0].labelled, found[0].predicted) == ("0", "1")
    assert confusions(target, target, {}, 30) == ()
