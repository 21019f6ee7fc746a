"""On CUDA the same checkpoint gets the same figures as on the CPU, but for rounding (`make gpu`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.shapes import render
from examples.train import RUNS
from runaudit.evaluation.evaluate import evaluate_checkpoint
from runaudit.evaluation.examination import examine
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import Configuration, RunFacts
from runaudit.runs.label_arrays import write_labels
from runaudit.runs.run import read_run

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


def test_fine_tuning_tells_what_more_training_gains(tmp_path: Path) -> None:
    data = render(tmp_path / "data", train=32, val=20)
    run = read_run(RUNS / "healthy", weights_out=tmp_path / "weights.safetensors")
    _, index, labels = read_dataset(data.parent, data, own_machine=False)
    write_labels(tmp_path / "labels.safetensors", labels)
    found = examine(
        run,
        weights=tmp_path / "weights.safetensors",
        index=index,
        labels=tmp_path / "labels.safetensors",
        depth="deep",
        device="cuda",
        replicates=200,
    )
    assert "intervention continued_training" not in found.absent
    (sham,) = (one for one in found.interventions if one.name == "continued_training")
    assert sham.before == pytest.approx(found.evaluation.metrics.map50_95, abs=0.002)
    assert abs(sham.difference) < 0.05
    assert found.evaluation.seconds["probe"] > 0


def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    data = render(tmp_path / "data", train=1)
    cpu, cuda = (_evaluated(tmp_path, data, device) for device in ("cpu", "cuda"))
    assert cuda.device.startswith("cuda")
    assert cpu.metrics.map50_95 is not None
    for name in ("map50", "map50_95", "precision", "recall"):
        assert getattr(cuda.metrics, name) == pytest.approx(getattr(cpu.metrics, name), abs=0.005), name
