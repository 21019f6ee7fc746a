"""Loads a checkpoint's tensors strictly into a network of whatever task, and readies it for inference."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runaudit.errors import CheckpointError

_NAMED_AT_MOST: Final = 3


def read_tensors(weights: Path, source: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file that was taken from the checkpoint `source`.

    Raises CheckpointError `weights_mismatch`.
    """
    try:
        tensors: dict[str, Tensor] = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The tensors taken from {source} can't be read: {error}", code="weights_mismatch", place=source
        ) from error
    return tensors


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load all tensors, each with its name and shape; half precision is widened to float32.

    Raises CheckpointError `weights_mismatch`.
    """
    expected = module.state_dict()
    problems = [
        *_named("missing", sorted(expected.keys() - tensors.keys())),
        *_named("not part of the network", sorted(tensors.keys() - expected.keys())),
        *_named(
            "of another shape",
            sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape),
        ),
    ]
    if problems:
        raise CheckpointError(
            f"The weights in {source} don't fit the network that it describes: {'; '.join(problems)}.",
            code="weights_mismatch",
            place=source,
        )
    module.load_state_dict(tensors, strict=True)


def readied(module: Any, device: torch.device) -> Any:
    """The framework's network fused, in float32, in evaluation mode, on its device, in the framework's memory order."""
    module = module.fuse(verbose=False).float().eval().to(device)
    module.requires_grad_(False)
    module.to(memory_format=torch.channels_last if _prefers_channels_last(device) else torch.contiguous_format)
    return module


def _named(what: str, names: list[str]) -> list[str]:
    """`3 tensors missing (a, b, c)`, or nothing."""
    if not names:
        return []
    listed = ", ".join(names[:_NAMED_AT_MOST]) + (", ..." if len(names) > _NAMED_AT_MOST else "")
    return [f"{len(names)} tensors {what} ({listed})"]


def _prefers_channels_last(device: torch.device) -> bool:
    """Whether the framework would run this network in channels-last order: oneDNN on x86 (nn/autobackend.py)."""
    onednn: Any = torch.backends.mkldnn
    return (
        device.type == "cpu"
        and platform.machine() in ("AMD64", "x86_64")
        and platform.system() in ("Linux", "Windows")
        and bool(onednn.is_available())
        and bool(onednn.enabled)
    )
