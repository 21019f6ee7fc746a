"""What more epochs and a usual rate bring, against trainings that were really made (benchmarks/planted/runs)."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks.planted.trainings import PAIRS, RUNS
from runaudit.diagnostics.more_epochs import (
    Gain,
    gain_of_a_usual_rate,
    gain_of_few,
    gain_of_more,
    gain_of_rising,
    gain_of_the_rest,
    last_doubling,
    rises,
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
    return values(RUNS / f"{base}-{PAIRS[base]}-{name}" / "results.csv")


def values(table: Path) -> np.ndarray:
    with table.open(newline="") as file:
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


def test_beginnings_that_rise_steadily_have_more_to_come() -> None:
    """The first 4 to 9 epochs of each training that went on for at least 20, of the data sets that set the shares.

    Only the lower end can be held against them: where the rate is still high, mAP lies below that of a short schedule.
    """
    brought, least = [], []
    for folder in sorted(RUNS.iterdir()):
        table = folder / "results.csv"
        if not folder.name.startswith(BASES) or not table.exists() or len(table.read_text().splitlines()) < 21:
            continue
        metric = values(table)
        for size in range(4, 10):
            if rises(metric[:size], 0.02):
                best = float(metric[:size].max())
                brought.append(float(metric.max()) - best)
                least.append(gain_of_rising(best, metric.size / size).ci95[0])
    assert len(brought) > 70
    assert min(brought) > 0.05
    assert all(gain >= low for gain, low in zip(brought, least, strict=True))


@pytest.mark.parametrize("size", range(4, 10))
def test_chance_rises_in_less_than_one_row_of_twenty(size: int) -> None:
    rng = np.random.default_rng(size)
    assert sum(rises(rng.uniform(size=size), 0.0) for _ in range(4000)) < 0.05 * 4000
    assert rises(np.linspace(0.1, 0.3, size), 0.02)
    assert not rises(np.linspace(0.1, 0.11, size), 0.02), "by too little"
    assert not rises(np.linspace(0.3, 0.1, size), 0.02)


@pytest.mark.parametrize("size", [0, 1, 3, 10])
def test_of_too_few_or_many_rows_nothing_is_said(size: int) -> None:
    assert not rises(np.linspace(0.1, 0.9, size), 0.02)


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
