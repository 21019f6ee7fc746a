"""Reads every stable error code out of the packages' source: what docs/errors.md has to list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "runaudit", ROOT / "service", ROOT / "worker")
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


@dataclass(frozen=True)
class Use:
    """One place where an error gets its code: the code, the error's class (if known), and `file:line`."""

    code: str
    error: str | None
    place: str


@dataclass
class ErrorClass:
    bases: tuple[str, ...]
    code: str | None
    status: int | None
    place: str


@dataclass
class Sources:
    """The error classes by name; functions that make errors with a `code` parameter; and the uses of codes."""

    classes: dict[str, ErrorClass] = field(default_factory=dict)
    makers: dict[str, tuple[str, int]] = field(default_factory=dict)
    """function -> the class that it returns, and the position of its parameter `code` (without self)"""
    uses: list[Use] = field(default_factory=list)

    def status_of(self, name: str | None) -> int | None:
        """The HTTP status of a class, its own or inherited."""
        known = self.classes.get(name or "")
        if known is None:
            return None
        if known.status is not None:
            return known.status
        return next((status for base in known.bases if (status := self.status_of(base)) is not None), None)


def read_sources() -> Sources:
    found = Sources()
    trees = [(path, ast.parse(path.read_text())) for folder in SOURCES for path in sorted(folder.rglob("*.py"))]
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                _take_class(found, node, f"{path.relative_to(ROOT)}:{node.lineno}")
            elif isinstance(node, ast.FunctionDef):
                _take_maker(found, node)
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found.uses += _codes_of_call(found, node, f"{path.relative_to(ROOT)}:{node.lineno}")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                found.uses += _codes_of_table(node, f"{path.relative_to(ROOT)}:{node.lineno}")
    found.uses += [
        Use(known.code, name, known.place) for name, known in found.classes.items() if known.code is not None
    ]
    return found


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _take_class(found: Sources, node: ast.ClassDef, place: str) -> None:
    values: dict[str, object] = {}
    for line in node.body:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        value = getattr(line, "value", None)
        if isinstance(value, ast.Constant):
            values |= {_name(target): value.value for target in targets}
    code, status = values.get("code"), values.get("status")
    if node.name.endswith("Error"):
        found.classes[node.name] = ErrorClass(
            tuple(_name(base) for base in node.bases),
            code if isinstance(code, str) else None,
            status if isinstance(status, int) else None,
            place,
        )


def _take_maker(found: Sources, node: ast.FunctionDef) -> None:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    if _name(node.returns).endswith("Error") and "code" in (*names, *(one.arg for one in node.args.kwonlyargs)):
        found.makers[node.name] = (_name(node.returns), names.index("code") if "code" in names else -1)


def _codes_of_call(found: Sources, node: ast.Call, place: str) -> Iterator[Use]:
    called = _name(node.func)
    error, position = found.makers.get(called, (called if called.endswith("Error") else "", -1))
    if not error:
        return
    given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
    if 0 <= position < len(node.args):
        given.append(node.args[position])
    for code in (code for value in given for code in _possible_codes(value)):
        yield Use(code, error if error in found.classes else None, place)


def _possible_codes(value: ast.expr) -> Iterator[str]:
    """The text that an expression may be: itself, either branch of a choice, or the default of a `get`."""
    match value:
        case ast.Constant(value=str(text)) if CODE.match(text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_possible_codes(body), *_possible_codes(orelse))
        case ast.BoolOp(values=values):
            yield from (code for one in values for code in _possible_codes(one))
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            yield from _possible_codes(default)


def _codes_of_table(node: ast.Assign | ast.AnnAssign, place: str) -> Iterator[Use]:
    """A mapping to codes is named for it, `..._CODES` or `codes`; `_FATAL` are the notes that become errors."""
    name = _name(node.targets[0] if isinstance(node, ast.Assign) else node.target).lower()
    values: list[ast.expr] = []
    if name.endswith("codes") and isinstance(node.value, ast.Dict):
        values = node.value.values
    elif name == "_fatal" and isinstance(node.value, ast.Tuple):
        values = node.value.elts
    yield from (Use(code, None, place) for value in values for code in _possible_codes(value))
