"""Lists the globals that a pickle's opcodes name, without a machine: for pickles that the machine refuses."""

from __future__ import annotations

import io
import pickletools
import struct
from typing import Any

OPERATIONS = 2_000_000
"""most opcodes that are read; an unstripped yolov8x needs about 200,000"""
UNREADABLE = (ValueError, struct.error, OverflowError, EOFError, KeyError, IndexError, AttributeError)
"""what `pickletools.genops` raises for bytes that are no opcodes, and the machine for a stack or memo too short"""


def scan_globals(data: bytes, start: int = 0) -> tuple[str, ...]:
    """All globals that the opcodes from `start` on name, as far as they can be decoded, over all pickles in `data`.

    The names of STACK_GLOBAL are found where the two strings before it were pushed or fetched from the memo.
    """
    found: dict[str, None] = {}
    stream = io.BytesIO(data)
    stream.seek(start)
    strings = _PushedStrings()
    operations = 0
    argument: Any
    try:
        while stream.tell() < len(data) and operations < OPERATIONS:
            for opcode, argument, _at in pickletools.genops(stream):
                operations += 1
                if opcode.name in ("GLOBAL", "INST"):
                    found[dotted(*argument.split(" ", 1))] = None
                elif opcode.name == "STACK_GLOBAL":
                    found[dotted(*strings.last_two())] = None
                elif opcode.name.startswith("EXT"):
                    found[f"copyreg.extension_{argument}"] = None
                strings.see(opcode.name, argument)
                if operations >= OPERATIONS:
                    break
    except UNREADABLE:
        pass
    return tuple(found)


class _PushedStrings:
    """Follows strings through the stack and the memo as far as naming STACK_GLOBALs needs it."""

    def __init__(self) -> None:
        self._recent: list[str] = []
        self._memo: dict[int, str] = {}
        self._memoized = 0

    def see(self, name: str, argument: Any) -> None:
        if name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            index = self._memoized if name == "MEMOIZE" else argument
            self._memoized += 1
            if self._recent:
                self._memo[index] = self._recent[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._push(self._memo.get(argument, "?"))
        elif isinstance(argument, str) and name not in ("GLOBAL", "INST"):
            self._push(argument)

    def last_two(self) -> tuple[str, str]:
        module, name = (["?", "?", *self._recent])[-2:]
        return module, name

    def _push(self, text: str) -> None:
        self._recent = [*self._recent[-1:], text]


def dotted(module: str, name: str = "?") -> str:
    """`module.name`, printable and of at most 200 characters, as it may appear in a report."""
    return ascii(f"{module}.{name}"[:200])[1:-1]
