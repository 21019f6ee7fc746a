"""What a run's arguments say of the weights that it started from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from runaudit.runs.facts import RunFacts

Start = Literal["pretrained", "scratch", "resumed", "unknown"]

_SCALE = re.compile(r"yolo(?:v|x)?(\d{1,2})([nsmlxtbce])(?![a-z])", re.IGNORECASE)
"""Version and size in the name of a model: `yolov5s.pt`, `yolo11n-seg.yaml`, `yolov5m_my.yaml`."""


@dataclass(frozen=True)
class Origin:
    """`start` as the arguments ask for it; what really happened they don't say. `weights` and `structure` are the names
    of the checkpoint to start from and of the model's yaml, None where none is named.
    """

    start: Start
    weights: str | None = None
    structure: str | None = None

    @property
    def other_size(self) -> bool:
        """The checkpoint is of another size or version than the structure, by their names."""
        sizes = [_SCALE.search(name) for name in (self.weights, self.structure) if name is not None]
        named = [match.groups() for match in sizes if match is not None]
        return len(named) == 2 and named[0][0] == named[1][0] and named[0][1].lower() != named[1][1].lower()


def origin_of(run: RunFacts) -> Origin:
    """The start that a run's arguments ask for: `model`, `pretrained` and `resume` of ultralytics, or `weights`, `cfg`
    and `resume` of YOLOv5.

    A yaml without a named checkpoint is called `scratch`, though `YOLO(yaml).load(checkpoint)` leaves the same
    arguments behind in some versions (yolo.md A3).
    """
    if run.argument("resume") not in (None, False, "", "False"):
        return Origin("resumed")
    return _of_ultralytics(run) if run.framework == "ultralytics" else _of_yolov5(run)


def _of_ultralytics(run: RunFacts) -> Origin:
    model, pretrained = _name(run.argument("model")), run.argument("pretrained")
    if model is None:
        return Origin("unknown")
    if not model.endswith((".yaml", ".yml")):
        return Origin("pretrained", model)
    named = _name(pretrained)
    return Origin("pretrained" if named else "scratch", named, model)


def _of_yolov5(run: RunFacts) -> Origin:
    weights, structure = run.argument("weights"), _name(run.argument("cfg"))
    if not isinstance(weights, str):
        return Origin("unknown")
    named = _name(weights)
    return Origin("pretrained" if named else "scratch", named, structure)


def _name(value: object) -> str | None:
    """The last part of a path, of any system; None for what is no name.

    A Windows prompt hands on the quotes of `--weights ''`, which YOLOv5's guide writes for random weights.
    """
    if not isinstance(value, str):
        return None
    name = value.replace("\\", "/").rstrip("/").rpartition("/")[2].strip(" \"'")
    return name or None
