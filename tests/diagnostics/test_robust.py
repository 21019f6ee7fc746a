"""Robust statistics against known truths."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.diagnostics.robust import (
    fit_power_law,
    noise_sigma,
    robust_sigma,
    rolling_mean,
    theil_sen,
    upward_spikes,
)

GENERATOR = np.random.default_rng(0)


def test_sigma_is_that_of_a_gaussian_and_ignores_outliers():
    values = GENERATOR.normal(3.0, 2.0, 5000)
    assert robust_sigma(values) == pytest.approx(2.0, rel=0.05)
    values[:200] = 1e6
    assert robust_sigma(values) == pytest.approx(2.0, rel=0.1)


def test_noise_of_a_trend_is_the_noise_alone():
    values = np.linspace(0, 50, 3000) + GENERATOR.normal(0, 0.1, 3000)
    assert noise_sigma(values) == pytest.approx(0.1, rel=0.1)
    assert noise_sigma(values[:5]) is None


def test_theil_sen_ignores_a_quarter_of_outliers():
    x = np.arange(100.0)
    y = 2.0 * x
    y[::5] = -1000
    assert theil_sen(x, y) == pytest.approx(2.0, rel=0.01)
    assert theil_sen(np.ones(5), np.arange(5.0)) == 0.0


def test_rolling_mean_of_a_known_series():
    assert rolling_mean(np.asarray([1.0, 2.0, 6.0]), 2) == pytest.approx([1.5, 4.0])


def test_spikes_stand_out_upwards_only():
    values = np.zeros(50)
    values[10], values[20] = 1.0, -1.0
    assert np.flatnonzero(upward_spikes(values, half_width=3, deviations=5.0, floor=0.2)).tolist() == [10]
    assert not upward_spikes(np.ones(3), half_width=3, deviations=5.0, floor=0.2).any()


def test_a_power_law_is_recovered_with_an_interval_that_covers_it():
    epochs = np.arange(4.0, 120.0)
    truth = 0.3 * (100**-0.7 - 200**-0.7)
    covered = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.002, epochs.size)
        law = fit_power_law(epochs, 0.6 - 0.3 * epochs**-0.7 + noise)
        assert law is not None
        assert law.gain(100, 200) == pytest.approx(truth, abs=0.01)
        low, high = law.gain_ci95(100, 200)
        covered += low <= truth <= high
    assert covered >= 15


def test_a_falling_curve_promises_nothing():
    law = fit_power_law(np.arange(1.0, 40.0), np.linspace(0.6, 0.3, 39))
    assert law is not None and law.gain(40, 80) == 0.0
    assert fit_power_law(np.arange(5.0), np.arange(5.0)) is None
