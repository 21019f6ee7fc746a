"""What half precision costs: nothing for a sound network, much for one whose numbers leave its range."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from examples.shapes import render
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.evaluate import loaded_subject
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.reconcile import Depth
from runaudit.evaluation.single_precision import HALVED_IMAGES, single_precision
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import EXAMPLES, run_of

IMAGES = 80
"""more than a pass at depth standard takes"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    render(folder, train=1, val=IMAGES)
    return folder


def tried(
    data: Path, folder: Path, *, depth: Depth = "standard", shift: float = 0.0, **arguments: Any
) -> InterventionFacts | None:
    """The intervention on the healthy example, with `shift` added to its boxes' logits, which no softmax heeds."""
    weights, labels = folder / "weights.safetensors", folder / "labels.safetensors"
    best = EXAMPLES / "runs" / "healthy" / "weights" / "best.pt"
    checkpoint = read_checkpoint(best, source="weights/best.pt", weights_out=weights)
    tensors = load_file(weights)
    last = [name for name in tensors if re.search(r"\.cv2\.\d\.2\.bias$", name)]
    assert last, "the layers of the head are called otherwise"
    for name in last:
        tensors[name] = tensors[name].float() + shift
    save_file(tensors, weights)
    _, index, arrays = read_dataset(data, data / "data.yaml", own_machine=True)
    write_labels(labels, arrays)
    run = run_of(checkpoint, imgsz=160, **arguments)
    clock = Clock()
    subject = loaded_subject(run, weights=weights, index=index, device="cpu", clock=clock)
    labelled = subject.labelled(labels, "val")
    settings = subject.canonical_settings(labelled)
    validation = subject.measured(labelled, settings, replicates=100, seed=0, clock=clock)
    return single_precision(subject, run, weights, validation, depth=depth, replicates=100, seed=0)


@pytest.mark.parametrize("arguments", [{"half": True}, {"quantize": "fp16"}, {"quantize": 16}])
def test_a_sound_network_loses_nothing_by_half_precision(data: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    found = tried(data, tmp_path, **arguments)
    assert found is not None
    assert (found.name, found.grade, found.images) == ("float32", "intervention", HALVED_IMAGES["standard"])
    assert abs(found.difference) < 0.005
    assert found.ci95 is not None and found.ci95[0] <= found.difference <= found.ci95[1]
    assert found.before != found.after, "the other pass was made in another precision"


def test_a_network_that_overflows_in_half_precision_gains_by_single(data: Path, tmp_path: Path) -> None:
    """Logits of 1e5 are numbers in float32 and infinite in float16, where nothing is left of their softmax."""
    found = tried(data, tmp_path, shift=1e5, half=True)
    assert found is not None and found.ci95 is not None
    assert found.difference > 0.1 and found.ci95[0] > 0


@pytest.mark.parametrize("arguments", [{}, {"half": False}, {"quantize": "int8"}, {"quantize": None}])
def test_a_run_that_asked_for_no_half_precision_costs_no_pass_but_at_depth_deep(
    data: Path, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    assert tried(data, tmp_path, **arguments) is None
    if not arguments:
        deep = tried(data, tmp_path, depth="deep")
        assert deep is not None and deep.images == IMAGES
