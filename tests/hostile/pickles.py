"""Checkpoints that try to run code, to exhaust memory, or to lie about their tensors (rows P and Z of the attack list).

`encode` writes plain structures and the stand-ins below as pickle opcodes, so that an attack is written as data.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Name:
    """A global, `module` and `name`."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """The result of calling `callee` with `arguments` (REDUCE)."""

    callee: Any
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class New:
    """An instance of `cls` with `state` (NEWOBJ, BUILD)."""

    cls: Name
    state: Any = None


@dataclass(frozen=True)
class Storage:
    """A persistent reference to a storage."""

    key: str
    numel: int
    kind: str = "FloatStorage"


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are; they have to leave one value."""

    opcodes: bytes


def encode(value: Any) -> bytes:
    """The opcodes (protocol 2, no PROTO and STOP) that leave `value` on the stack."""
    if value is None:
        return b"N"
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else pickle.dumps(value, 2)[2:-1]
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, tuple):
        return b"(" + b"".join(map(encode, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"u"
    return _encode_stand_in(value)


def _encode_stand_in(value: Any) -> bytes:
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, Name):
        return b"c" + f"{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        return encode(value.callee) + encode(value.arguments) + b"R"
    if isinstance(value, New):
        return encode(value.cls) + b")\x81" + encode(value.state) + b"b"
    if isinstance(value, Storage):
        return encode(("storage", Name("torch", value.kind), value.key, "cpu", value.numel)) + b"Q"
    raise TypeError(type(value))


def pickled(value: Any) -> bytes:
    """A whole pickle of `value`."""
    return b"\x80\x02" + encode(value) + b"."


def tensor(storage: Storage, size: Any, stride: Any, offset: Any = 0, *, parameter: bool = False) -> Call:
    """A tensor as torch pickles it."""
    built = Call(
        Name("torch._utils", "_rebuild_tensor_v2"),
        (storage, offset, size, stride, False, Call(Name("collections", "OrderedDict"))),
    )
    if not parameter:
        return built
    return Call(Name("torch._utils", "_rebuild_parameter"), (built, True, Call(Name("collections", "OrderedDict"))))


def module(
    cls: Name, parameters: dict[Any, Any] | None = None, children: dict[Any, Any] | None = None, **state: Any
) -> New:
    """A torch module as torch pickles it."""
    return New(cls, {"_parameters": parameters or {}, "_buffers": {}, "_modules": children or {}, **state})


DETECTION = Name("ultralytics.nn.tasks", "DetectionModel")
CONVOLUTION = Name("torch.nn.modules.conv", "Conv2d")


def checkpoint(model: Any = None, **entries: Any) -> dict[str, Any]:
    """A stripped ultralytics checkpoint around `model` (by default a network of one weight of four floats)."""
    if model is None:
        model = network(weight())
    return {"epoch": -1, "model": model, "ema": None, "optimizer": None, "version": "8.4.190", **entries}


def weight() -> Call:
    """The parameter that storage 0 of `checkpoint_zip` holds."""
    return tensor(Storage("0", 4), (4,), (1,), parameter=True)


def network(parameter: Any, **state: Any) -> New:
    """A network of one convolution with one weight."""
    return module(
        DETECTION,
        children={"model": module(CONVOLUTION, {"weight": parameter})},
        **{"yaml": {"nc": 1}, "names": {0: "one"}, **state},
    )


STORAGE = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)


