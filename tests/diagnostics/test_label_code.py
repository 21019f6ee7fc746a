"""The code that annotation_errors prints, run on label files: what it changes, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runaudit.diagnostics.label_issues import _DEDUPLICATE, correction_code
from tests.diagnostics import cases

CORRECT = correction_code(cases.box_habit(1.25, 1.25, right=0.1))
POLYGON = "0 0.30 0.60 0.58 0.60 0.58 0.72 0.30 0.72\n"


def run(code: str, folder: Path, content: str) -> subprocess.CompletedProcess[str]:
    labels = folder / "dataset" / "labels" / "val"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text(content)
    return subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, capture_output=True, text=True)


def test_a_constant_is_taken_off_boxes_and_the_labels_are_kept(tmp_path: Path) -> None:
    assert run(CORRECT, tmp_path, "1 0.5 0.5 0.25 0.5\n\n").returncode == 0
    assert (tmp_path / "dataset/labels/val/a.txt").read_text() == "1 0.480000 0.500000 0.200000 0.400000\n"
    assert (tmp_path / "dataset/labels_before/val/a.txt").read_text() == "1 0.5 0.5 0.25 0.5\n\n"


def test_an_edge_at_the_border_stays_there(tmp_path: Path) -> None:
    assert run(CORRECT, tmp_path, "1 0.1225 0.5 0.245 0.5\n").returncode == 0
    assert (tmp_path / "dataset/labels/val/a.txt").read_text() == "1 0.100000 0.500000 0.200000 0.400000\n"


def test_twice_the_same_box_is_kept_once(tmp_path: Path) -> None:
    rows = "1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.19\n0 0.5 0.5 0.2 0.2\n1 0.6 0.5 0.2 0.2\n"
    assert run(_DEDUPLICATE, tmp_path, rows).returncode == 0
    kept = (tmp_path / "dataset/labels/val/a.txt").read_text().splitlines()
    assert kept == [rows.splitlines()[0], *rows.splitlines()[2:]]


@pytest.mark.parametrize("code", [CORRECT, _DEDUPLICATE], ids=["correct", "deduplicate"])
def test_polygons_are_left_as_they_are(code: str, tmp_path: Path) -> None:
    ended = run(code, tmp_path, POLYGON)
    assert ended.returncode == 1
    assert "only rows of" in ended.stderr
    assert (tmp_path / "dataset/labels/val/a.txt").read_text() == POLYGON
