"""Tests of two samples: right where they differ, silent where they don't, and not fooled by images in groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp, rankdata

from runaudit.evaluation.two_samples import Samples, discrimination, distance, distance_interval, holm


def samples(first: int, second: int, *, seed: int = 0, group: np.ndarray | None = None, count: int = 199) -> Samples:
    is_second = np.arange(first + second) >= first
    return Samples.of(is_second, np.arange(first + second) if group is None else group, seed=seed, count=count)


def test_the_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(size=80), rng.normal(0.5, 1, size=60)].round(1)
    expected = ks_2samp(values[:80], values[80:]).statistic
    far, p_value = distance(values, samples(80, 60))
    assert far == pytest.approx(expected)
    assert p_value < 0.05
    low, high = distance_interval(values, samples(80, 60), seed=1)
    assert 0 <= low <= high <= 1


def test_holm_adjusts_as_the_paper_does() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == pytest.approx([1.0, 1.0])


def test_equal_sets_are_seldom_told_apart() -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        alarms += distance(rng.normal(size=100), samples(50, 50, seed=seed))[1] <= 0.05
    assert alarms <= 12  # of a binomial with 0.05 and 100, more in 1 of 1000 cases


def test_groups_are_exchanged_whole() -> None:
    rng = np.random.default_rng(0)
    alarms, naive = 0, 0
    group = np.repeat(np.arange(20), 10)
    for seed in range(60):
        values = rng.normal(size=20)[group] + 0.1 * rng.normal(size=200)
        alarms += distance(values, samples(100, 100, seed=seed, group=group))[1] <= 0.05
        naive += distance(values, samples(100, 100, seed=seed))[1] <= 0.05
    assert alarms <= 9
    assert naive > 30


def test_exchanges_keep_the_size_of_the_set() -> None:
    assert (samples(70, 30).orders.sum(axis=1) == 30).all()


def test_a_classifier_tells_sets_apart_by_what_they_differ_in() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 30))
    nothing = discrimination(features, samples(100, 100), seed=0)
    assert nothing.p_value > 0.05
    assert nothing.area < nothing.null
    features[100:, 3] += 2
    found = discrimination(features, samples(100, 100), seed=0)
    assert found.area > 0.85
    assert found.p_value == pytest.approx(1 / 200)
    ranks = rankdata(found.scores)
    assert found.area == pytest.approx((ranks[100:].sum() - 100 * 101 / 2) / 10_000)


def test_a_classifier_does_not_learn_groups_by_heart() -> None:
    group = np.repeat(np.arange(20), 10)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 30))[group] + 0.01 * rng.normal(size=(200, 30))
    assert discrimination(features, samples(100, 100, group=group), seed=0).p_value > 0.05
