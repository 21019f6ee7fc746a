"""Reads a checkpoint's facts and tensors without executing any of it, and writes the tensors as safetensors.

The steps are those of security.md A6: the gate of the zip, the inert machine, the policy on globals, the replay of the
state dict, the checks of each tensor. What stops one of them becomes the facts' `problem`; what was read before it is
kept. Codes of the problems:
checkpoint_format_unknown     neither of torch.save's two formats
checkpoint_truncated          it was cut off
checkpoint_checksum           a member's checksum is wrong
checkpoint_zip                a zip that torch.save did not write (packed members, two data.pkl, bytes before it, ...)
checkpoint_legacy             a file of the format before torch 1.6 that contradicts itself
checkpoint_torchscript        a TorchScript export
checkpoint_pickle             a pickle with opcodes, arguments or a structure that no checkpoint needs
checkpoint_foreign_globals    a pickle that names globals of no known framework; `foreign_globals` lists them
checkpoint_model              no network in it, or one that is malformed
checkpoint_tensor             a tensor that contradicts its storage, or of an element type that is not supported
checkpoint_unsupported        big-endian
checkpoint_limit              absurdly large, deep or self-similar
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runaudit.errors import CheckpointError
from runaudit.runs.activations import activations
from runaudit.runs.anchors import anchors_of
from runaudit.runs.checkpoint_metadata import metadata
from runaudit.runs.facts import CheckpointFacts, Note
from runaudit.runs.inert_pickle import PickleRefusedError, read_pickle
from runaudit.runs.module_tree import state_dict
from runaudit.runs.pickle_values import Stub, TensorRef
from runaudit.runs.safetensors_file import write_safetensors
from runaudit.runs.tensors import Storages, TensorReader, item_size
from runaudit.runs.torch_legacy import TorchLegacy, is_legacy
from runaudit.runs.torch_zip import TorchZip
from runaudit.runs.weight_health import weight_health

_FILE_BYTES = 8 * 2**30
_BARE_PICKLE_BYTES = 32 * 2**20
_FOREIGN_GLOBALS = 100
_NONFINITE_NAMES = 200


def read_checkpoint(path: Path, *, source: str, weights_out: Path) -> CheckpointFacts:
    """The facts of the checkpoint `path`, which the report calls `source`; its tensors go to `weights_out`.

    `weights_out` is a safetensors file with the names, order and element types of the framework's `state_dict()`. It is
    written only if `problem` is None. `ema` is preferred to `model`, as the frameworks do (ultralytics
    nn/tasks.py `load_checkpoint`). The optimizer's tensors are not read. Never raises for what is in the file; raises
    OSError if it can't be opened or `weights_out` can't be written.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        facts: dict[str, Any] = {"source": source, "size": status.st_size, "sha256": ""}
        try:
            if not stat.S_ISREG(status.st_mode):
                raise _unknown_format()
            facts["sha256"] = _sha256(file)
            reading = _Reading(file, status.st_size, facts)
            reading.read()
            reading.write_weights(weights_out)
        except CheckpointError as error:
            facts["problem"] = Note(code=error.error_code, detail=error.detail, place=source)
            if isinstance(error, PickleRefusedError):
                facts["foreign_globals"] = error.foreign[:_FOREIGN_GLOBALS]
        except (MemoryError, RecursionError):
            facts["problem"] = Note(
                code="checkpoint_limit", detail="The checkpoint is too large or too deep to be read.", place=source
            )
    return CheckpointFacts(**facts)


@dataclass
class _Reading:
    """One checkpoint being read; each step adds to `facts`."""

    file: BinaryIO
    size: int
    facts: dict[str, Any]
    storages: Storages | None = None
    described: dict[str, TensorRef] | None = None

    def read(self) -> None:
        """Reads metadata and the description of the tensors. Raises CheckpointError."""
        root, globals_, foreign = self._open()
        self.facts["foreign_globals"] = foreign[:_FOREIGN_GLOBALS]
        checkpoint = root if isinstance(root, dict) else {"model": root}
        model = _network(checkpoint)
        tensors = TensorReader(self._opened())
        self.facts.update(metadata(checkpoint, model, globals_, tensors))
        if foreign:
            raise CheckpointError(
                "The checkpoint names code of no known framework: "
                + ", ".join(foreign[:5])
                + ". Nothing of it was run.",
                code="checkpoint_foreign_globals",
            )
        self.described = state_dict(model)
        if not isinstance(model, Stub):
            raise CheckpointError(
                "The checkpoint holds tensors without a network: a bare state dict.", code="checkpoint_model"
            )
        self.facts["activations"] = activations(model)

    def write_weights(self, weights_out: Path) -> None:
        """Reads the tensors and writes them. Raises CheckpointError."""
        described = self.described or {}
        reader = TensorReader(self._opened())
        tensors = {name: reader.tensor(reference) for name, reference in described.items()}
        self.facts["tensors"] = len(tensors)
        self.facts["parameters"] = sum(
            tensor.array.size for name, tensor in tensors.items() if described[name].is_parameter
        )
        nonfinite = tuple(name for name, tensor in tensors.items() if not tensor.is_finite())
        self.facts["nonfinite_tensors"] = nonfinite[:_NONFINITE_NAMES]
        self.facts["weight_health"] = weight_health(tensors)
        self.facts["anchors"] = anchors_of(tensors, self.facts.get("stride", ()))
        write_safetensors(tensors, weights_out)
        self.facts["weights"] = weights_out.name

    def _opened(self) -> Storages:
        if self.storages is None:
            raise _unknown_format()
        return self.storages

    def _open(self) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        """The inert object, all globals and the foreign ones."""
        if self.size > _FILE_BYTES:
            raise CheckpointError("The checkpoint is far too large.", code="checkpoint_limit")
        self.file.seek(0)
        start = self.file.read(16)
        if start.startswith(b"PK\x03\x04"):
            zipped = TorchZip(self.file, self.size)
            self.storages = zipped
            pickle = read_pickle(zipped.pickle)
            return pickle.value, pickle.globals, pickle.foreign
        if is_legacy(start):
            return self._open_legacy()
        if start[:1] == b"\x80":
            # A bare pickle is no checkpoint of torch.save, but what it names belongs into the report.
            self.file.seek(0)
            self.facts["foreign_globals"] = read_pickle(self.file.read(_BARE_PICKLE_BYTES)).foreign[:_FOREIGN_GLOBALS]
        raise _unknown_format()

    def _open_legacy(self) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
        legacy = TorchLegacy(self.file, self.size)
        pickle = legacy.pickles[3]
        if not pickle.foreign:
            legacy.locate({storage.key: item_size(storage) for storage in pickle.storages})
        self.storages = legacy
        return pickle.value, pickle.globals, pickle.foreign


def _network(checkpoint: dict[Any, Any]) -> Any:
    for key in ("ema", "model"):
        if checkpoint.get(key) is not None:
            return checkpoint[key]
    return checkpoint


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _unknown_format() -> CheckpointError:
    return CheckpointError("This is not a checkpoint that torch.save wrote.", code="checkpoint_format_unknown")
