"""Replays `state_dict()` on the stand-ins of a pickled torch module: names, order and tensors as torch would give them.

Follows torch.nn.Module.state_dict: a module's parameters, then its buffers but for the non-persistent ones, then its
children, each in the order of insertion.
"""

from __future__ import annotations

import re
from typing import Any

from runaudit.errors import CheckpointError
from runaudit.runs.pickle_values import Stub, TensorRef

_MODULES = 20_000
"""modules visited, a shared one at each place; yolov8x has about 700"""
_DEPTH = 32
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")


def state_dict(module: Any) -> dict[str, TensorRef]:
    """The state dict of `module`, a pickled torch.nn.Module, or of a dict that is one already.

    Wrappers of torch.nn.parallel are taken off. Raises CheckpointError checkpoint_model: it is neither, a part of it is
    malformed, or it contains itself; checkpoint_limit: too many modules, or too deep.
    """
    if isinstance(module, dict):
        return _plain_state_dict(module)
    if not isinstance(module, Stub):
        raise _refused("it holds no network")
    if module.path.startswith("torch.nn.parallel."):
        inner = _part(module, "_modules").get("module")
        if isinstance(inner, Stub):
            module = inner
    return _Replay().collect(module)


def _plain_state_dict(entries: dict[Any, Any]) -> dict[str, TensorRef]:
    tensors = {name: value for name, value in entries.items() if isinstance(value, TensorRef)}
    if not tensors or len(tensors) != len(entries):
        raise _refused("it holds no network")
    if not all(isinstance(name, str) and all(map(_NAME.fullmatch, name.split("."))) for name in tensors):
        raise _refused("a tensor has no proper name")
    return tensors


class _Replay:
    """One walk over a tree of modules."""

    def __init__(self) -> None:
        self._tensors: dict[str, TensorRef] = {}
        self._open: set[int] = set()
        self._visited = 0

    def collect(self, module: Stub) -> dict[str, TensorRef]:
        self._visit(module, "", 0)
        return self._tensors

    def _visit(self, module: Stub, prefix: str, depth: int) -> None:
        self._visited += 1
        if self._visited > _MODULES or depth > _DEPTH:
            raise CheckpointError("The checkpoint's network has far too many modules.", code="checkpoint_limit")
        if id(module) in self._open:
            raise _refused(f"the module {prefix[:120]!a} contains itself")
        self._open.add(id(module))
        hidden = module.attribute("_non_persistent_buffers_set")
        hidden = hidden if isinstance(hidden, (set, frozenset)) else frozenset()
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _part(module, kind).items():
                if tensor is not None and not (kind == "_buffers" and name in hidden):
                    self._add(prefix, name, tensor)
        for name, child in _part(module, "_modules").items():
            if child is not None:
                if not isinstance(child, Stub):
                    raise _refused(f"the module {prefix[:120]!a} has a child that is none")
                self._visit(child, f"{prefix}{_checked(name)}.", depth + 1)
        self._open.discard(id(module))

    def _add(self, prefix: str, name: Any, tensor: Any) -> None:
        if not isinstance(tensor, TensorRef):
            raise _refused(f"a tensor of the module {prefix[:120]!a} is none")
        self._tensors[f"{prefix}{_checked(name)}"] = tensor


def _part(module: Stub, kind: str) -> dict[Any, Any]:
    part = module.attribute(kind)
    if not isinstance(part, dict):
        raise _refused(f"the object {module.path[:80]} is no network")
    return part


def _checked(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refused("a part of the network has no proper name")
    return name


def _refused(why: str) -> CheckpointError:
    return CheckpointError(f"The network can't be taken from the checkpoint: {why}.", code="checkpoint_model")
