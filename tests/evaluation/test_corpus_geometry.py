"""Outlines, keypoints and corners of real data sets, as they reach the comparison, against the framework's own batches.

The data are copied without their label caches, which are pickles: the framework must never open them.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runaudit.evaluation.batches import frames, place, rectangular_batches
from runaudit.evaluation.framework import framework
from runaudit.evaluation.keypoints import visible
from runaudit.evaluation.labels import Labelled, labelled_images
from runaudit.evaluation.masks import label_map
from runaudit.evaluation.polygons import CORNER_POINTS, OUTLINE_POINTS, polygons_in_batch
from runaudit.evaluation.rotated_boxes import rotated_labels
from runaudit.runs.data_options import Geometry
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import Task
from runaudit.runs.label_arrays import write_labels

pytestmark = pytest.mark.corpus

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus")).resolve()
CLASSES = 80
IMGSZ = 640


def copied(name: str, root: Path) -> Path:
    """The data set without caches, and a data.yaml; the test is skipped where the corpus is not."""
    source = CORPUS / "datasets" / "tiny8_task_samples" / name
    if not source.exists():
        pytest.skip("the corpus is not here")
    shutil.copytree(source, root, ignore=shutil.ignore_patterns("*.cache"), dirs_exist_ok=True)
    names = "".join(f"  {class_id}: class {class_id}\n" for class_id in range(CLASSES))
    shape = "kpt_shape: [17, 3]\n" if "pose" in name else ""
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\n{shape}names:\n{names}")
    return root / "data.yaml"


def ours(data: Path, geometry: Geometry, root: Path) -> Labelled:
    _, index, arrays = read_dataset(data.parent, data, own_machine=False, geometry=geometry)
    write_labels(root / "labels.safetensors", arrays)
    return labelled_images(index, root / "labels.safetensors", "val", classes=CLASSES, single_cls=False)


def theirs(data: Path, task: Task) -> list[dict[str, Any]]:
    """The samples of the framework's validation, in its order; all four in one batch."""
    framework()
    settings = import_module("ultralytics.cfg").get_cfg(overrides={"task": task, "imgsz": IMGSZ})
    content = {"names": dict.fromkeys(range(CLASSES), ""), "nc": CLASSES, "channels": 3, "kpt_shape": [17, 3]}
    samples = import_module("ultralytics.data.dataset").YOLODataset(
        str(data.parent / "images" / "val"), data=content, task=task, imgsz=IMGSZ, augment=False, hyp=settings,
        rect=True, batch_size=16, stride=32, pad=0.5,
    )  # fmt: skip
    return [samples[number] for number in range(len(samples))]


@pytest.mark.parametrize(("name", "task"), [("coco8-seg", "segment"), ("coco8-pose", "pose"), ("dota8", "obb")])
def test_labels_reach_the_comparison_as_the_framework_s(name: str, task: Task, tmp_path: Path) -> None:
    data = copied(name, tmp_path / "data")
    labelled = ours(data, "keypoints" if task == "pose" else "polygons", tmp_path)
    sizes = np.array([(entry.height, entry.width) for entry in labelled.entries])
    batch = rectangular_batches(sizes, IMGSZ, 32)[0]
    height, width = batch.shape
    for image, sample in zip(batch.images, theirs(data, task), strict=True):
        entry = labelled.entries[image]
        assert Path(sample["im_file"]).name == Path(entry.file).name
        assert sample["img"].shape[1:] == batch.shape
        placement = place(entry.width, entry.height, IMGSZ, batch.shape)
        rows = slice(labelled.start[image], labelled.start[image + 1])
        if task == "segment":
            polygons = list(polygons_in_batch(labelled, image, placement, OUTLINE_POINTS))
            painted = sample["masks"][0].numpy().astype(int)
            mine = label_map(polygons, batch.shape)
            assert np.array_equal(mine > 0, painted > 0)
            # Each of their labels is one of ours, pixel by pixel, and of its class.
            for label in np.unique(painted[painted > 0]):
                found = np.unique(mine[painted == label])
                assert len(found) == 1
                assert np.array_equal(mine == found[0], painted == label)
                assert labelled.cls[rows][found[0] - 1] == int(sample["cls"][label - 1])
        elif task == "obb":
            found = rotated_labels(polygons_in_batch(labelled, image, placement, CORNER_POINTS), batch.shape)
            boxes = sample["bboxes"].numpy() * np.array([width, height, width, height, 1], dtype=np.float32)
            np.testing.assert_allclose(found, boxes, rtol=1e-6, atol=1e-5)
        else:
            assert labelled.keypoints is not None
            gains, offsets = frames((placement,))
            extent = np.array([entry.width, entry.height])
            mine = labelled.keypoints[rows][..., :2] * (extent * gains[0, :2]) + offsets[0, :2]
            points = sample["keypoints"].numpy()
            shown = visible(labelled.keypoints[rows])
            assert np.array_equal(shown, points[..., 2] != 0)
            np.testing.assert_allclose(mine[shown], (points[..., :2] * [width, height])[shown], atol=1e-3)
