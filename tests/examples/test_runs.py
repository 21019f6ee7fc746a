"""The example runs are what they are said to be: small, complete, told apart by lr0, and silent about their machine."""

from __future__ import annotations

import csv
import re

import pytest
import yaml

from examples.train import LEARNING_RATES, RUNS, SHARED

NAMES = list(LEARNING_RATES)
MACHINE_PATHS = re.compile(rb"/(?:tmp|root|home|work|usr|opt|var|Users|mnt)/[A-Za-z0-9._-]+|[A-Z]:\\\\")
MAP50_95 = "metrics/mAP50-95(B)"


def _rows(name: str) -> list[dict[str, str]]:
    with (RUNS / name / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _best(name: str) -> float:
    return max(float(row[MAP50_95]) for row in _rows(name))


def test_they_stay_small() -> None:
    assert sum(path.stat().st_size for path in RUNS.rglob("*") if path.is_file()) < 4_000_000


@pytest.mark.parametrize("name", NAMES)
def test_they_hold_what_an_audit_reads(name: str) -> None:
    files = {str(path.relative_to(RUNS / name)) for path in (RUNS / name).rglob("*") if path.is_file()}
    assert files == {"args.yaml", "results.csv", "weights/best.pt"}


@pytest.mark.parametrize("name", NAMES)
def test_they_name_no_folder_of_the_machine_they_were_made_on(name: str) -> None:
    found = {
        str(path.relative_to(RUNS)): set(MACHINE_PATHS.findall(path.read_bytes()))
        for path in (RUNS / name).rglob("*")
        if path.is_file()
    }
    assert {file: names for file, names in found.items() if names} == {}


def test_they_were_trained_alike_but_for_the_learning_rate() -> None:
    healthy, faulty = (yaml.safe_load((RUNS / name / "args.yaml").read_text()) for name in ("healthy", "faulty"))
    differing = {key for key in healthy if healthy[key] != faulty[key]}
    assert differing == {"lr0", "name", "save_dir"}
    assert {name: args["lr0"] for name, args in (("healthy", healthy), ("faulty", faulty))} == LEARNING_RATES
    assert {key: healthy[key] for key in SHARED} == SHARED


def test_the_healthy_one_learnt_and_the_faulty_one_did_not() -> None:
    assert _best("healthy") > 0.6
    assert _best("faulty") < 0.05
    assert len(_rows("healthy")) == SHARED["epochs"]
