"""Masks, keypoints and rotated boxes: our validation against `yolo val` of the installed version."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from runaudit.evaluation.clock import Clock
from runaudit.evaluation.evaluate import Measured, canonical_settings, measure
from runaudit.evaluation.facts import BoxMetrics
from runaudit.evaluation.framework import framework
from runaudit.evaluation.labels import labelled_images
from runaudit.evaluation.network import rebuild
from runaudit.evaluation.summary import FURTHER
from runaudit.evaluation.validation_pass import run_pass
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.data_options import Geometry
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import CheckpointFacts, ImageIndex, Task
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import run_of
from tests.evaluation.outlined import IMGSZ, write_checkpoint, write_data

GEOMETRY: dict[Task, Geometry] = {"segment": "polygons", "obb": "polygons", "pose": "keypoints"}
LEAST_HITS = {"segment": 30, "pose": 60, "obb": 20}
"""true positives without which the comparison would mean little"""


def read(best: Path, data: Path, task: Task, folder: Path) -> tuple[CheckpointFacts, ImageIndex, Path]:
    """What the ingest child would leave: the checkpoint, its weights beside it, the images, the labels' file."""
    weights, labels = folder / "weights.safetensors", folder / "labels.safetensors"
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=weights)
    _, index, arrays = read_dataset(data.parent, data, own_machine=False, geometry=GEOMETRY[task])
    write_labels(labels, arrays)
    return checkpoint, index, labels


def ours(best: Path, data: Path, task: Task, folder: Path) -> Measured:
    """Our own validation."""
    checkpoint, index, labels = read(best, data, task, folder)
    weights = folder / "weights.safetensors"
    return measure(
        run_of(checkpoint, imgsz=IMGSZ), weights=weights, index=index, labels=labels, device="cpu", replicates=50
    )


class Observed:
    """Watches what the framework computes average precision from: boxes first, then masks or keypoints.

    A network that nobody trained gives many detections one and the same confidence, and the framework leaves their
    order to an unstable sort. They are told apart by their position here, which is the order that we keep.
    """

    def __init__(self, compute: Callable[..., Any]) -> None:
        self._compute = compute
        self.seen: list[tuple[NDArray[Any], ...]] = []

    def __call__(self, tp: Any, conf: Any, pred_cls: Any, target_cls: Any, **options: Any) -> Any:
        self.seen.append((tp, conf, pred_cls, target_cls))
        apart = conf.astype(np.float64) - np.arange(len(conf)) * 1e-12
        return self._compute(tp, apart, pred_cls, target_cls, **options)


def rows(tp: NDArray[Any], conf: NDArray[Any], cls: NDArray[Any]) -> list[list[float]]:
    """Detections in an order of their own, to compare them whatever their order."""
    return sorted(np.column_stack([conf, cls, tp]).astype(float).tolist())


def assert_same(mine: BoxMetrics, theirs: Any) -> None:
    """The framework's figures to 1e-5, and precision and recall to the confidence's step."""
    assert mine.map50_95 == pytest.approx(theirs.map, abs=1e-5)
    assert mine.map50 == pytest.approx(theirs.map50, abs=1e-5)
    assert mine.precision == pytest.approx(theirs.mp, abs=1e-4)
    assert mine.recall == pytest.approx(theirs.mr, abs=1e-4)
    assert mine.f1 == pytest.approx(float(np.mean(theirs.f1)), abs=1e-4)


@pytest.mark.parametrize(
    ("task", "family"),
    # Of YOLOv8, whose heads are YOLO11's, only the one with keypoints of two values.
    [*product(["obb", "pose", "segment"], ["yolo11", "yolo26"]), ("pose", "yolov8")],
)
def test_agrees_with_yolo_val(task: Task, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = write_checkpoint(task, family, tmp_path / "best.pt")
    data = write_data(tmp_path / "data", task, family, best)
    metrics = framework().utils.metrics
    observed = Observed(metrics.ap_per_class)
    monkeypatch.setattr(metrics, "ap_per_class", observed)
    theirs = (
        framework()
        .YOLO(best)
        .val(data=str(data), imgsz=IMGSZ, device="cpu", plots=False, verbose=False, project=str(tmp_path), name="val")
    )
    measured = ours(best, data, task, tmp_path)
    facts, matches = measured.facts, measured.matches
    assert facts.task == task
    assert facts.settings["head"] == ("one-to-many" if family == "yolo26" else "single")
    assert facts.instances == len(observed.seen[0][3])
    assert rows(matches.tp, matches.det_conf, matches.det_cls) == rows(*observed.seen[0][:3])
    assert_same(facts.metrics, theirs.box)
    by_class = {entry.class_id: entry.map50_95 for entry in facts.per_class if entry.instances}
    assert by_class == pytest.approx(
        {int(c): theirs.box.ap[i] for i, c in enumerate(theirs.box.ap_class_index)}, abs=1e-5
    )
    if task == "obb":
        assert matches.tp[:, 0].sum() > LEAST_HITS[task]
        assert facts.further == {}
        return
    geometry = FURTHER[task]
    assert matches.tp_further is not None
    assert matches.tp_further[:, 0].sum() > LEAST_HITS[task]
    assert rows(matches.tp_further, matches.det_conf, matches.det_cls) == rows(*observed.seen[1][:3])
    further = theirs.seg if task == "segment" else theirs.pose
    assert_same(facts.further[geometry], further)
    by_class = {entry.class_id: entry.further_map50_95 for entry in facts.per_class if entry.instances}
    assert by_class == pytest.approx({int(c): further.ap[i] for i, c in enumerate(further.ap_class_index)}, abs=1e-5)
    assert f"{geometry}_map50_95" in facts.ci95


@pytest.mark.parametrize("task", ["obb", "pose", "segment"])
def test_the_head_that_needs_no_suppression_agrees_too(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reconciling tries it for YOLO26, which 8.4.0 validated by it."""
    best = write_checkpoint(task, "yolo26", tmp_path / "best.pt")
    data = write_data(tmp_path / "data", task, "yolo26", best, images=6)
    metrics = framework().utils.metrics
    observed = Observed(metrics.ap_per_class)
    monkeypatch.setattr(metrics, "ap_per_class", observed)
    framework().YOLO(best).val(
        data=str(data), imgsz=IMGSZ, nms=False, device="cpu", plots=False, verbose=False, project=str(tmp_path)
    )
    checkpoint, index, labels = read(best, data, task, tmp_path)
    network = rebuild(checkpoint, tmp_path / "weights.safetensors", torch.device("cpu"), one_to_one=True)
    labelled = labelled_images(index, labels, "val", classes=network.classes, single_cls=False)
    settings = canonical_settings(network, labelled, IMGSZ, single_cls=False)
    matches = run_pass(network, labelled, Path(index.root), settings, clock=Clock()).matches
    assert rows(matches.tp, matches.det_conf, matches.det_cls) == rows(*observed.seen[0][:3])
    if matches.tp_further is not None:
        assert rows(matches.tp_further, matches.det_conf, matches.det_cls) == rows(*observed.seen[1][:3])
