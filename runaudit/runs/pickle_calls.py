"""The few calls of a checkpoint's pickle whose result is known without making them: tensors, containers, numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from runaudit.errors import CheckpointError
from runaudit.runs.pickle_values import Ref, StorageRef, Stub, TensorRef

_SCALARS = {
    **{"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b"},
    **{"u8": "Q", "u4": "I", "u2": "H", "u1": "B", "b1": "?"},
}
"""numpy's type codes and struct's"""
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")


def _tensor(path: str, arguments: tuple[Any, ...]) -> Any:
    if len(arguments) < 4 or not isinstance(arguments[0], StorageRef):
        return Stub(path, arguments)
    return TensorRef(arguments[0], arguments[1], arguments[2], arguments[3])


def _parameter(path: str, arguments: tuple[Any, ...]) -> Any:
    tensor = arguments[0] if arguments else None
    if not isinstance(tensor, TensorRef):
        return Stub(path, arguments)
    return TensorRef(tensor.storage, tensor.offset, tensor.size, tensor.stride, is_parameter=True)


def _ordered_dict(path: str, arguments: tuple[Any, ...]) -> Any:
    pairs = arguments[0] if arguments else []
    if not isinstance(pairs, (list, tuple)):
        return Stub(path, arguments)
    result: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            return Stub(path, arguments)
        result[pair[0]] = pair[1]
    return result


def _set(path: str, arguments: tuple[Any, ...]) -> Any:
    members = arguments[0] if arguments else []
    if len(arguments) > 1 or not isinstance(members, (list, tuple)) or not all(isinstance(m, str) for m in members):
        return Stub(path, arguments)
    return set(members)


def _size(path: str, arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple) else Stub(path, arguments)


def _encoded(path: str, arguments: tuple[Any, ...]) -> Any:
    """Protocol 2 knows no bytes and writes them as a text to be encoded in Latin-1."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        return Stub(path, arguments)
    try:
        return arguments[0].encode("latin-1")
    except UnicodeEncodeError as error:
        raise CheckpointError("The pickle holds bytes that are none.", code="checkpoint_pickle") from error


def _scalar(path: str, arguments: tuple[Any, ...]) -> Any:
    """A numpy scalar, given by its type and its bytes."""
    number = _decoded(*arguments) if len(arguments) == 2 else None
    return Stub(path, arguments) if number is None else number


def array_of_one(value: Any) -> int | float | None:
    """The number in a numpy array of one element (YOLOv5 keeps its best fitness so); None for anything else."""
    if not isinstance(value, Stub) or value.path not in _RECONSTRUCT or not isinstance(value.state, tuple):
        return None
    return _decoded(value.state[2], value.state[4]) if len(value.state) == 5 else None


def _decoded(dtype: Any, data: Any) -> int | float | None:
    """One number of a numpy type, little-endian as every platform of torch writes it; None if it is not one."""
    if not isinstance(dtype, Stub) or dtype.path != "numpy.dtype" or not dtype.arguments:
        return None
    code = dtype.arguments[0]
    layout = _SCALARS.get(code) if isinstance(code, str) else None
    if layout is None or not isinstance(data, bytes) or len(data) != struct.calcsize("<" + layout):
        return None
    number: int | float = struct.unpack("<" + layout, data)[0]
    return number


def _reconstructed(path: str, arguments: tuple[Any, ...]) -> Any:
    if len(arguments) == 3 and isinstance(arguments[0], Ref):
        return Stub(arguments[0].path)
    return Stub(path, arguments)


KNOWN_CALLS: dict[str, Callable[[str, tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
    "collections.OrderedDict": _ordered_dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "_codecs.encode": _encoded,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
}
