"""Writes arrays of plain bits as a safetensors file.

Written from the format's specification (safetensors README, "Format"): 8 bytes with the header's length, a JSON header,
the arrays' bytes without holes. The package's own writer takes either a dict or raw memory addresses, depending on its
version; this takes what a checkpoint gives, bfloat16 included, and needs no copy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from runaudit.runs.tensors import Tensor

_TYPE_NAMES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"},
}


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes `tensors` to `path` with their stored element types and shapes; the header keeps their order.

    Wide elements come first in the data, so that each array lies aligned. Raises OSError.
    """
    by_width = sorted(tensors, key=lambda name: -tensors[name].array.itemsize)
    spans: dict[str, list[int]] = {}
    at = 0
    for name in by_width:
        spans[name] = [at, at + tensors[name].array.nbytes]
        at = spans[name][1]
    header = json.dumps(
        {
            name: {
                "dtype": _TYPE_NAMES[tensor.element.name],
                "shape": list(tensor.array.shape),
                "data_offsets": spans[name],
            }
            for name, tensor in tensors.items()
        },
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name in by_width:
            file.write(tensors[name].array.reshape(-1).data)
