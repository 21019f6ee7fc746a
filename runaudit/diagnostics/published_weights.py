"""Which published checkpoint a run can start from: of its own framework, family, size and task."""

from __future__ import annotations

import re
from typing import Final

from runaudit.diagnostics.evidence import Remedy
from runaudit.diagnostics.origin import origin_of
from runaudit.runs.facts import RunFacts, Task

SUFFIXES: Final[dict[Task, str]] = {
    "detect": "",
    "segment": "-seg",
    "pose": "-pose",
    "obb": "-obb",
    "classify": "-cls",
}
"""how the framework names its checkpoints of each task"""

_ALL: Final[tuple[Task, ...]] = ("detect", "segment", "pose", "obb", "classify")
_FAMILIES: Final[dict[str, tuple[str, tuple[Task, ...]]]] = {
    "yolov8": ("nsmlx", _ALL),
    "yolov9": ("tsmce", ("detect",)),
    "yolov10": ("nsmblx", ("detect",)),
    "yolo11": ("nsmlx", _ALL),
    "yolo12": ("nsmlx", ("detect",)),
    "yolo26": ("nsmlx", _ALL),
}
"""Sizes, the smallest first, and tasks that ultralytics publishes (8.4.190, utils/downloads.py GITHUB_ASSETS_NAMES)."""
_ULTRALYTICS: Final = re.compile(r"(yolo(?:v8|v9|v10|11|12|26))([a-z]?)(?![a-z0-9])", re.IGNORECASE)
_YOLOV5: Final = re.compile(r"(yolov5[nsmlx]6?)(?![a-z0-9])", re.IGNORECASE)
_YOLOV9: Final = re.compile(r"((?:yolov9|gelan)-[a-z])(?![a-z0-9])", re.IGNORECASE)
_WHY: Final = "A checkpoint trained on a large data set needs a tenth of the images and epochs. "


def start_from_published(run: RunFacts) -> Remedy:
    """The remedy of a run that started from random weights."""
    if run.framework == "ultralytics":
        return _ultralytics(run)
    name = _named(run, _YOLOV5 if run.framework == "yolov5" else _YOLOV9)
    if name is None:
        return Remedy(
            "Start from pretrained weights", f"{_WHY}Give train.py its framework's own file of this size as --weights."
        )
    suffix = {"segment": "-seg", "classify": "-cls"}.get(run.task, "") if run.framework == "yolov5" else ""
    weights = f"{name}{suffix}.pt"
    return Remedy(
        "Start from pretrained weights",
        f"{_WHY}Pass it to train.py as --weights {weights}; a structure of one's own takes over the layers that fit.",
        {"weights": weights},
    )


def _ultralytics(run: RunFacts) -> Remedy:
    task = run.task
    structure = origin_of(run).structure or run.architecture or ""
    match = _ULTRALYTICS.search(structure)
    sizes, tasks = _FAMILIES.get(match[1].lower(), ("", ())) if match else ("", ())
    family, size = (match[1].lower(), match[2].lower()) if match and task in tasks else ("yolo11", "n")
    name = f"{family}{size if size and size in sizes else sizes[:1] or 'n'}{SUFFIXES[task]}.pt"
    stem = structure.rpartition(".")[0].lower()
    reference = "https://docs.ultralytics.com/modes/train/"
    if match and task in tasks and stem and _ULTRALYTICS.sub("", stem).strip("-") not in ("", *_BARE):
        return Remedy(
            "Start from pretrained weights",
            f"{_WHY}A structure of one's own takes over the layers that fit.",
            {"model": structure, "pretrained": name},
            code=f"from ultralytics import YOLO\nYOLO({structure!r}).load('{name}').train(epochs=100)\n",
            reference=reference,
        )
    data = "folder" if task == "classify" else "data.yaml"
    return Remedy(
        "Start from pretrained weights",
        f"{_WHY}Name the .pt file as the model, not its yaml.",
        {"model": name, "pretrained": True},
        code=f"from ultralytics import YOLO\nYOLO('{name}').train(data='{data}', epochs=100)\n",
        reference=reference,
    )


_BARE: Final = tuple(suffix.strip("-") for suffix in SUFFIXES.values())
"""what is left of the name of a structure that ultralytics ships"""


def _named(run: RunFacts, pattern: re.Pattern[str]) -> str | None:
    match = pattern.search(origin_of(run).structure or run.architecture or "")
    return match[1].lower() if match else None
