"""Networks of masks, keypoints and rotated boxes: built for their task, and refused where their parts don't belong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from runaudit.errors import CheckpointError
from runaudit.evaluation.network import rebuild
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import Task
from tests.evaluation.jobs import checkpoint_of, narrow_description
from tests.evaluation.outlined import KEYPOINTS, MODELS, description_of, write_checkpoint

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["yolo11", "yolo26"])
@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_a_network_knows_its_task(task: Task, family: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    best = write_checkpoint(task, family, tmp_path / "best.pt")
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=weights)
    network = rebuild(checkpoint, weights, CPU)
    assert network.task == task
    assert network.protocol.confidence == (0.01 if task == "obb" else 0.001)
    assert network.keypoint_shape == (tuple(KEYPOINTS[family]) if task == "pose" else None)
    assert network.two_heads is (family == "yolo26")
    assert not network.one_to_one
    if family == "yolo26":
        assert rebuild(checkpoint, weights, CPU, one_to_one=True).one_to_one


def refused(description: dict[str, object], model_class: str, tmp_path: Path) -> str:
    """Why the network is refused, which is before its weights are looked at."""
    from safetensors.torch import save_file  # noqa: PLC0415

    save_file({"none": torch.zeros(1)}, tmp_path / "weights.safetensors")
    checkpoint = checkpoint_of(description, model_class=f"ultralytics.nn.tasks.{model_class}")
    with pytest.raises(CheckpointError) as raised:
        rebuild(checkpoint, tmp_path / "weights.safetensors", CPU)
    assert raised.value.error_code == "architecture_unsupported"
    return raised.value.detail


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_a_head_of_another_task_is_refused(task: Task, tmp_path: Path) -> None:
    description = description_of(task, "yolo11")
    assert "is not that of a DetectionModel" in refused(description, "DetectionModel", tmp_path)
    assert f"is not that of a {MODELS[task]}" in refused(
        narrow_description() | {"kpt_shape": [5, 3]}, MODELS[task], tmp_path
    )


def test_prototypes_of_another_size_are_refused(tmp_path: Path) -> None:
    """A head that starts at stride 4: the framework itself fails to compare its masks."""
    description = description_of("segment", "yolo11")
    description["head"][-1][0] = [2, 10, 13]
    assert "a quarter of the image's size" in refused(description, "SegmentationModel", tmp_path)
