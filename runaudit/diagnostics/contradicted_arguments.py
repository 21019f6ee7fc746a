"""Arguments that a run's configuration file and its checkpoint state differently, beyond what a framework changes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from runaudit.diagnostics.evidence import Measurement
from runaudit.runs.facts import RunFacts

METRIC: Final = ("imgsz", "img_size", "task", "single_cls")
"""what re-validation takes from the run: another value is another metric"""
TRAINING: Final = (
    *("data", "epochs", "batch", "batch_size", "nbs", "optimizer", "lr0", "lrf", "momentum", "weight_decay"),
    *("warmup_epochs", "warmup_momentum", "cos_lr", "seed", "freeze", "fraction", "patience", "time"),
)
"""What other checks read of the run and a framework leaves as it is. Not here: paths and names, which change with the
machine; `model` and `weights`, which a resume sets to last.pt; augmentation, of which older versions set what mosaic
needs to 0 when they close it; workers, device, rect and warmup_bias_lr, which are resolved after args.yaml is
written (ultralytics engine/trainer.py)."""
_ANEW: Final = frozenset(("imgsz", "img_size", "epochs", "batch", "batch_size", "patience", "time", "freeze"))
"""what may be given anew when a run is resumed (ultralytics engine/trainer.py `check_resume`; epochs by older ones)"""
_STRIDE: Final = 32
_HALVINGS: Final = 8
_RELATIVE: Final = 1e-6
"""floats are written with all their digits or with six"""


@dataclass(frozen=True)
class Contradiction:
    """One argument: as `written` in the configuration at `place`, and as `stored` in the checkpoint."""

    key: str
    written: JsonValue
    stored: JsonValue
    place: str | None

    @property
    def changes_metric(self) -> bool:
        return self.key in METRIC

    @property
    def measurement(self) -> Measurement:
        """Both values; the checkpoint's in the place of the threshold."""
        file = self.place.rsplit(":", 1)[0] if self.place else "args.yaml"
        return Measurement(
            f"{self.key} in {file}", _shown(self.written), threshold=_shown(self.stored), source=self.place
        )

    @property
    def sentence(self) -> str:
        return f"{self.key} is {_shown(self.written)} in the one and {_shown(self.stored)} in the other"


def contradictions(run: RunFacts) -> tuple[Contradiction, ...]:
    """The arguments that both state, differently; those that change the metric first. Empty where one states none."""
    if run.configuration is None or run.checkpoint is None:
        return ()
    written, stored = run.configuration.values, _flat(run.checkpoint.train_args)
    resumed = any(note.code == "run_resumed" for note in run.notes) or bool(stored.get("resume"))
    found = []
    for key in (*METRIC, *TRAINING):
        ours, theirs = written.get(key), stored.get(key)
        if ours is None or theirs is None or (resumed and key in _ANEW):
            continue
        if not _agree(key, ours, theirs) and not _changed_by_framework(key, ours, theirs, written):
            found.append(Contradiction(key, ours, theirs, run.configuration.places.get(key)))
    return tuple(found)


def _flat(arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments with YOLOv5's hyperparameters beside them, as the configuration has them."""
    nested = arguments.get("hyp")
    return (nested if isinstance(nested, dict) else {}) | {key: arguments[key] for key in arguments if key != "hyp"}


def _agree(key: str, written: JsonValue, stored: JsonValue) -> bool:
    if key == "data":
        return _same_description(written, stored)
    if key in ("imgsz", "img_size"):
        sizes = _size(written), _size(stored)
        return None in sizes or sizes[0] == sizes[1]
    numbers = _number(written), _number(stored)
    if numbers[0] is not None and numbers[1] is not None:
        return math.isclose(numbers[0], numbers[1], rel_tol=_RELATIVE)
    if isinstance(written, str) and isinstance(stored, str):
        return written.strip().lower() == stored.strip().lower()
    return written == stored


def _changed_by_framework(key: str, written: JsonValue, stored: JsonValue, arguments: Mapping[str, JsonValue]) -> bool:
    """Whether the framework itself makes the one of the other, after it has written args.yaml."""
    before, after = _number(written), _number(stored)
    if before is None or after is None:
        return False
    if key in ("batch", "batch_size"):  # AutoBatch, and halves after running out of memory
        return before < 1 or any(after == before // 2**halvings for halvings in range(1, _HALVINGS + 1))
    return key == "epochs" and bool(_number(arguments.get("time")))  # a plan in hours sets them as it goes


def _number(value: JsonValue) -> float | None:
    """A number, also one in quotes; truth values count as 0 and 1."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _size(value: JsonValue) -> float | None:
    """Pixels as they are trained with: of several the largest, rounded up to a multiple of the stride."""
    sizes = [_number(item) for item in (value if isinstance(value, list) else [value])]
    known = [size for size in sizes if size is not None]
    return _STRIDE * math.ceil(max(known) / _STRIDE) if known and len(known) == len(sizes) else None


def _same_description(written: JsonValue, stored: JsonValue) -> bool:
    """Whether two paths may name one data set: the folder differs by machine; an address or archive is unpacked."""
    names = [re.split(r"[/\\]", str(value).rstrip("/\\"))[-1].lower() for value in (written, stored)]
    return names[0] == names[1] or not all(name.endswith((".yaml", ".yml")) for name in names)


def _shown(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
