"""The anchors that an anchor-based head really uses: those of its buffer, which autoanchor may have changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from runaudit.runs.tensors import Tensor

_BUFFER = re.compile(r"(?:model\.)+\d+\.anchors")
Anchors = tuple[tuple[tuple[float, float], ...], ...]


def anchors_of(tensors: Mapping[str, Tensor], stride: Sequence[float]) -> Anchors:
    """Width and height in pixels of the input, level by level; empty without a head of anchors.

    The buffer (levels, anchors, 2) is in cells of its level (yolo.md B), so that the strides, one a level, scale it.
    """
    name = next((name for name in tensors if _BUFFER.fullmatch(name)), None)
    if name is None:
        return ()
    tensor = tensors[name]
    array = tensor.array
    if array.ndim != 3 or array.shape[2] != 2 or len(array) != len(stride) or array.size > 1000:
        return ()
    if not tensor.element.is_float or tensor.element.name == "bfloat16":
        return ()
    pixels = array.astype(np.float64) * np.asarray(stride, dtype=np.float64)[:, None, None]
    if not np.isfinite(pixels).all() or (pixels <= 0).any():
        return ()
    return tuple(tuple((width, height) for width, height in level) for level in pixels.tolist())
