"""Every run and data set of the corpus of real runs, against what its INDEX.md says of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from runaudit.errors import DatasetError
from runaudit.runs.data_yaml import find_data_yaml
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import Framework
from runaudit.runs.run import read_run

pytestmark = pytest.mark.corpus

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus")).resolve()


@dataclass(frozen=True)
class Indexed:
    """One row of the table of runs in INDEX.md. `best` is the highest mAP50-95 (or top-1) and its first row."""

    path: str
    framework: Framework
    task: str
    planned: int | None
    rows: int
    best: tuple[float, int] | None
    reading: str


def indexed_runs() -> list[Indexed]:
    index = CORPUS / "INDEX.md"
    if not index.is_file():
        return []
    runs = []
    for line in index.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 14 or not cells[1].startswith("runs/"):
            continue
        planned, rows = cells[6].split("/")
        best = re.match(r"([0-9.e-]+)@([0-9]+)", cells[10])
        runs.append(
            Indexed(
                path=cells[1],
                framework="yolov9" if "yolov9" in cells[4] else "yolov5" if "yolov5" in cells[4] else "ultralytics",
                task=cells[5],
                planned=None if planned.strip() == "-" else int(planned),
                rows=int(rows),
                best=(float(best[1]), int(best[2])) if best else None,
                reading=cells[13],
            )
        )
    return runs


TASK_EXCEPTIONS = {f"runs/FishStalkers__yolov5_obb__{i}": "obb" for i in range(1, 7)}
"""The index calls YOLOv5's oriented fork by what its hyp.yaml knows; its `theta` loss says oriented boxes."""

STATUS = {
    "runs/0x90Vold__Plant-Disease-Detection__1": "resumed",
    "runs/0x90Vold__Plant-Disease-Detection__2": "interrupted",
    "runs/1enT__CV-practice__1": "interrupted",
    "runs/4fthaab__cartify_ai__1": "inconsistent",
    "runs/AJ-C22__CourtVision__1": "inconsistent",
    "runs/Soypime__Clasificador-IA-Basura__3": "early_stopped",
    "runs/Soypime__Clasificador-IA-Basura__4": "early_stopped",
    # The index, which looks at mAP50-95 alone, calls it interrupted. By YOLOv5's fitness the best row is 193, and
    # 193 and a patience of 100 make 293, where the rows end.
    "runs/Yaoxingtian__my_yolo__8": "early_stopped",
    "runs/lvoxv__AOI_OtherModel_exp__1": "early_stopped",
    "runs/lvoxv__AOI_OtherModel_exp__2": "early_stopped",
    "runs/rafaelpadilla__tennis_autodistill__1": "early_stopped",
}
"""All other runs have as many rows as were planned: finished."""


def test_the_index_lists_every_run() -> None:
    listed = {run.path for run in indexed_runs()}
    assert listed == {f"runs/{path.name}" for path in (CORPUS / "runs").iterdir() if path.is_dir()}


@pytest.mark.parametrize("indexed", indexed_runs(), ids=lambda run: run.path.removeprefix("runs/"))
def test_a_run_reads_as_the_index_says(indexed: Indexed, tmp_path: Path) -> None:
    run = read_run(CORPUS / indexed.path, weights_out=tmp_path / "weights.safetensors")
    assert run.framework == indexed.framework
    assert run.task == TASK_EXCEPTIONS.get(indexed.path, indexed.task)
    assert (run.epochs_planned, run.epochs_run) == (indexed.planned, indexed.rows)
    assert run.status == STATUS.get(indexed.path, "finished")
    assert run.curves is not None
    assert run.model_validate_json(run.model_dump_json()) is not None
    if indexed.best is None:
        return
    column = run.curves.metrics["top1" if run.task == "classify" else "map50_95"]
    values = [value if value is not None else -1.0 for value in column]
    score, row = indexed.best
    assert max(values) == pytest.approx(score, abs=5e-5)
    assert values.index(max(values)) + 1 == row
    # By its version's fitness another row may be the best; it can't be much worse in mAP50-95.
    assert run.best_row is not None
    assert run.best_epoch == run.curves.epochs[run.best_row]
    assert values[run.best_row] >= score - 0.03


@pytest.mark.parametrize(
    ("folder", "images", "labelled", "instances"),
    [
        ("datasets/basketball", {"train": 156, "val": 13, "test": 7}, 173, 1902),
        ("datasets/boxhead", {"train": 126, "val": 9, "test": 5}, 140, 1135),
        ("complete/yolov5n_coco128", {"train": 128, "val": 128}, 252, 1858),
    ],
)
def test_a_data_set_reads_as_the_index_says(folder: str, images: dict[str, int], labelled: int, instances: int) -> None:
    root = CORPUS / folder
    yaml_path = find_data_yaml(root)
    assert yaml_path is not None
    facts, index, labels = read_dataset(root, yaml_path, own_machine=False)
    assert {split: split_facts.images for split, split_facts in facts.splits.items()} == images
    assert sum(split.labelled for split in facts.splits.values()) == labelled
    assert sum(split.instances for split in facts.splits.values()) == instances == len(labels.cls)
    assert sum(split.rejected for split in facts.splits.values()) == 0
    assert all((Path(index.root) / entry.file).is_file() for entry in index.images)


@pytest.mark.parametrize(("number", "instances"), [(1, 23), (4, 116), (10, 303)])
def test_paths_of_another_machine_are_matched_by_their_end(number: int, instances: int) -> None:
    root = CORPUS / "complete" / "yolov5n_dna_origami_10runs"
    facts, _, _ = read_dataset(root, root / f"train{number}_structure.yaml", own_machine=False)
    counts = {split: (census.images, census.instances) for split, census in facts.splits.items()}
    assert counts == {"train": (number, instances), "val": (10, 372), "test": (30, 1171)}
    assert find_data_yaml(root, named=f"../train{number}_structure.yaml") == root / f"train{number}_structure.yaml"


def test_a_data_yaml_whose_images_are_elsewhere_is_an_error() -> None:
    root = CORPUS / "datasets" / "circle"
    yaml_path = find_data_yaml(root)
    assert yaml_path is not None
    with pytest.raises(DatasetError) as caught:
        read_dataset(root, yaml_path, own_machine=False)
    assert (caught.value.error_code, caught.value.place) == ("data_split_missing", "data/circle.yaml:2")


@pytest.mark.parametrize(
    ("name", "keypoints"), [("coco8", ""), ("coco8-seg", ""), ("coco8-pose", "[17, 3]"), ("dota8", "")]
)
def test_samples_of_every_task_are_read(tmp_path: Path, name: str, keypoints: str) -> None:
    root = CORPUS / "datasets" / "tiny8_task_samples" / name
    yaml_path = tmp_path / "data.yaml"
    yaml_path.write_text(f"path: {root}\nnc: 80\ntrain: images/train\nval: images/val\nkpt_shape: {keypoints}\n")
    facts, _, labels = read_dataset(tmp_path, yaml_path, own_machine=True)
    assert {split: (census.images, census.rejected) for split, census in facts.splits.items()} == {
        "train": (4, 0),
        "val": (4, 0),
    }
    assert len(labels.cls) > 0
