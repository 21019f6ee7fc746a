"""Texts that are far too large, each refused without being read whole (rows Y114, C115, C119 of the attack list)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from runaudit.errors import CurvesError, YamlError
from runaudit.runs.curves import read_curves
from runaudit.runs.dataset import read_dataset
from runaudit.runs.safe_yaml import load_yaml

FIVE_GB = 5 * 10**9
BOUND = 100 << 20
"""bytes that reading may hold: the largest text that is read has 32 MiB, and is held a few times over"""


def sparse(path: Path, begin: str) -> Path:
    """A file of 5 GB that takes no room: `begin`, then NULs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(begin.encode())
        file.truncate(FIVE_GB)
    return path


@pytest.fixture
def bounded() -> Iterator[None]:
    """The test holds no more than BOUND at any time."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < BOUND


@pytest.mark.usefixtures("bounded")
def test_results_of_5_gb(tmp_path: Path) -> None:
    with pytest.raises(CurvesError) as caught:
        read_curves(sparse(tmp_path / "results.csv", "epoch,train/box_loss\n1,2\n"), source="results.csv")
    assert (caught.value.error_code, caught.value.place) == ("results_unreadable", "results.csv:1")


@pytest.mark.usefixtures("bounded")
def test_yaml_of_5_gb(tmp_path: Path) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(sparse(tmp_path / "args.yaml", "task: detect\n"), source="args.yaml")
    assert (caught.value.error_code, caught.value.place) == ("yaml_too_large", "args.yaml:1")


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("begin", ["0 0.5 0.5 0.2 0.2\n", "", "0 " + "0.5 " * 1000])
def test_labels_of_5_gb(tmp_path: Path, begin: str) -> None:
    sparse(tmp_path / "train" / "labels" / "a.txt", begin)
    (tmp_path / "train" / "images").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "train" / "images" / "a.jpg")
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: train/images\n")
    facts, _, _ = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    assert facts.splits["train"].rejected_by == {"label_too_large": 1}


def test_a_list_of_images_of_5_gb(tmp_path: Path) -> None:
    sparse(tmp_path / "train.txt", "./images/a.jpg\n")
    (tmp_path / "val").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "val" / "a.jpg")
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: train.txt\nval: val\n")
    facts, _, _ = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    assert "list_unreadable" in {note.code for note in facts.notes}


@pytest.mark.parametrize("cell", ["=cmd|'/C calc'!A1", "+1+cmd|' /C calc'!A0", "@SUM(1)", "<script>alert(1)</script>"])
def test_cells_that_a_spreadsheet_would_run_are_no_numbers(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(f"epoch,train/box_loss,{cell}\n1,{cell},2\n2,0.5,3\n")
    curves = read_curves(path, source="results.csv")
    assert curves.train_losses == {"box": (None, 0.5)}
    assert curves.other == {cell: (2.0, 3.0)}
