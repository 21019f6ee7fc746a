"""Reads a pickle without executing any of it.

The opcodes are taken from `pickletools.genops`, which decodes and runs nothing; the machine below knows a fixed set of
them. A global becomes a `Ref`, a call a `Stub`: nothing is imported, looked up or called, whatever the pickle names.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runaudit.errors import CheckpointError
from runaudit.runs.known_globals import is_known, is_known_getattr
from runaudit.runs.pickle_calls import KNOWN_CALLS
from runaudit.runs.pickle_scan import OPERATIONS, UNREADABLE, dotted, scan_globals
from runaudit.runs.pickle_values import Ref, StorageRef, Stub

_INTEGER_BITS = 128
"""the widest honest integer is torch's legacy magic number with 77 bits"""
_KEY_BITS = 53
"""integer keys stay below the modulus of Python's hash, so that no file can choose keys that collide"""
_STRING_CHARACTERS = 2**20
_MARK = object()


@dataclass(frozen=True, slots=True)
class InertPickle:
    """A pickle's value, the globals that it names (in order, each once), the storages that it refers to, and the offset
    behind its STOP. `foreign` are the globals that no YOLO checkpoint names honestly."""

    value: Any
    globals: tuple[str, ...]
    foreign: tuple[str, ...]
    storages: tuple[StorageRef, ...]
    end: int


class PickleRefusedError(CheckpointError):
    """A pickle that the machine refuses. `globals` and `foreign` are what it and the bytes behind it name."""

    code = "checkpoint_pickle"

    def __init__(self, detail: str, code: str, globals_: tuple[str, ...], foreign: tuple[str, ...]) -> None:
        super().__init__(detail, code=code)
        self.globals = globals_
        self.foreign = foreign


def read_pickle(data: bytes, start: int = 0, *, last: bool = True) -> InertPickle:
    """The pickle that starts at `start`; `last` demands that nothing lies behind it.

    Raises PickleRefusedError: checkpoint_truncated (no STOP), checkpoint_pickle (an opcode, argument or structure that
    no checkpoint needs), checkpoint_limit.
    """
    machine = _Machine()
    stream = io.BytesIO(data)
    stream.seek(start)
    try:
        value = machine.run(stream)
    except CheckpointError as error:
        raise _refused(error.detail, error.error_code, machine, data, start) from error
    except UNREADABLE as error:
        code = "checkpoint_truncated" if "exhausted" in str(error) else "checkpoint_pickle"
        raise _refused("The pickle is damaged or was cut off.", code, machine, data, start) from error
    end = stream.tell()
    if last and end != len(data):
        detail = "Behind the end of the pickle lie more bytes."
        raise _refused(detail, "checkpoint_pickle", machine, data, start)
    return InertPickle(value, tuple(machine.globals), tuple(machine.foreign), tuple(machine.storages), end)


def _refused(detail: str, code: str, machine: _Machine, data: bytes, start: int) -> PickleRefusedError:
    scanned = scan_globals(data, start)
    globals_ = tuple(dict.fromkeys((*machine.globals, *scanned)))
    foreign = dict.fromkeys((*machine.foreign, *(path for path in scanned if not is_known(path))))
    return PickleRefusedError(detail, code, globals_, tuple(foreign))


