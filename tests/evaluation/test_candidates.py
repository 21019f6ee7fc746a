"""Which passes are worth trying for a run, by its task."""

from __future__ import annotations

import torch

from runaudit.evaluation.candidates import candidates
from runaudit.evaluation.network import Network
from runaudit.evaluation.protocol import ULTRALYTICS, ULTRALYTICS_ROTATED
from runaudit.evaluation.validation_pass import PassSettings
from runaudit.runs.facts import Task
from tests.evaluation.jobs import run_of


def tried(task: Task, **arguments: object) -> list[dict[str, object]]:
    protocol = ULTRALYTICS_ROTATED if task == "obb" else ULTRALYTICS
    network = Network(
        torch.nn.Identity(), 32, 3, 2, two_heads=False, device=torch.device("cpu"), protocol=protocol, task=task
    )
    settings = PassSettings(imgsz=640, max_detections=300, single_cls=False, protocol=protocol)
    return [dict(one.setting) for one in candidates(run_of(None, **arguments), network, settings, "standard")]


def test_a_training_validates_with_twice_its_batch_and_of_rotated_boxes_with_its_own() -> None:
    assert {"batch": 24} in tried("detect", batch=12)
    assert {"batch": 12} in tried("obb", batch=12)
    assert not any("batch" in setting for setting in tried("obb", batch=16))


def test_rotated_boxes_are_tried_with_the_confidence_of_older_versions() -> None:
    assert {"conf": 0.001} in tried("obb")
    assert not any("conf" in setting for setting in tried("segment"))