def checkpoint_zip(
    data: bytes,
    storages: dict[str, bytes] | None = None,
    *,
    root: str = "best",
    extra: dict[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """A checkpoint with the pickle `data`, laid out as torch.save does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{root}/data.pkl", data)
        archive.writestr(f"{root}/byteorder", b"little")
        for key, content in (storages if storages is not None else {"0": STORAGE}).items():
            archive.writestr(f"{root}/data/{key}", content)
        archive.writestr(f"{root}/version", b"3\n")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


@dataclass(frozen=True)
class HostileCheckpoint:
    """One file and what has to come of it: the problem's code (None: harmless data), a global that has to be named."""

    name: str
    content: bytes
    code: str | None
    foreign: str | None = None


def payload_globals(canary: Path) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Module, name and arguments of calls that would do harm, `canary` being created where that is possible."""
    command = f"touch '{canary}'"
    code = f"open({str(canary)!r}, 'w').close()"
    return [
        ("os", "system", (command,)),
        ("posix", "system", (command,)),
        ("nt", "system", (command,)),
        ("builtins", "exec", (code,)),
        ("builtins", "eval", (code,)),
        ("builtins", "compile", (code, "x", "exec")),
        ("builtins", "__import__", ("os",)),
        ("__builtin__", "eval", (code,)),
        ("builtins", "open", (str(canary), "w")),
        ("subprocess", "Popen", (["touch", str(canary)],)),
        ("importlib", "import_module", ("os",)),
        ("runpy", "run_path", (str(canary),)),
        ("runpy", "_run_code", (code, {})),
        ("torch.hub", "load", ("ultralytics/yolov5", "yolov5n")),
        ("torch.jit", "load", (str(canary),)),
        ("torch", "load", (str(canary),)),
        ("torch.storage", "_load_from_bytes", ("cposix\nsystem\n.",)),
        ("torch.serialization", "load", (str(canary),)),
        ("numpy.testing._private.utils", "runstring", (code, {})),
        ("numpy", "load", (str(canary),)),
        ("numpy.f2py", "compile", ("x",)),
        ("numpy", "core._internal.sys.modules", ()),
        ("pkgutil", "resolve_name", ("os:system",)),
        ("pydoc", "locate", ("os.system",)),
        ("functools", "partial", (Name("os", "system"), command)),
        ("operator", "attrgetter", ("system",)),
        ("operator", "methodcaller", ("system", command)),
        ("marshal", "loads", ("x",)),
        ("types", "FunctionType", ()),
        ("types", "CodeType", ()),
        ("ctypes", "CDLL", ("libc.so.6",)),
        ("_ctypes", "dlopen", ("libc.so.6", 0)),
        ("uuid", "_get_command_stdout", ("touch", str(canary))),
        ("imaplib", "IMAP4_stream", (command,)),
        ("smtplib", "SMTP", ("127.0.0.1", 9)),
        ("ssl", "get_server_certificate", (("127.0.0.1", 9),)),
        ("urllib.request", "urlopen", ("http://127.0.0.1:9/",)),
        ("webbrowser", "open", ("http://127.0.0.1:9/",)),
        ("pip", "main", (["download", "x"],)),
        ("pip._internal", "main", (["download", "x"],)),
        ("shutil", "rmtree", (str(canary),)),
        ("linecache", "getlines", ("/etc/passwd",)),
        ("tarfile", "open", (str(canary),)),
        ("sys", "modules", ()),
        ("copyreg", "add_extension", ("os", "system", 1)),
        ("ultralytics.utils.checks", "check_requirements", ("left-pad",)),
        ("ultralytics.nn.tasks", "torch_safe_load", (str(canary),)),
        ("ultralytics.nn.tasks", "yaml_model_load", ("/etc/passwd",)),
        ("ultralytics.utils.downloads", "safe_download", ("http://127.0.0.1:9/",)),
        ("models.yolo", "parse_model", ({}, [3])),
        ("utils.general", "check_requirements", ("left-pad",)),
        ("__main__", "Custom", ()),
        ("nn.modules.esp_block", "ESPBlock", ()),
    ]


def hostile_checkpoints(canary: Path) -> list[HostileCheckpoint]:
    """All hostile checkpoints: those that name harmful globals, those with forbidden opcodes, and those that lie."""
    return [*_named_globals(canary), *_opcodes(canary), *_structures(), *_tensors(), *_files(canary)]


def _named_globals(canary: Path) -> list[HostileCheckpoint]:
    return [
        HostileCheckpoint(
            f"{module_}.{name}",
            checkpoint_zip(pickled(checkpoint(extra=Call(Name(module_, name), arguments)))),
            "checkpoint_foreign_globals",
            f"{module_}.{name}",
        )
        for module_, name, arguments in payload_globals(canary)
    ]


def _opcodes(canary: Path) -> list[HostileCheckpoint]:
    command = encode(f"touch '{canary}'")
    system = b"cposix\nsystem\n"
    called = system + command + b"\x85R"
    honest = pickled(checkpoint())
    short = b"\x8c\x05posix\x8c\x06system\x93"
    cases: list[tuple[str, bytes, str, str | None]] = [
        (
            "protocol 4 STACK_GLOBAL",
            b"\x80\x04" + short + command + b"\x85R.",
            "checkpoint_foreign_globals",
            "posix.system",
        ),
        (
            "STACK_GLOBAL from the memo, then damage",
            b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94NN00h\x00h\x01\x93" + command + b"\x85R\xff",
            "checkpoint_pickle",
            "posix.system",
        ),
        ("INST", b"(" + command + b"iposix\nsystem\n.", "checkpoint_pickle", "posix.system"),
        ("OBJ", b"(" + system + command + b"o.", "checkpoint_pickle", "posix.system"),
        ("EXT1", b"\x80\x02\x82\x01.", "checkpoint_pickle", "copyreg.extension_1"),
        ("EXT4", b"\x80\x02\x84\x01\x00\x00\x00.", "checkpoint_pickle", "copyreg.extension_1"),
        ("NEWOBJ_EX", b"\x80\x04" + system + command + b"\x85}\x92.", "checkpoint_foreign_globals", "posix.system"),
        ("second pickle", honest + b"\x80\x02" + called + b".", "checkpoint_pickle", "posix.system"),
        ("payload, then cut off", b"\x80\x02" + called, "checkpoint_truncated", "posix.system"),
        ("payload, then a broken opcode", b"\x80\x02" + called + b"\xff", "checkpoint_pickle", "posix.system"),
        ("PERSID text", b"Pos.system\n.", "checkpoint_pickle", None),
        ("BINPERSID of an object", b"\x80\x02" + system + b"Q.", "checkpoint_pickle", "posix.system"),
        (
            "memo alias",
            b"\x80\x02" + system + b"q\x010h\x01" + command + b"\x85R.",
            "checkpoint_foreign_globals",
            "posix.system",
        ),
        ("call of a result", b"\x80\x02" + called + b")R.", "checkpoint_pickle", "posix.system"),
        ("BYTEARRAY8", b"\x80\x05\x96" + struct.pack("<Q", 1) + b"x.", "checkpoint_pickle", None),
        ("4 GiB text", b"\x80\x02X\xff\xff\xff\xff.", "checkpoint_pickle", None),
        ("2^63 text", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "checkpoint_pickle", None),
        ("negative LONG4", b"\x80\x02\x8b\xff\xff\xff\xff.", "checkpoint_pickle", None),
        (
            "huge LONG4",
            b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".",
            "checkpoint_limit",
            None,
        ),
        ("endless LONG text", b"L" + b"9" * 100_000 + b"L\n.", "checkpoint_pickle", None),
        ("too long", b"\x80\x02" + b"N0" * 1_100_000 + b"N.", "checkpoint_limit", None),
        ("list as key", b"\x80\x02}]Ns.", "checkpoint_pickle", None),
        (
            "colliding keys",
            b"\x80\x02}" + b"\x8a\x09" + (2**65).to_bytes(9, "little") + b"Ns.",
            "checkpoint_pickle",
            None,
        ),
        ("SETITEM on a list", b"\x80\x02]NNs.", "checkpoint_pickle", None),
        ("SETITEM on a tensor", b"\x80\x02" + encode(weight()) + b"NNs.", "checkpoint_pickle", None),
        ("APPEND on a dict", b"\x80\x02}Na.", "checkpoint_pickle", None),
        ("empty stack", b"\x80\x02.", "checkpoint_pickle", None),
        ("mark as value", b"\x80\x02(.", "checkpoint_pickle", None),
        ("missing memo", b"\x80\x02h\x07.", "checkpoint_pickle", None),
        ("empty pickle", b"", "checkpoint_truncated", None),
        ("nested lists", b"\x80\x02" + b"(" * 200_000 + b"l" * 200_000 + b".", "checkpoint_model", None),
    ]
    return [HostileCheckpoint(name, checkpoint_zip(data), code, foreign) for name, data, code, foreign in cases]


def _doubled(opcodes: bytes, levels: int) -> Raw:
    """A value of `levels` tuples, each holding the one before twice: small to write, 2^levels to walk."""
    return Raw(opcodes + b"2\x86" * levels)


def _doubled_modules(levels: int) -> Raw:
    """A module whose two children are one module, `levels` times over."""
    opcodes = encode(module(CONVOLUTION, {"weight": weight()}))
    for level in range(levels):
        memo = b"r" + struct.pack("<I", 1000 + level)
        get = b"j" + struct.pack("<I", 1000 + level)
        parts = {"_parameters": {}, "_buffers": {}, "_modules": {"a": Raw(get), "b": Raw(get)}}
        opcodes = opcodes + memo + b"0" + encode(New(CONVOLUTION, parts))
    return Raw(opcodes)


def _structures() -> list[HostileCheckpoint]:
    cyclic = Raw(
        encode(CONVOLUTION)
        + b")\x81q\x63"
        + encode({"_parameters": {}, "_buffers": {}, "_modules": {"a": Raw(b"h\x63")}})
        + b"b"
    )
    self_list = Raw(b"]q\x62h\x62a")
    cases: list[tuple[str, Any, str | None, str | None]] = [
        (
            "getattr on a module",
            checkpoint(x=Call(Name("builtins", "getattr"), (Name("os", "x"), "system"))),
            "checkpoint_foreign_globals",
            "os.x",
        ),
        (
            "getattr of a dunder",
            checkpoint(
                x=Call(Name("builtins", "getattr"), (Name("ultralytics.nn.tasks", "DetectionModel"), "__globals__"))
            ),
            "checkpoint_foreign_globals",
            "builtins.getattr",
        ),
        (
            "dill type",
            checkpoint(x=Call(Name("dill._dill", "_load_type"), ("CodeType",))),
            "checkpoint_foreign_globals",
            "dill._dill._load_type",
        ),
        (
            "set of a module's state",
            checkpoint(New(DETECTION, {"__class__": 1, "forward": Name("torch.nn", "Identity")})),
            "checkpoint_model",
            None,
        ),
        (
            "state that overrides methods",
            checkpoint(
                network(weight(), forward=Name("torch.nn", "Identity"), _forward_hooks={0: Name("torch.nn", "X")})
            ),
            None,
            None,
        ),
        ("constructor with a path", checkpoint(Call(DETECTION, ("/etc/passwd",))), "checkpoint_model", None),
        ("160 GB layer", checkpoint(Call(Name("torch.nn", "Linear"), (200_000, 200_000))), "checkpoint_model", None),
        ("8 GB tensor", checkpoint(Call(Name("torch", "Tensor"), (2_000_000_000,))), "checkpoint_model", None),
        ("nested lists in the arguments", checkpoint(train_args={"x": Raw(b"(" * 50_000 + b"l" * 50_000)}), None, None),
        ("doubled tuples", checkpoint(train_args={"x": _doubled(b"N", 60)}), None, None),
        ("doubled names", checkpoint(network(weight(), yaml={"x": _doubled(b"N", 60)})), None, None),
        ("a list in itself", checkpoint(train_args={"x": self_list}), None, None),
        (
            "doubled modules",
            checkpoint(module(DETECTION, children={"model": _doubled_modules(60)})),
            "checkpoint_limit",
            None,
        ),
        ("module in itself", checkpoint(module(DETECTION, children={"model": cyclic})), "checkpoint_model", None),
        ("child that is a text", checkpoint(module(DETECTION, children={"model": "x"})), "checkpoint_model", None),
        ("climbing name", checkpoint(module(DETECTION, {"../../x": weight()})), "checkpoint_model", None),
        ("dotted name", checkpoint(module(DETECTION, {"a.b": weight()})), "checkpoint_model", None),
        ("number as name", checkpoint(module(DETECTION, {7: weight()})), "checkpoint_model", None),
        ("surrogate as name", checkpoint(module(DETECTION, {"\ud800": weight()})), "checkpoint_model", None),
        (
            "surrogates in texts",
            checkpoint(network(weight(), names={0: "\ud800<img>\u202e\x1b[31m"}), date="\udfff"),
            None,
            None,
        ),
        (
            "texts of a megabyte",
            checkpoint(network(weight(), names=dict.fromkeys(range(20), "x" * 1_000_000))),
            None,
            None,
        ),
        (
            "wrong types everywhere",
            {
                "model": network(weight(), yaml=3, names="x", stride={}, task=7),
                "epoch": "a",
                "optimizer": None,
                "date": 3,
                "best_fitness": [],
                "updates": 1.5,
                "train_args": 4,
                "train_metrics": [1],
                "train_results": {"a": 3},
            },
            None,
            None,
        ),
        ("bare state dict", {"model": {"a.weight": weight()}}, "checkpoint_model", None),
        ("empty", {}, "checkpoint_model", None),
        ("a number", 7, "checkpoint_model", None),
    ]
    return [
        HostileCheckpoint(name, checkpoint_zip(pickled(value)), code, foreign) for name, value, code, foreign in cases
    ]


def _tensors() -> list[HostileCheckpoint]:
    four = Storage("0", 4)
    cases: list[tuple[str, Any]] = [
        ("stride 0", tensor(four, (2_000_000_000,), (0,))),
        ("negative stride", tensor(four, (4,), (-1,))),
        ("negative size", tensor(four, (-4,), (1,))),
        ("negative offset", tensor(four, (4,), (1,), -1)),
        ("offset outside", tensor(four, (4,), (1,), 1)),
        ("view outside", tensor(four, (2, 2), (4, 1))),
        ("huge numbers", tensor(four, (2**62, 2**62), (1, 1))),
        ("rank 9", tensor(four, (1,) * 9, (1,) * 9)),
        ("stride of other rank", tensor(four, (4,), ())),
        ("size of texts", tensor(four, ("4",), (1,))),
        ("size of truth values", tensor(four, (True,), (1,))),
        ("size is a list", tensor(four, [4], (1,))),
        ("storage larger than its bytes", tensor(Storage("0", 1_000_000), (4,), (1,))),
        ("storage smaller than its bytes", tensor(Storage("0", 2), (2,), (1,))),
        ("negative storage", tensor(Storage("0", -1), (0,), (1,))),
        ("missing storage", tensor(Storage("9", 4), (4,), (1,))),
        ("complex storage", tensor(Storage("0", 2, "ComplexFloatStorage"), (2,), (1,))),
        ("quantised storage", tensor(Storage("0", 16, "QInt8Storage"), (16,), (1,))),
    ]
    files = [
        HostileCheckpoint(name, checkpoint_zip(pickled(checkpoint(network(value)))), "checkpoint_tensor")
        for name, value in cases
    ]
    alias = module(DETECTION, {"a": weight(), "b": tensor(Storage("0", 2, "DoubleStorage"), (2,), (1,))})
    files.append(HostileCheckpoint("aliased type", checkpoint_zip(pickled(checkpoint(alias))), "checkpoint_tensor"))
    numel = 250_000
    big = Storage("0", numel)
    shared = module(DETECTION, {f"w{number}": tensor(big, (numel,), (1,)) for number in range(100)})
    files.append(
        HostileCheckpoint(
            "one storage a hundred times",
            checkpoint_zip(pickled(checkpoint(shared)), {"0": bytes(4 * numel)}),
            "checkpoint_limit",
        )
    )
    return files


def _files(canary: Path) -> list[HostileCheckpoint]:
    honest = pickled(checkpoint())
    evil = pickled(Call(Name("posix", "system"), (f"touch '{canary}'",)))
    good = checkpoint_zip(honest)
    end = good.rindex(b"PK\x05\x06")
    directory = good.index(b"PK\x01\x02")
    encrypted = bytearray(good)
    encrypted[directory + 8] |= 1
    renamed = bytearray(good)
    renamed[30 : 30 + len("best/data.pkl")] = b"best/dbtb.pkl"
    crc = bytearray(good)
    at = crc.index(STORAGE)
    crc[at] ^= 1
    commented = bytearray(good)
    commented[-2:] = struct.pack("<H", 22)
    cases: list[tuple[str, bytes, str, str | None]] = [
        ("two data.pkl", checkpoint_zip(honest, extra={"best/data.pkl": evil}), "checkpoint_zip", None),
        ("two roots", checkpoint_zip(honest, extra={"other/data.pkl": evil}), "checkpoint_zip", None),
        ("deeper data.pkl", checkpoint_zip(honest, extra={"best/a/data.pkl": evil}), "checkpoint_zip", None),
        ("case variant", checkpoint_zip(honest, extra={"best/DATA.PKL": evil}), "checkpoint_zip", None),
        ("member without a root", checkpoint_zip(honest, extra={"data.pkl": evil}), "checkpoint_zip", None),
        ("wrong checksum", bytes(crc), "checkpoint_checksum", None),
        ("encrypted", bytes(encrypted), "checkpoint_zip", None),
        ("other local name", bytes(renamed), "checkpoint_zip", None),
        ("pickle before the zip", evil + good, "checkpoint_pickle", "posix.system"),
        ("bytes behind the zip", good + b"\0" * 8, "checkpoint_zip", None),
        ("second end in the comment", bytes(commented) + good[end:], "checkpoint_zip", None),
        ("deflated", checkpoint_zip(honest, method=zipfile.ZIP_DEFLATED), "checkpoint_zip", None),
        ("TorchScript", checkpoint_zip(honest, extra={"best/code/a.py": b"x"}), "checkpoint_torchscript", None),
        ("constants", checkpoint_zip(honest, extra={"best/constants.pkl": evil}), "checkpoint_torchscript", None),
        ("truncated", good[: len(good) // 2], "checkpoint_truncated", None),
        ("no data.pkl", checkpoint_zip(honest, root="best").replace(b"data.pkl", b"dxta.pkl"), "checkpoint_zip", None),
        ("empty file", b"", "checkpoint_format_unknown", None),
        ("one byte", b"P", "checkpoint_format_unknown", None),
        ("JPEG", b"\xff\xd8\xff\xe0" + bytes(100), "checkpoint_format_unknown", None),
        ("gzip", b"\x1f\x8b\x08" + bytes(100), "checkpoint_format_unknown", None),
        ("ONNX", b"\x08\x08\x12\x07pytorch" + bytes(100), "checkpoint_format_unknown", None),
        ("plain pickle", evil, "checkpoint_format_unknown", "posix.system"),
        ("plain pickle, cut off", evil[:-1], "checkpoint_truncated", "posix.system"),
    ]
    files = [HostileCheckpoint(name, content, code, foreign) for name, content, code, foreign in cases]
    return files + _legacy_files(evil)


def legacy(parts: list[bytes], storages: bytes = struct.pack("<q", 4) + STORAGE) -> bytes:
    """A file of the format before torch 1.6, of five pickles and the storages."""
    return b"".join(parts) + storages


def legacy_parts(value: Any) -> list[bytes]:
    """The five pickles around `value`."""
    platform = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return [*map(pickled, (0x1950A86A20F9469CFC6C, 1001, platform, value, ["0"]))]


def _legacy_files(evil: bytes) -> list[HostileCheckpoint]:
    files = []
    for number in range(1, 5):
        parts = legacy_parts(checkpoint())
        parts[number] = evil
        name = f"old format, payload in pickle {number + 1}"
        files.append(HostileCheckpoint(name, legacy(parts), "checkpoint_foreign_globals", "posix.system"))
    cut = legacy(legacy_parts(checkpoint()))[:-3]
    files.append(HostileCheckpoint("old format, cut off", cut, "checkpoint_truncated"))
    longer = legacy(legacy_parts(checkpoint())) + b"x"
    files.append(HostileCheckpoint("old format, longer", longer, "checkpoint_legacy"))
    return files