class _Machine:
    """The stack machine of pickle, reduced to building plain values. One instance reads one pickle."""

    def __init__(self) -> None:
        self.globals: dict[str, None] = {}
        self.foreign: dict[str, None] = {}
        self.storages: dict[StorageRef, None] = {}
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        handlers = {name: handler.__get__(self) for name, handler in _HANDLERS.items()}
        stack = self._stack
        argument: Any
        for count, (opcode, argument, _at) in enumerate(pickletools.genops(stream)):
            if count > OPERATIONS:
                raise CheckpointError("The pickle is far longer than a checkpoint's.", code="checkpoint_limit")
            name = opcode.name
            if name in _LITERALS:
                stack.append(argument if argument.__class__ is float else _bounded(argument))
            elif name in _PUTS:
                self._memo[argument] = stack[-1]
            elif name in _GETS:
                stack.append(self._memo[argument])
            elif name == "STOP":
                return self._finish()
            else:
                handler = handlers.get(name)
                if handler is None:
                    raise CheckpointError(
                        f"The pickle uses the opcode {name}, which no checkpoint needs.", code="checkpoint_pickle"
                    )
                handler(argument)
        raise CheckpointError("The pickle has no end.", code="checkpoint_truncated")

    def _finish(self) -> Any:
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise _malformed("it ends with a stack that is not one value")
        return self._stack[0]

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise _malformed("a mark lies where a value should")
        return value

    def _top(self) -> Any:
        value = self._stack[-1]
        if value is _MARK:
            raise _malformed("a mark lies where a value should")
        return value

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        for depth in range(len(stack) - 1, -1, -1):
            if stack[depth] is _MARK:
                values = stack[depth + 1 :]
                del stack[depth:]
                return values
        raise _malformed("a mark is missing")

    def _ignore(self, _argument: Any) -> None:
        """PROTO and FRAME say nothing about the value."""

    def _memoize(self, _argument: Any) -> None:
        self._memo[len(self._memo)] = self._top()

    def _mark(self, _argument: Any) -> None:
        self._stack.append(_MARK)

    def _drop(self, _argument: Any) -> None:
        self._stack.pop()

    def _drop_to_mark(self, _argument: Any) -> None:
        self._pop_to_mark()

    def _duplicate(self, _argument: Any) -> None:
        self._stack.append(self._top())

    def _none(self, _argument: Any) -> None:
        self._stack.append(None)

    def _true(self, _argument: Any) -> None:
        self._stack.append(True)

    def _false(self, _argument: Any) -> None:
        self._stack.append(False)

    def _empty_list(self, _argument: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _argument: Any) -> None:
        self._stack.append({})

    def _empty_set(self, _argument: Any) -> None:
        self._stack.append(set())

    def _empty_tuple(self, _argument: Any) -> None:
        self._stack.append(())

    def _list(self, _argument: Any) -> None:
        self._stack.append(self._pop_to_mark())

    def _dict(self, _argument: Any) -> None:
        values = self._pop_to_mark()
        self._stack.append({})
        self._put_all(values)

    def _frozenset(self, _argument: Any) -> None:
        self._stack.append(frozenset(map(_key, self._pop_to_mark())))

    def _tuple(self, _argument: Any) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _tuple1(self, _argument: Any) -> None:
        self._stack.append((self._pop(),))

    def _tuple2(self, _argument: Any) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _tuple3(self, _argument: Any) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._stack.append((first, second, third))

    def _append(self, _argument: Any) -> None:
        value = self._pop()
        self._extend([value])

    def _appends(self, _argument: Any) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, Stub):
            target = target.items
        if not isinstance(target, list):
            raise _malformed("it appends to what is no list")
        target.extend(values)

    def _add_items(self, _argument: Any) -> None:
        values = self._pop_to_mark()
        target = self._top()
        if not isinstance(target, set):
            raise _malformed("it adds to what is no set")
        target.update(map(_key, values))

    def _set_item(self, _argument: Any) -> None:
        value, key = self._pop(), self._pop()
        self._put_all([key, value])

    def _set_items(self, _argument: Any) -> None:
        self._put_all(self._pop_to_mark())

    def _put_all(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, Stub):
            target = target.entries
        if not isinstance(target, dict) or len(values) % 2:
            raise _malformed("it sets items of what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self, _argument: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _malformed("a global is not named by strings")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        path = dotted(module, name)
        self.globals[path] = None
        if not is_known(path):
            self.foreign[path] = None
        self._stack.append(Ref(path))

    def _reduce(self, _argument: Any) -> None:
        arguments, callee = self._pop(), self._pop()
        if not isinstance(callee, Ref) or not isinstance(arguments, tuple):
            raise _malformed("it calls what is no global")
        self._stack.append(self._called(callee.path, arguments))

    def _called(self, path: str, arguments: tuple[Any, ...]) -> Any:
        if path in ("builtins.getattr", "__builtin__.getattr"):
            owner = arguments[0] if len(arguments) == 2 else None
            owner_path = owner.path if isinstance(owner, (Ref, Stub)) else None
            if not is_known_getattr(owner_path, arguments[-1] if arguments else None):
                self.foreign[path] = None
            return Stub(path, arguments)
        if path == "dill._dill._load_type":
            # dill pickles a built-in type by its bare name; only the container that YOLO modules hold is understood.
            if arguments == ("set",):
                return Ref("builtins.set")
            self.foreign[path] = None
            return Stub(path, arguments)
        known = KNOWN_CALLS.get(path)
        if known is not None:
            return known(path, arguments)
        return Stub(path, arguments)

    def _new_object(self, _argument: Any) -> None:
        arguments, cls = self._pop(), self._pop()
        if not isinstance(cls, Ref) or not isinstance(arguments, tuple):
            raise _malformed("it makes an instance of what is no class")
        known = KNOWN_CALLS.get(cls.path)
        self._stack.append(known(cls.path, arguments) if known is not None else Stub(cls.path, arguments))

    def _new_object_with_keywords(self, _argument: Any) -> None:
        keywords, arguments, cls = self._pop(), self._pop(), self._pop()
        if not isinstance(cls, Ref) or not isinstance(arguments, tuple) or not isinstance(keywords, dict):
            raise _malformed("it makes an instance of what is no class")
        self._stack.append(Stub(cls.path, (*arguments, keywords)))

    def _build(self, _argument: Any) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Stub):
            target.state = state
        elif not isinstance(target, dict):
            # An OrderedDict carries attributes (`_metadata` of a state dict), which say nothing here.
            raise _malformed("it sets the state of what is no object")

    def _persistent(self, _argument: Any) -> None:
        name = self._pop()
        if (
            not isinstance(name, tuple)
            or len(name) < 5
            or name[0] != "storage"
            or not isinstance(name[1], Ref)
            or not isinstance(name[2], str)
            or not name[2].isascii()
            or not name[2].isdigit()
            or type(name[4]) is not int
        ):
            self._stack.append(self._legacy_source(name))
            return
        storage = StorageRef(name[1].path, name[2], name[4])
        self.storages[storage] = None
        self._stack.append(storage)

    @staticmethod
    def _legacy_source(name: Any) -> Ref:
        """torch before 1.6 wrote a class together with its source text: ('module', class, file, source)."""
        if isinstance(name, tuple) and len(name) == 4 and name[0] == "module" and isinstance(name[1], Ref):
            return name[1]
        raise _malformed("it names an object outside of itself that is no storage")


