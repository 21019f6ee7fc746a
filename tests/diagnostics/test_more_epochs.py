"""What more epochs and a usual rate bring, against trainings that were really made (benchmarks/planted/runs)."""

from __future__ import annotations

import csv
from itertools import combinations

import numpy as np
import pytest

from benchmarks.planted.trainings import PAIRS, RUNS
from runaudit.diagnostics.more_epochs import (
    Gain,
    gain_of_a_usual_rate,
    gain_of_few,
    gain_of_more,
    gain_of_the_rest,
    last_doubling,
)

BASES = ("shapes", "cells", "signs", "traffic")
"""the data sets that set the shares; what is held out stays so"""
SCHEDULES = {
    5: "insufficient_epochs-3",
    10: "insufficient_epochs-2",
    20: "insufficient_epochs-1",
    40: "clean",
    80: "clean-long",
}


def curve(base: str, name: str) -> np.ndarray:
    with (RUNS / f"{base}-{PAIRS[base]}-{name}" / "results.csv").open(newline="") as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    return np.asarray([float(row["metrics/mAP50-95(B)"]) for row in rows])


def holds(gain: Gain, brought: float) -> bool:
    return gain.ci95[0] <= brought <= gain.ci95[1]


def test_intervals_hold_what_fresh_schedules_of_more_epochs_brought() -> None:
    held, errors = [], []
    for base in BASES:
        for start, end in combinations([epochs for epochs in SCHEDULES if epochs > 5], 2):
            short = curve(base, SCHEDULES[start])
            brought = float(curve(base, SCHEDULES[end]).max() - short.max())
            gain = gain_of_more(short, end / start)
            held.append(holds(gain, brought))
            errors.append(abs(gain.value - brought))
    assert len(held) == 24 and sum(held) >= 23
    assert np.median(errors) < 0.02


@pytest.mark.parametrize("base", BASES)
def test_five_epochs_gain_what_their_headroom_has(base: str) -> None:
    short = curve(base, SCHEDULES[5])
    brought = float(curve(base, SCHEDULES[40]).max() - short.max())
    gain = gain_of_few(float(short.max()), 8.0)
    assert holds(gain, brought) and gain.value == pytest.approx(brought, abs=0.05)
    assert holds(gain_of_more(short, 8.0), brought) and gain_of_more(short, 8.0).value == pytest.approx(gain.value)


@pytest.mark.parametrize("base", BASES)
def test_the_rest_of_an_interrupted_schedule(base: str) -> None:
    killed = curve(base, "insufficient_epochs-killed-2")
    brought = float(curve(base, "clean").max() - killed.max())
    assert holds(gain_of_the_rest(float(killed.max()), killed.size / 40), brought)


@pytest.mark.parametrize("base", BASES)
def test_a_hundredth_of_the_usual_rate_is_like_a_hundredth_of_the_steps(base: str) -> None:
    slow = curve(base, "learning_rate-low-2")
    brought = float(curve(base, "clean").max() - slow.max())
    gain = gain_of_a_usual_rate(slow, 0.01)
    assert holds(gain, brought) and gain.value == pytest.approx(brought, rel=0.5)


def test_a_level_curve_has_nothing_to_gain() -> None:
    level = np.full(60, 0.7)
    assert last_doubling(level) == 0
    assert gain_of_more(level, 4.0) == Gain(0.0, (0.0, 0.0))
    assert gain_of_a_usual_rate(level, 0.01) == Gain(0.0, (0.0, 0.0))


def test_no_number_of_doublings_promises_more_than_half_of_the_headroom() -> None:
    steep = np.linspace(0.1, 0.8, 40)
    assert gain_of_more(steep, 64.0).ci95[1] == pytest.approx(0.5 * 0.2)
    assert gain_of_more(np.linspace(0.1, 0.8, 8), 1024.0).ci95[1] == pytest.approx(0.5 * 0.2)
