"""Our validation against `yolo val` of the installed version, on networks that were trained for real.

These tests are slow because networks of two families are trained here, from the example's of the third, for some
epochs; there is no other way to a network whose detections are neither perfect nor noise.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from examples.shapes import render
from runaudit.evaluation.evaluate import Measured, measure
from runaudit.evaluation.framework import framework
from runaudit.evaluation.matching import box_iou
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import EXAMPLES, narrow_description, run_of, vary_images

EXAMPLE = EXAMPLES / "runs" / "healthy" / "weights" / "best.pt"
IMGSZ = 160
EPOCHS = 2
LEAST_MAP = {"yolo11": 0.1, "yolov8": 0.01, "yolo26": 0.01}
"""what the training has to reach for the comparison to mean something"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's shapes, validation images of all kinds and two images without labels; the path of data.yaml."""
    root = tmp_path_factory.mktemp("shapes")
    data_yaml = render(root, train=240, val=70)
    vary_images(root / "images" / "val")
    for name in ("val_0010", "val_0020"):
        (root / "labels" / "val" / f"{name}.txt").unlink()
    return data_yaml


@pytest.fixture(scope="module", params=list(LEAST_MAP))
def trained(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The family and the best.pt; the others start from the layers of the example's yolo11."""
    family: str = request.param
    return family, EXAMPLE if family == "yolo11" else train(family, data, tmp_path_factory.mktemp(family))


def train(family: str, data: Path, folder: Path) -> Path:
    """Train with the installed ultralytics; gives the best.pt."""
    description = folder / f"{family}.yaml"
    description.write_text(yaml.safe_dump(narrow_description(family)))
    model = framework().YOLO(description, task="detect")
    model.load(EXAMPLE)
    model.train(
        data=str(data),
        epochs=EPOCHS,
        imgsz=IMGSZ,
        batch=16,
        nbs=16,
        optimizer="AdamW",
        lr0=0.004,
        warmup_epochs=1,
        mosaic=0.0,
        scale=0.2,
        workers=0,
        device="cpu",
        amp=False,
        val=False,
        plots=False,
        verbose=False,
        project=str(folder),
        name="run",
    )
    return folder / "run" / "weights" / "best.pt"


def ours(best: Path, data: Path, folder: Path, imgsz: int) -> Measured:
    """Our own validation of the checkpoint, from the files that the ingest child would leave."""
    weights, labels = folder / "weights.safetensors", folder / "labels.safetensors"
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=weights)
    _, index, arrays = read_dataset(data.parent, data, own_machine=False)
    write_labels(labels, arrays)
    return measure(run_of(checkpoint, imgsz=imgsz), weights=weights, index=index, labels=labels, device="cpu")


def theirs(best: Path, data: Path, folder: Path, imgsz: int) -> Any:
    """The framework's validation by the defaults of `model.val`: batch 16, rect."""
    return (
        framework()
        .YOLO(best)
        .val(data=str(data), imgsz=imgsz, device="cpu", plots=False, verbose=False, project=str(folder), name="val")
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("imgsz", [IMGSZ, 224])
def test_agrees_with_yolo_val(trained: tuple[str, Path], data: Path, tmp_path: Path, imgsz: int) -> None:
    family, best = trained
    measured = ours(best, data, tmp_path, imgsz)
    box = theirs(best, data, tmp_path, imgsz).box
    facts = measured.facts
    assert not facts.skipped
    assert facts.images == 70
    if imgsz == IMGSZ:
        assert facts.metrics.map50_95 > LEAST_MAP[family]
    assert facts.settings["head"] == ("one-to-many" if family == "yolo26" else "single")
    assert facts.metrics.map50_95 == pytest.approx(box.map, abs=1e-5)
    assert facts.metrics.map50 == pytest.approx(box.map50, abs=1e-5)
    assert facts.metrics.precision == pytest.approx(box.mp, abs=1e-4)
    assert facts.metrics.recall == pytest.approx(box.mr, abs=1e-4)
    assert facts.metrics.f1 == pytest.approx(float(np.mean(box.f1)), abs=1e-4)
    by_class = {entry.class_id: entry.map50_95 for entry in facts.per_class if entry.instances}
    assert by_class == pytest.approx({int(c): box.ap[i] for i, c in enumerate(box.ap_class_index)}, abs=1e-5)
    lower, upper = facts.ci95["map50_95"]
    assert lower < facts.metrics.map50_95 < upper


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_true_positives_overlap_a_label_in_pixels_of_the_image(
    trained: tuple[str, Path], data: Path, tmp_path: Path
) -> None:
    """Boxes are matched in the pixels of the batch and kept in those of the image, where they overlap as much."""
    matches = ours(trained[1], data, tmp_path, IMGSZ).matches
    hits = np.flatnonzero(matches.tp[:, 0])
    assert len(hits) > 50
    for hit in hits:
        mine = (matches.gt_image == matches.det_image[hit]) & (matches.gt_cls == matches.det_cls[hit])
        overlaps = box_iou(matches.gt_box[mine], np.repeat(matches.det_box[hit][None], mine.sum(), axis=0))
        assert overlaps.max() >= 0.5 - 1e-4


def test_the_framework_trains_and_validates_in_its_safe_mode() -> None:
    """What the tests above compare with ran under the guards as well."""
    framework()
    assert os.environ["ULTRALYTICS_SAFE_LOAD"] == "1"
    assert import_module("ultralytics.nn.tasks").SAFE_LOAD is True
