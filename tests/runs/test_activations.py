"""Activations are found in the stand-ins of a pickled network, and what is odd there does no harm."""

from __future__ import annotations

from typing import Any

import pytest

from runaudit.runs.activations import activations
from runaudit.runs.pickle_values import Stub


def module(path: str, children: dict[Any, Any] | None = None, **attributes: Any) -> Stub:
    """A pickled torch module."""
    return Stub(path, state={"_modules": children or {}, **attributes})


def leaky(slope: Any) -> Stub:
    return module("torch.nn.modules.activation.LeakyReLU", negative_slope=slope)


SILU = module("torch.nn.modules.activation.SiLU", inplace=True)


def test_every_layer_by_its_path() -> None:
    network = module(
        "models.yolo.Model",
        {
            "model": module(
                "torch.nn.modules.container.Sequential",
                {
                    "0": module("models.common.Conv", {"conv": module("torch.nn.modules.conv.Conv2d"), "act": SILU}),
                    "1": module("models.common.BottleneckCSP", {"cv1": module("x", {"act": SILU}), "act": leaky(0.1)}),
                    "2": module("models.common.Conv", {"act": module("torch.nn.modules.linear.Identity")}),
                    "3": module("models.common.Conv", {"act": module("models.common.FReLU")}),
                },
            )
        },
    )
    assert activations(network) == {
        "model.0.act": "SiLU",
        "model.1.cv1.act": "SiLU",
        "model.1.act": "LeakyReLU(0.1)",
        "model.2.act": "Identity",
        "model.3.act": "models.common.FReLU",
    }


@pytest.mark.parametrize("slope", [None, "0.1", True, float("nan"), float("inf")])
def test_a_slope_that_is_none_leaves_the_class(slope: Any) -> None:
    found = activations(module("x", {"act": leaky(slope)}))
    assert found == {"act": "torch.nn.modules.activation.LeakyReLU"}


def test_names_are_taken_from_torch_only() -> None:
    assert activations(module("x", {"act": module("evil.SiLU")})) == {"act": "evil.SiLU"}


@pytest.mark.parametrize("network", [None, {}, "x", Stub("x"), Stub("x", state={"_modules": [1]})])
def test_what_is_no_network_has_none(network: Any) -> None:
    assert activations(network) == {}


def test_odd_children_are_passed_over() -> None:
    assert activations(module("x", {1: SILU, "act": None, "a": "text", "b": module("y", {"act": SILU})})) == {
        "b.act": "SiLU"
    }


def test_a_network_that_contains_itself_ends() -> None:
    network = module("x", {"act": SILU})
    network.state["_modules"]["again"] = network
    assert activations(network)["act"] == "SiLU"
