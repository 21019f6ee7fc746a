"""Statistics of counts against scipy and published examples."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.diagnostics.counting import (
    balanced_weights,
    chi_square_tail,
    cramers_v,
    effective_numbers,
    g_statistic,
    imbalance_ratio,
    normalised_entropy,
    weighted_theil_sen,
)


@pytest.mark.parametrize(
    ("statistic", "degrees", "probability"), [(3.841, 1, 0.05), (18.307, 10, 0.05), (23.209, 10, 0.01)]
)
def test_chi_square_tail_at_tabled_quantiles(statistic: float, degrees: int, probability: float):
    assert chi_square_tail(statistic, degrees) == pytest.approx(probability, abs=0.005)
    assert chi_square_tail(1.0, 0) == 1.0


def test_g_of_a_hand_computed_table():
    table = np.asarray([[10.0, 20.0], [20.0, 10.0]])
    expected = 2 * 2 * (10 * np.log(10 / 15) + 20 * np.log(20 / 15))
    assert g_statistic(table) == (pytest.approx(expected), 1)
    assert g_statistic(np.asarray([[1.0, 2.0], [0.0, 0.0]])) == (0.0, 0)


def test_cramers_v_at_its_ends():
    assert cramers_v(np.asarray([[1000.0, 0.0], [0.0, 1000.0]])) == pytest.approx(1.0, abs=0.01)
    assert cramers_v(np.asarray([[100.0, 200.0], [100.0, 200.0]])) == 0.0


def test_imbalance_and_entropy():
    assert imbalance_ratio(np.asarray([100.0, 10.0, 0.0])) == 10.0
    assert normalised_entropy(np.asarray([5.0, 5.0, 5.0])) == pytest.approx(1.0)
    assert normalised_entropy(np.asarray([5.0, 0.0])) == 0.0


def test_effective_numbers_at_their_limits():
    counts = np.asarray([1.0, 1e9])
    assert effective_numbers(counts, 0.9999) == pytest.approx([1.0, 10_000.0])
    weights = balanced_weights(np.asarray([0.0, 10.0, 1000.0]), 0.9999)
    assert weights.mean() == pytest.approx(1.0)
    assert np.all(np.diff(weights) < 0)


def test_weighted_theil_sen_follows_the_heavy_points():
    x, y = np.asarray([0.0, 1.0, 2.0, 3.0]), np.asarray([0.0, 1.0, 2.0, 90.0])
    assert weighted_theil_sen(x, y, np.asarray([1.0, 1.0, 1.0, 0.01])) == pytest.approx(1.0)
    assert weighted_theil_sen(np.ones(3), np.arange(3.0), np.ones(3)) == 0.0