def _malformed(what: str) -> CheckpointError:
    return CheckpointError(f"The pickle is not a checkpoint's: {what}.", code="checkpoint_pickle")


def _bounded(value: Any) -> Any:
    if value.__class__ is int and value.bit_length() > _INTEGER_BITS:
        raise CheckpointError("The pickle holds an integer of absurd size.", code="checkpoint_limit")
    if value.__class__ in (str, bytes) and len(value) > _STRING_CHARACTERS:
        raise CheckpointError("The pickle holds a text of absurd length.", code="checkpoint_limit")
    return value


def _key(value: Any) -> Any:
    """`value` as a dict key or set member. Raises CheckpointError unless it is a plain scalar."""
    if value is None or value.__class__ in (str, bool):
        return value
    if value.__class__ is int and value.bit_length() <= _KEY_BITS:
        return value
    raise _malformed("a key is neither a text nor a number")


_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_LITERALS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    }
)
_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._ignore,
    "FRAME": _Machine._ignore,
    "MEMOIZE": _Machine._memoize,
    "MARK": _Machine._mark,
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_to_mark,
    "DUP": _Machine._duplicate,
    "NONE": _Machine._none,
    "NEWTRUE": _Machine._true,
    "NEWFALSE": _Machine._false,
    "EMPTY_LIST": _Machine._empty_list,
    "EMPTY_DICT": _Machine._empty_dict,
    "EMPTY_SET": _Machine._empty_set,
    "EMPTY_TUPLE": _Machine._empty_tuple,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "FROZENSET": _Machine._frozenset,
    "TUPLE": _Machine._tuple,
    "TUPLE1": _Machine._tuple1,
    "TUPLE2": _Machine._tuple2,
    "TUPLE3": _Machine._tuple3,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "ADDITEMS": _Machine._add_items,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new_object,
    "NEWOBJ_EX": _Machine._new_object_with_keywords,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._persistent,
}
