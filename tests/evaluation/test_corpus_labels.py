"""COCO128's labels, seen by strangers' YOLOv5n: no alarm as they are, and planted errors are counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from runaudit.diagnostics.label_issues import failing, limit_of
from runaudit.evaluation.evaluate import measure
from runaudit.evaluation.label_quality import label_quality
from runaudit.evaluation.label_review import review_labels
from runaudit.evaluation.protocol import YOLOV5
from runaudit.evaluation.relabelling import relabelled
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import run_of
from tests.evaluation.planted_labels import planted

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / "../shared/corpus")).resolve()
COCO128 = CORPUS / "complete/yolov5n_coco128/yolov5"
CHECKPOINTS = {
    "official": CORPUS / "checkpoints/yolov5n_official_v6.pt",
    "100 epochs": COCO128 / "runs/train/exp_coco128/weights/yolov5n_coco128.pt",
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_coco128(name: str, tmp_path: Path) -> None:
    (tmp_path / "coco128").symlink_to(COCO128 / "coco128")
    names = "".join(f"  {number}: kind {number}\n" for number in range(80))
    images = COCO128 / "coco128/images/train2017"
    data = tmp_path / "data.yaml"
    data.write_text(f"train: {images}\nval: {images}\nnames:\n{names}")
    _, index, labels = read_dataset(tmp_path, data, own_machine=True)
    write_labels(tmp_path / "labels.safetensors", labels)
    weights = tmp_path / "weights.safetensors"
    checkpoint = read_checkpoint(CHECKPOINTS[name], source="best.pt", weights_out=weights)
    run = run_of(checkpoint, imgsz=640).model_copy(update={"framework": "yolov5"})
    found = measure(
        run, weights=weights, index=index, labels=tmp_path / "labels.safetensors", device="cpu", replicates=10
    )
    matches = relabelled(found.matches, YOLOV5)
    clean = review_labels(matches, YOLOV5, index, classes=80).facts
    assert not any(failing(rate) for rate in clean.rates)
    assert clean.permutation is not None and clean.permutation.mapping == {}
    sizes = np.array([(index.images[number].width, index.images[number].height) for number in matches.image])
    for kind, found_as in (("missing", "overlooked"), ("swap", "swapped"), ("shift", "misplaced")):
        wrong, hit = planted(matches, sizes, kind, 0.2)  # type: ignore[arg-type]
        found_rate = label_quality(wrong, sizes).rates[found_as]  # type: ignore[index]
        assert found_rate.ci95 is not None and found_rate.ci95[0] > limit_of(found_as)  # type: ignore[arg-type]
        assert found_rate.rate == pytest.approx(hit.mean(), abs=0.1)
