"""What is audited: the split holds, each cause has its negatives there, and faults count only when they had effect."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from benchmarks.planted.audit_cases import remembering
from benchmarks.planted.bases import BASES, render
from benchmarks.planted.cases import cases
from benchmarks.planted.faults import DOUBLES, FAULTS, drop_labels, swap_classes
from benchmarks.planted.score import printed, true_of, verified
from benchmarks.planted.trainings import HELD_OUT_BASES, RUNS, Training, change_data, copy_run, families, trainings

CASES = cases()
BY_NAME = {case.name: case for case in CASES}
KEPT = [training for training in trainings() if training.folder.exists()]


def audited(**changed: Any) -> dict[str, Any]:
    """A line as `audit_cases` writes it, of a run in which nothing was found."""
    line = {"findings": [], "map50_95": 0.8, "f1_default": 0.9, "ci95": [0.75, 0.85], "images": 80, "baselines": {}}
    return line | changed


def finding(cause: str, severity: str = "major") -> dict[str, Any]:
    return {"cause": cause, "severity": severity, "direction": "lowers", "impact": 0.1, "ci95": None}


def labels(root: Path, split: str) -> list[list[str]]:
    files = sorted((root / "labels" / split).glob("*.txt"))
    return [line.split() for file in files for line in file.read_text().splitlines()]


def test_names_are_unique_and_every_pair_is_a_case():
    assert max(Counter(case.name for case in CASES).values()) == 1
    assert all(case.paired in BY_NAME for case in CASES if case.paired is not None)


def test_held_out_runs_set_no_threshold():
    """They share no data set with the others, and most of them no family."""
    scoring = [case for case in CASES if case.held_out]
    others = [case for case in CASES if not case.held_out]
    assert {case.training.base for case in scoring}.isdisjoint(case.training.base for case in others)
    new = {case.training.family for case in scoring} - {case.training.family for case in others}
    assert sum(case.training.family in new for case in scoring) > len(scoring) / 2


def test_a_third_of_the_held_out_cases_is_clean():
    scoring = [case for case in CASES if case.held_out and case.training.folder.exists()]
    assert sum(case.expected is None for case in scoring) >= 0.3 * len(scoring)


def test_every_variant_of_a_fault_is_held_out_at_every_severity():
    planted = {(case.fault.variant, case.severity) for case in CASES if case.held_out and case.fault is not None}
    assert planted >= {(fault.variant, severity) for fault in FAULTS for severity in (1, 2, 3)}


def test_pairs_of_faults_name_both():
    doubles = [case for case in CASES if case.held_out and case.beside is not None]
    assert len(doubles) == len(DOUBLES)
    for case in doubles:
        assert case.paired is not None
        assert case.beside == BY_NAME[case.paired].expected
        assert case.beside in case.accepted_beside
        assert case.expected != case.beside


@pytest.mark.parametrize(
    ("variant", "lost", "counts"),
    [
        ("dark", audited(map50_95=0.79), False),
        ("dark", audited(map50_95=0.75), True),
        ("shifted", audited(f1_default=0.88), False),
        ("shifted", audited(f1_default=0.7), True),
        ("shifted", audited(f1_default=None), True),
        ("cut", audited(ci95=[0.7, 0.8]), False),
        ("cut", audited(ci95=[0.6, 0.9]), True),
        ("truncated", audited(images=78), False),
        ("truncated", audited(images=50), True),
        ("exact", audited(map50_95=0.81), False),
        ("exact", audited(map50_95=0.9), True),
    ],
)
def test_a_fault_counts_only_when_it_had_effect(variant: str, lost: dict[str, Any], counts: bool):
    case = next(case for case in CASES if case.fault is not None and case.fault.variant == variant)
    assert verified(case, lost, audited()) is counts


def test_more_epochs_are_no_alarm_where_twice_as_many_brought_two_points():
    plain, other = BY_NAME["parcels-v5-clean"], BY_NAME["parcels-v5-clean-seed-5"]
    second = BY_NAME["parcels-26-clean"]
    lines = {
        "parcels-v5-clean": audited(map50_95=0.80),
        "parcels-v5-clean-long": audited(map50_95=0.83),
        "parcels-v5-clean-seed-5": audited(map50_95=0.84),
        "parcels-v5-clean-seed-5-long": audited(map50_95=0.85),
    }
    assert true_of(plain, lines) == {"insufficient_epochs"}
    assert true_of(other, lines) == frozenset(), "it has a longer one of its own"
    assert true_of(second, lines) == {"insufficient_epochs"}, "without a longer one, that of the other family"
    assert true_of(BY_NAME["parcels-v5-clean-long"], lines) == frozenset()


def test_pairs_of_faults_are_scored_apart():
    double = next(case for case in CASES if case.held_out and case.beside == "overfitting")
    assert double.paired is not None
    alone = BY_NAME[double.paired]
    assert alone.paired is not None
    assert double.expected is not None
    lines = {
        alone.paired: audited(),
        alone.name: audited(map50_95=0.6, findings=[finding("overfitting")]),
        double.name: audited(map50_95=0.4, findings=[finding("overfitting"), finding(double.expected)]),
    }
    said = printed([(BY_NAME[name], line) for name, line in lines.items()], lines)
    assert any(line.startswith("faults verified: 1,") for line in said)
    assert any("both among the first 3 1.00" in line and "(n=1)" in line for line in said)


def test_careless_labels_are_the_same_in_training_and_audit(tmp_path: Path):
    roots = [tmp_path / "training", tmp_path / "audit"]
    training = Training("parcels", "v5", "annotation_errors", 2, careless="dropped", spoilt=0.3)
    for root in roots:
        render("parcels", root, seed=1, train=6, val=6)
        before = {split: len(labels(root, split)) for split in ("train", "val")}
        change_data(training, root)
    for split in ("train", "val"):
        assert labels(roots[0], split) == labels(roots[1], split)
        assert len(labels(roots[0], split)) < 0.9 * before[split]


def test_a_rendered_data_set_is_remembered_as_it_was(tmp_path: Path):
    """Also after a case has changed its copy."""
    (tmp_path / "kept").mkdir()
    renderer = remembering(tmp_path / "kept")
    render("parcels", tmp_path / "plain", seed=1, train=1, val=2)
    renderer("parcels", tmp_path / "first", seed=1, train=1, val=2)
    drop_labels(tmp_path / "first", 1.0, np.random.default_rng(0))
    data = renderer("parcels", tmp_path / "second", seed=1, train=1, val=2)
    assert data == tmp_path / "second" / "data.yaml"
    for file in sorted((tmp_path / "plain").rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(tmp_path / "plain")).read_bytes()


def test_swapped_classes_leave_the_boxes(tmp_path: Path):
    render("parcels", tmp_path, seed=1, train=0, val=10)
    before = labels(tmp_path, "val")
    swap_classes(tmp_path, 0.5, np.random.default_rng(0))
    after = labels(tmp_path, "val")
    assert [row[1:] for row in before] == [row[1:] for row in after]
    changed = sum(one[0] != other[0] for one, other in zip(before, after, strict=True))
    assert 0.3 < changed / len(before) < 0.7
    drop_labels(tmp_path, 1.0, np.random.default_rng(0))
    assert labels(tmp_path, "val") == []


def test_a_run_that_is_dark_is_so_in_both_splits(tmp_path: Path):
    brightness = []
    for light in (1.0, 0.35):
        root = tmp_path / str(light)
        render("parcels", root, seed=1, train=2, val=2)
        change_data(Training("parcels", "v5", light=light), root)
        images = [root / "images" / split for split in ("train", "val")]
        brightness.append([cv2.imread(str(next(iter(sorted(folder.iterdir()))))).mean() for folder in images])
    assert np.allclose(np.divide(brightness[1], brightness[0]), 0.35, atol=0.02)


@pytest.mark.parametrize("base", list(BASES))
def test_every_base_has_clean_runs_of_its_families(base: str):
    names = {training.name for training in KEPT}
    assert {f"{base}-{family}-clean" for family in families(base)} <= names


@pytest.fixture(scope="module")
def arguments() -> dict[str, dict[str, Any]]:
    return {
        training.name: yaml.load((training.folder / "args.yaml").read_text(), yaml.CSafeLoader) for training in KEPT
    }


def test_kept_runs_say_what_they_were_trained_with(arguments: dict[str, dict[str, Any]]):
    for training in KEPT:
        for key, value in training.settings.items():
            # ultralytics rounds the size up to a multiple of its largest stride.
            expected = 32 * math.ceil(value / 32) if key == "imgsz" else value
            assert arguments[training.name][key] == expected, f"{training.name}: {key}"


def test_kept_runs_name_no_folder_of_a_machine(arguments: dict[str, dict[str, Any]]):
    for said in arguments.values():
        assert not [value for value in said.values() if isinstance(value, str) and value.startswith("/")]


def test_packed_checkpoints_are_unpacked_as_the_training_left_them(tmp_path: Path):
    packed = next(training for training in KEPT if training.base in HELD_OUT_BASES)
    copy_run(packed, tmp_path / "run")
    # A checkpoint is a zip archive.
    assert (tmp_path / "run" / "weights" / "best.pt").read_bytes()[:4] == b"PK\x03\x04"
    assert sorted(file.name for file in (tmp_path / "run" / "weights").iterdir()) == ["best.pt"]


def test_all_runs_together_stay_below_80_megabytes():
    assert sum(file.stat().st_size for file in RUNS.rglob("*") if file.is_file()) < 80_000_000
