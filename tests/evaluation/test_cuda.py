"""On CUDA the same checkpoint gets the same figures as on the CPU, but for rounding (`make gpu`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.shapes import render
from examples.train import RUNS
from runaudit.evaluation.evaluate import evaluate_checkpoint
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import Configuration, RunFacts
from runaudit.runs.label_arrays import write_labels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA here"),
]


def _evaluated(folder: Path, data: Path, device: str) -> EvaluationFacts:
    best = RUNS / "healthy" / "weights" / "best.pt"
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=folder / "weights.safetensors")
    _, index, labels = read_dataset(data.parent, data, own_machine=False)
    write_labels(folder / "labels.safetensors", labels)
    run = RunFacts(
        folder="",
        framework="ultralytics",
        task="detect",
        status="finished",
        checkpoint=checkpoint,
        configuration=Configuration(sources=(), values={"imgsz": 160}, places={}),
    )
    return evaluate_checkpoint(
        run, weights=folder / "weights.safetensors", index=index, labels=folder / "labels.safetensors", device=device
    )


def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    data = render(tmp_path / "data", train=1)
    cpu, cuda = (_evaluated(tmp_path, data, device) for device in ("cpu", "cuda"))
    assert cuda.device.startswith("cuda")
    assert cpu.metrics.map50_95 is not None
    for name in ("map50", "map50_95", "precision", "recall"):
        assert getattr(cuda.metrics, name) == pytest.approx(getattr(cpu.metrics, name), abs=0.005), name
