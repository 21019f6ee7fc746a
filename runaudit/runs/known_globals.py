"""Tells the globals that YOLO checkpoints honestly name from foreign ones.

Nothing is ever imported, so this list protects nobody; it decides what a report calls foreign. It was written from the
globals of the checkpoints that yolo.md section B lists, and from the sources of ultralytics 8.0 to 8.4.
"""

from __future__ import annotations

import re

_CLASS = r"(?:\w+\.)*_?(?:[A-Z]|v\d+[A-Z])\w*"
"""a dotted path that ends in a class by its name: a function as `nn.tasks.torch_safe_load` is never pickled honestly"""

_KNOWN = re.compile(
    "|".join(
        (
            r"collections\.(OrderedDict|defaultdict|Counter)",
            r"(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|bool|str|bytes|complex|slice|object|range)",
            r"(builtins|__builtin__)\.getattr",
            r"(copyreg|copy_reg)\._reconstructor",
            r"_codecs\.encode",
            r"pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path",
            r"argparse\.Namespace",
            r"types\.SimpleNamespace",
            r"datetime\.(datetime|date|timedelta|timezone)",
            r"dill\._dill\._load_type",
            r"numpy\.(dtype|ndarray|float16|float32|float64|int32|int64|bool_?|dtypes\.\w+DType)",
            r"numpy\.(_core|core)\.multiarray\.(scalar|_reconstruct)",
            r"omegaconf\." + _CLASS,
            r"torch\.(\w+Storage|Size|device|Tensor|(Half|Float|Double|Long|Int|BFloat16)Tensor)",
            r"torch\.(float16|float32|float64|bfloat16|int64|int32|uint8|bool)",
            r"torch\.storage\.(Untyped|Typed)Storage",
            r"torch\._utils\._rebuild_(tensor_v2|parameter|parameter_with_state)",
            r"torch\._tensor\._rebuild_from_type_v2",
            r"torch\.nn\.(modules|parameter|parallel)\." + _CLASS,
            r"torch\.nn\.[A-Z]\w*",
            r"torch\.optim\." + _CLASS,
            r"torchvision\.transforms\." + _CLASS,
            r"models\.(yolo|common|experimental)\." + _CLASS,
            r"utils\.(activations|autoanchor|loss|torch_utils|general)\." + _CLASS,
            r"ultralytics\.(nn|models|engine|optim|data|cfg|utils|yolo)\." + _CLASS,
        )
    )
)
_CALLABLE_IN_GETATTR = re.compile(r"(ultralytics|torchvision|torch\.nn|models)\.[\w.]+")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def is_known(path: str) -> bool:
    """Whether `path` (`module.name`) is a global that a YOLO checkpoint may name."""
    return _KNOWN.fullmatch(path) is not None


def is_known_getattr(owner: str | None, attribute: object) -> bool:
    """Whether `getattr(owner, attribute)` is one that ultralytics 8.0 pickled: a method or member of one of its own
    classes (`Detect.forward`, `InterpolationMode.BILINEAR`); `owner` is the path of that class."""
    return (
        owner is not None
        and _CALLABLE_IN_GETATTR.fullmatch(owner) is not None
        and isinstance(attribute, str)
        and _ATTRIBUTE.fullmatch(attribute) is not None
    )
