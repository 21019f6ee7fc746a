"""Turns the tensors that a checkpoint describes into arrays of plain bytes, once their description is known to be true.

A description that lies about its storage corrupted torch's heap (CVE-2026-24747), and a tensor with stride 0 unpacks a
16-byte file into gigabytes (security.md A2). Here each view has to lie inside its storage, to have no more elements
than it, and the storage has to have exactly the bytes it claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runaudit.errors import CheckpointError
from runaudit.runs.pickle_values import StorageRef, TensorRef

_RANK = 8
_ALIASING = 2
"""how often the storages' bytes may be handed out in all: tied weights share a storage, a bomb shares it often"""
_ALIASING_GRACE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ElementType:
    """A torch element type: its name in safetensors, the numpy type that holds its bits, and whether it is a float."""

    name: str
    bits: str
    is_float: bool = False


_TYPES = {
    "torch.DoubleStorage": ElementType("float64", "<f8", is_float=True),
    "torch.FloatStorage": ElementType("float32", "<f4", is_float=True),
    "torch.HalfStorage": ElementType("float16", "<f2", is_float=True),
    "torch.BFloat16Storage": ElementType("bfloat16", "<u2", is_float=True),
    "torch.LongStorage": ElementType("int64", "<i8"),
    "torch.IntStorage": ElementType("int32", "<i4"),
    "torch.ShortStorage": ElementType("int16", "<i2"),
    "torch.CharStorage": ElementType("int8", "|i1"),
    "torch.ByteStorage": ElementType("uint8", "|u1"),
    "torch.BoolStorage": ElementType("bool", "|u1"),
}


class Storages(Protocol):
    """Where the bytes of storages come from."""

    def storage_size(self, key: str) -> int | None: ...

    def storage(self, key: str) -> bytes: ...


@dataclass(frozen=True)
class Tensor:
    """A tensor's bits: `array` is C-contiguous; bfloat16 is held as uint16."""

    element: ElementType
    array: NDArray[Any]

    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite (in bfloat16: has all exponent bits set)."""
        if self.element.name == "bfloat16":
            return bool(((self.array & 0x7F80) != 0x7F80).all())
        return not self.element.is_float or bool(np.isfinite(self.array).all())


class TensorReader:
    """Reads tensors from `storages`. Each storage is read and checked once, and must be described one way only."""

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._read: dict[str, tuple[StorageRef, NDArray[Any]]] = {}
        self._stored_bytes = 0
        self._given_bytes = 0

    def tensor(self, described: TensorRef) -> Tensor:
        """The tensor's elements. Raises CheckpointError checkpoint_tensor, checkpoint_checksum or checkpoint_limit."""
        element = _TYPES.get(described.storage.kind)
        if element is None:
            raise _refused(f"its storage is a {described.storage.kind[:80]}")
        size, stride, offset = _checked_view(described)
        flat = self._storage(described.storage, element)
        self._give(math.prod(size) * flat.itemsize)
        strides = tuple(step * flat.itemsize for step in stride)
        view = np.lib.stride_tricks.as_strided(flat[offset:], shape=size, strides=strides, writeable=False)
        return Tensor(element, np.ascontiguousarray(view).reshape(size))

    def _storage(self, described: StorageRef, element: ElementType) -> NDArray[Any]:
        known = self._read.get(described.key)
        if known is not None:
            if known[0] != described:
                raise _refused(f"the storage {described.key[:20]} is described twice, differently")
            return known[1]
        dtype = np.dtype(element.bits)
        stored = self._storages.storage_size(described.key)
        if stored is None:
            raise _refused(f"its storage {described.key[:20]} is missing")
        if stored != described.numel * dtype.itemsize:
            raise _refused(f"its storage has {stored} bytes, not {described.numel} elements of {dtype.itemsize}")
        flat: NDArray[Any] = np.frombuffer(self._storages.storage(described.key), dtype=dtype)
        if element.name == "bool" and flat.size and flat.max() > 1:
            raise _refused("a truth value in it is neither true nor false")
        self._stored_bytes += stored
        self._read[described.key] = described, flat
        return flat

    def _give(self, count: int) -> None:
        self._given_bytes += count
        if self._given_bytes > max(_ALIASING * self._stored_bytes, _ALIASING_GRACE_BYTES):
            raise CheckpointError(
                "The checkpoint's tensors share their storages far too often.", code="checkpoint_limit"
            )


def _checked_view(described: TensorRef) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Size, stride and offset, known to be counts and to lie inside the storage."""
    size, stride, offset, numel = described.size, described.stride, described.offset, described.storage.numel
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride) or len(size) > _RANK:
        raise _refused("its shape is none")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in (*size, *stride, offset, numel)):
        raise _refused("its shape is none")
    count = math.prod(size)
    if count > numel:
        raise _refused(f"it has {count} elements in a storage of {numel}")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if count else offset
    if last >= numel + (count == 0):
        raise _refused("it reaches beyond its storage")
    return size, stride, offset


def _refused(why: str) -> CheckpointError:
    return CheckpointError(f"A tensor of the checkpoint can't be read: {why}.", code="checkpoint_tensor")


def item_size(storage: StorageRef) -> int:
    """Bytes of one element of `storage`. Raises CheckpointError checkpoint_tensor for an element type not supported."""
    element = _TYPES.get(storage.kind)
    if element is None:
        raise _refused(f"its storage is a {storage.kind[:80]}")
    return np.dtype(element.bits).itemsize
