"""Our validation of real YOLOv5 checkpoints against figures of its own val.py and against what their runs reported.

Slow: each case runs a network over its images on the CPU, a tenth of a second an image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from runaudit.evaluation.evaluate import evaluate_checkpoint
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from runaudit.runs.run import read_run
from tests.evaluation.jobs import run_of

pytestmark = [pytest.mark.corpus, pytest.mark.slow, pytest.mark.timeout(600)]

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus")).resolve()
COCO128 = CORPUS / "complete/yolov5n_coco128"
ORIGAMI = CORPUS / "complete/yolov5n_dna_origami_10runs"
COCO128_YAML = COCO128 / "yolov5/data/coco128.yaml"


def validated(weights_pt: Path, root: Path, data_yaml: Path, folder: Path) -> EvaluationFacts:
    """The checkpoint validated at 640 on the validation images of `data_yaml`."""
    if not weights_pt.is_file():
        pytest.skip("the corpus is not here")
    weights, labels = folder / "weights.safetensors", folder / "labels.safetensors"
    checkpoint = read_checkpoint(weights_pt, source=weights_pt.name, weights_out=weights)
    assert checkpoint.problem is None
    _, index, arrays = read_dataset(root, data_yaml, own_machine=False)
    write_labels(labels, arrays)
    run = run_of(checkpoint, imgsz=640)
    return evaluate_checkpoint(run, weights=weights, index=index, labels=labels, device="cpu", replicates=20)


@dataclass(frozen=True)
class Measured:
    """What val.py of YOLOv5's master gave on the CPU at 640 with batches of 32, on the 128 images of COCO128."""

    weights: str
    map50: float
    map50_95: float


VAL_PY = (
    Measured("complete/yolov5n_coco128/yolov5/runs/train/exp_coco128/weights/yolov5n_coco128.pt", 0.908, 0.682),
    Measured("complete/yolov5n_coco128/yolov5/runs/train/exp5_coco/weights/best.pt", 0.614, 0.386),
    Measured("checkpoints/yolov5n_official_v6.pt", 0.545, 0.350),
)


@pytest.mark.parametrize("measured", VAL_PY, ids=lambda case: Path(case.weights).name)
def test_agrees_with_val_py(measured: Measured, tmp_path: Path) -> None:
    """To the last digit that val.py prints; the issue asks for 0.002."""
    facts = validated(CORPUS / measured.weights, COCO128, COCO128_YAML, tmp_path)
    assert (facts.images, facts.instances) == (128, 929)
    assert facts.metrics.map50_95 == pytest.approx(measured.map50_95, abs=0.00051)
    assert facts.metrics.map50 == pytest.approx(measured.map50, abs=0.00051)


@dataclass(frozen=True)
class Reported:
    """A run with its checkpoint, and the data that it was validated on while it trained."""

    run: Path
    weights: str
    root: Path
    data_yaml: Path


RUNS = (
    Reported(COCO128 / "yolov5/runs/train/exp_coco128", "yolov5n_coco128.pt", COCO128, COCO128_YAML),
    Reported(ORIGAMI / "yolov5/runs/train/exp", "best.pt", ORIGAMI, ORIGAMI / "data_local_train1.yaml"),
    Reported(ORIGAMI / "yolov5/runs/train/exp4", "best.pt", ORIGAMI, ORIGAMI / "data_local_train4.yaml"),
    Reported(ORIGAMI / "yolov5/runs/train/exp9", "best.pt", ORIGAMI, ORIGAMI / "data_local_train9.yaml"),
)
"""The 5-epoch run on COCO128 is left out: val.py itself gives 0.386 for its checkpoint, and its best row says 0.381."""


@pytest.mark.parametrize("reported", RUNS, ids=lambda case: f"{case.run.parents[3].name}-{case.run.name}")
def test_reproduces_the_best_row(reported: Reported, tmp_path: Path) -> None:
    """Within the 0.005 that research page yolo.md, A7, calls reproduced: training validates in half precision."""
    facts = validated(reported.run / "weights" / reported.weights, reported.root, reported.data_yaml, tmp_path)
    run = read_run(reported.run, weights_out=tmp_path / "again.safetensors")
    assert run.framework == "yolov5"
    assert run.curves is not None
    assert run.best_row is not None
    for metric in ("map50", "map50_95"):
        best = run.curves.metrics[metric][run.best_row]
        assert getattr(facts.metrics, metric) == pytest.approx(best, abs=0.005)
