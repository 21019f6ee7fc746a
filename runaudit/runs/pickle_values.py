"""What the inert pickle reader makes of a pickle: plain values, and stand-ins for all that would be objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Ref:
    """A global that the pickle names, as `module.name`. Nothing was imported for it."""

    path: str


@dataclass(slots=True, eq=False)
class Stub:
    """An object that the pickle would have made by calling `path` with `arguments`; none was made.

    `state` is what the object's `__setstate__` or `__dict__` would have taken, `entries` and `items` what would have
    been put into it as into a dict or a list.
    """

    path: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)

    def attribute(self, name: str) -> Any:
        """The instance attribute `name` of the state, or None."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return state.get(name) if isinstance(state, dict) else None


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage as the pickle describes it: `kind` is the torch class (`HalfStorage`), `numel` its element count."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A tensor as the pickle describes it: a strided view of a storage, in elements. Unchecked."""

    storage: StorageRef
    offset: Any
    size: Any
    stride: Any
    is_parameter: bool = False
