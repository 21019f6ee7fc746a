"""What a state dict shows of its own history: dead and constant parts, and parts that are still as a new network's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from runaudit.runs.facts import WeightFacts
from runaudit.runs.tensors import Tensor

DEAD_SCALE = 1e-3
"""diagnostics.md B10: a batch-norm scale below it passes nothing on."""
INITIAL_SCALE = 0.05
"""Distance from 1, the scale of a new layer's channels. benchmarks/weight_health.py: in the corpus 0 to 6 of the 57
layers of a network that was transferred or trained lie within it, and all 39 of one that never learnt."""
SHOWN_LAYERS = 20

_CLASS_BIAS = re.compile(r"model\.\d+\.cv3\.(\d+)\.2\.bias")
"""The last convolution of an ultralytics detection head's class branch, one a stride, the finest first."""

_Floats = NDArray[np.float64]


def weight_health(tensors: Mapping[str, Tensor]) -> WeightFacts:
    """The facts of a state dict, in which names are as torch gives them. Vectors of other shapes are left out."""
    norms = [
        norm
        for name in tensors
        if name.endswith(".running_mean") and (norm := _batch_norm(tensors, name.removesuffix("running_mean")))
    ]
    constant = [name for name, tensor in tensors.items() if _is_constant(tensor.array)]
    return WeightFacts(
        batch_norms=len(norms),
        channels=sum(scale.size for scale, _, _, _ in norms),
        dead_channels=sum(int(((np.abs(scale) < DEAD_SCALE) & (shift <= 0)).sum()) for scale, shift, _, _ in norms),
        untouched_batch_norms=sum(bool((mean == 0).all() and (variance == 1).all()) for _, _, mean, variance in norms),
        initial_batch_norms=sum(bool((np.abs(scale - 1) < INITIAL_SCALE).all()) for scale, _, _, _ in norms),
        constant_count=len(constant),
        constant_layers=tuple(constant[:SHOWN_LAYERS]),
        class_bias=_class_bias(tensors),
    )


def _batch_norm(tensors: Mapping[str, Tensor], prefix: str) -> tuple[_Floats, _Floats, _Floats, _Floats] | None:
    """Scale, shift, running mean and running variance of a layer, each (channels,); None if one is missing."""
    parts = [tensors.get(prefix + part) for part in ("weight", "bias", "running_mean", "running_var")]
    values = [_values(part) for part in parts if part is not None]
    if len(values) < len(parts) or not values[0].size or any(value.shape != values[0].shape for value in values):
        return None
    return values[0], values[1], values[2], values[3]


def _is_constant(array: NDArray[np.generic]) -> bool:
    """Whether a weight matrix or kernel has one value only. Bits are compared, which serves bfloat16 as well."""
    return array.ndim >= 2 and array.size > 1 and bool((array.reshape(-1)[0] == array).all())


def _class_bias(tensors: Mapping[str, Tensor]) -> tuple[tuple[float, float], ...]:
    levels = sorted((int(match[1]), name) for name in tensors if (match := _CLASS_BIAS.fullmatch(name)) is not None)
    biases = [_values(tensors[name]) for _, name in levels]
    if any(not bias.size or not np.isfinite(bias).all() for bias in biases):
        return ()
    return tuple((float(bias.min()), float(bias.max())) for bias in biases)


def _values(tensor: Tensor) -> _Floats:
    array = tensor.array.reshape(-1)
    if tensor.element.name == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)
