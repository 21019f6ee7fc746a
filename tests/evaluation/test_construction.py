"""Activations of a rebuilt network are those of its checkpoint, whatever the installed version gives its layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from runaudit.errors import CheckpointError
from runaudit.evaluation.construction import restore_activations
from runaudit.evaluation.network import rebuild
from runaudit.runs.checkpoint import read_checkpoint
from tests.evaluation.jobs import checkpoint_of, narrow_description, network_with_random_weights, write_weights

CPU = torch.device("cpu")


def layer_of_spp(network: nn.Module) -> nn.Module:
    """The first SPPF of a network."""
    return next(module for module in network.modules() if type(module).__name__ == "SPPF")


def test_a_checkpoint_of_another_version_keeps_its_activations(tmp_path: Path) -> None:
    """A YOLOv8 of ultralytics 8.4.7 has no activation where SPPF starts; the installed version builds a SiLU there."""
    original = network_with_random_weights(narrow_description("yolov8"))
    spp = layer_of_spp(original)
    assert isinstance(spp.cv1.act, nn.SiLU)
    spp.cv1.act = nn.Identity()
    torch.save({"model": original, "epoch": -1, "version": "8.4.7"}, tmp_path / "best.pt")
    weights = tmp_path / "weights.safetensors"
    facts = read_checkpoint(tmp_path / "best.pt", source="weights/best.pt", weights_out=weights)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = original(images)[0]
        kept = rebuild(facts, weights, CPU).module(images)[0]
        lost = rebuild(facts.model_copy(update={"activations": {}}), weights, CPU).module(images)[0]
    assert torch.allclose(kept, expected, atol=1e-3)
    assert not torch.allclose(lost, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("LeakyReLU(0.1)", nn.LeakyReLU), ("Hardswish", nn.Hardswish), ("ELU(0.5)", nn.ELU), ("Identity", nn.Identity)],
)
def test_activations_by_name(text: str, kind: type[nn.Module]) -> None:
    network = network_with_random_weights(narrow_description())
    restore_activations(checkpoint_of(narrow_description(), activations={"model.0.act": text}), network)
    placed = network.model[0].act
    assert type(placed) is kind
    assert getattr(placed, "negative_slope", 0.1) == 0.1
    assert getattr(placed, "alpha", 0.5) == 0.5
    assert isinstance(network.model[1].act, nn.SiLU)


def test_equal_activations_are_left_as_they_are() -> None:
    network = network_with_random_weights(narrow_description())
    before = network.model[0].act
    restore_activations(checkpoint_of(narrow_description(), activations={"model.0.act": "SiLU"}), network)
    assert network.model[0].act is before


@pytest.mark.parametrize(
    "activations",
    [
        {"model.0.act": "models.common.FReLU"},
        {"model.0.act": "LeakyReLU(x)"},
        {"model.0.nothing.act": "SiLU"},
        {"model.99.act": "SiLU"},
    ],
)
def test_activations_that_can_t_be_placed(tmp_path: Path, activations: dict[str, str]) -> None:
    weights = write_weights(network_with_random_weights(narrow_description()), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError) as raised:
        rebuild(checkpoint_of(narrow_description(), activations=activations), weights, CPU)
    assert raised.value.error_code == "architecture_unsupported"
