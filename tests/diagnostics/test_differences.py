"""The interval of a difference: against the case with a formula of its own, and by how often it holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.diagnostics.differences import difference_interval


def test_of_symmetrical_intervals_it_is_the_root_of_the_sum_of_squares():
    assert difference_interval(0.5, (0.47, 0.53), 0.6, (0.56, 0.64)) == pytest.approx((0.05, 0.15))


def test_skew_goes_to_the_side_where_it_works():
    lower, upper = difference_interval(0.5, (0.4, 0.51), 0.5, (0.49, 0.5)) or (0.0, 0.0)
    assert lower == pytest.approx(-((0.01**2 + 0.01**2) ** 0.5))
    assert upper == pytest.approx(0.1)


@pytest.mark.parametrize("one", [None, (0.5, 0.5)])
def test_without_an_interval_of_both_there_is_none(one: tuple[float, float] | None):
    assert difference_interval(0.5, one, 0.6, (0.5, 0.7)) is None
    assert difference_interval(0.6, (0.5, 0.7), 0.5, one) is None


def test_it_holds_the_truth_about_as_often_as_it_says():
    """Means of a skewed quantity, each with its percentile bootstrap interval, as the evaluation makes them."""
    draw = np.random.default_rng(3)
    held, trials = 0, 300
    for _ in range(trials):
        ends = []
        for scale in (1.0, 1.5):
            values = draw.exponential(scale, 60)
            replicates = values[draw.integers(0, 60, (300, 60))].mean(axis=1)
            low, high = np.percentile(replicates, [2.5, 97.5])
            ends.append((float(values.mean()), (float(low), float(high))))
        interval = difference_interval(*ends[0], *ends[1])
        assert interval is not None
        held += interval[0] <= 0.5 <= interval[1]
    assert 0.90 <= held / trials <= 0.98
