"""Opens the format that torch.save wrote before 1.6: five pickles one after the other, then the storages' bytes.

Source: torch/serialization.py, `_legacy_save` and `_legacy_load`: magic number, protocol version, a description of the
platform, the object, the storages' keys; then for each key a 64-bit element count and the elements.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from runaudit.errors import CheckpointError
from runaudit.runs.inert_pickle import InertPickle, PickleRefusedError, read_pickle

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_BYTES = 2 * 2**30


def is_legacy(start: bytes) -> bool:
    """Whether a file that starts with `start` is one: a pickle of protocol 2 that holds the magic number."""
    return start[:2] == b"\x80\x02" and MAGIC_NUMBER.to_bytes(10, "little") in start[:16]


class TorchLegacy:
    """A checkpoint of the old format in `file` of `size` bytes; read whole.

    `value` is the inert object, `pickles` all five. The count before each storage is the only description of its size
    outside of the pickle, so a storage's item size is what makes the counts fill the file; it has to be known from the
    object. Raises CheckpointError as `read_pickle` does, and checkpoint_limit, checkpoint_truncated.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        if size > _BYTES:
            raise CheckpointError("The checkpoint is far too large.", code="checkpoint_limit")
        file.seek(0)
        self._data = file.read(size)
        self.pickles: list[InertPickle] = []
        at = 0
        for _ in range(5):
            self.pickles.append(read_pickle(self._data, at, last=False))
            at = self.pickles[-1].end
        around = [name for number, pickle in enumerate(self.pickles) if number != 3 for name in pickle.foreign]
        if around:
            foreign = tuple(dict.fromkeys((*around, *self.pickles[3].foreign)))
            detail = "The checkpoint names code outside of its object. Nothing of it was run."
            raise PickleRefusedError(detail, "checkpoint_foreign_globals", foreign, foreign)
        magic, protocol, platform, root, keys = (pickle.value for pickle in self.pickles)
        if magic != MAGIC_NUMBER or protocol != _PROTOCOL:
            raise _refused("its version is unknown")
        if not isinstance(platform, dict) or platform.get("little_endian") is not True:
            raise CheckpointError("The checkpoint was written big-endian.", code="checkpoint_unsupported")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise _refused("its list of storages is damaged")
        self.value = root
        self._keys: list[str] = keys
        self._start = at
        self._spans: dict[str, tuple[int, int]] = {}

    def locate(self, item_sizes: dict[str, int]) -> None:
        """Finds the storages, given the item size in bytes of each key.

        Raises CheckpointError checkpoint_truncated or checkpoint_legacy.
        """
        at = self._start
        for key in self._keys:
            item_size = item_sizes.get(key)
            if item_size is None:
                raise _refused("it holds a storage that no tensor uses")
            if at + 8 > len(self._data):
                raise CheckpointError("The checkpoint ends inside a storage.", code="checkpoint_truncated")
            (count,) = struct.unpack_from("<q", self._data, at)
            if not 0 <= count <= (len(self._data) - at - 8) // item_size:
                raise CheckpointError("The checkpoint ends inside a storage.", code="checkpoint_truncated")
            if key in self._spans:
                raise _refused("it holds a storage twice")
            self._spans[key] = at + 8, at + 8 + count * item_size
            at += 8 + count * item_size
        if at != len(self._data):
            raise _refused("behind its storages lie more bytes")

    def storage_size(self, key: str) -> int | None:
        """Bytes of the storage `key`; None if there is none."""
        span = self._spans.get(key)
        return None if span is None else span[1] - span[0]

    def storage(self, key: str) -> bytes:
        """The bytes of the storage `key`. Raises KeyError."""
        start, end = self._spans[key]
        return self._data[start:end]


def _refused(why: str) -> CheckpointError:
    return CheckpointError(f"torch.save did not write this file: {why}.", code="checkpoint_legacy")
