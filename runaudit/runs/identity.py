"""Which program trained a run, for which task, and which network: told from columns, configuration and checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from pydantic import JsonValue

from runaudit.runs.curves import Results
from runaudit.runs.facts import CheckpointFacts, Configuration, Framework, Note, Task

_YOLOV9_OPTIONS = frozenset(("min_items", "flat_cos_lr", "fixed_lr"))
"""Options that YOLOv9's train.py has and YOLOv5's has not (seen in the corpus)."""
_SINCE_8_4 = frozenset(("rle", "angle", "cls_remap", "channels_last", "quantize", "distill_model"))
"""Arguments that args.yaml has from ultralytics 8.4 on only (yolo.md A3)."""
_LOSSES_SINCE_8_4 = frozenset(("l1", "rle", "sem"))
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?")


@dataclass(frozen=True)
class Sources:
    """What a run left behind, as far as it was there."""

    results: Results | None
    configuration: Configuration | None
    checkpoint: CheckpointFacts | None

    def argument(self, key: str) -> JsonValue:
        """A training argument, from the configuration, else from the checkpoint."""
        if self.configuration is not None and key in self.configuration.values:
            return self.configuration.values[key]
        return self.checkpoint.train_args.get(key) if self.checkpoint is not None else None

    @property
    def curves_source(self) -> str:
        """The file that the curves stand in."""
        return self.results.curves.source if self.results is not None else "results.csv"

    @property
    def train_losses(self) -> frozenset[str]:
        return frozenset(self.results.curves.train_losses if self.results is not None else ())

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(self.results.curves.metrics if self.results is not None else ())


def framework_of(sources: Sources) -> tuple[Framework, list[Note]]:
    """The framework, with notes on sources that disagree. The columns are heard first, then configuration, checkpoint.

    Without any sign it is taken for ultralytics, with the note `framework_unknown`.
    """
    claims = [
        (sources.curves_source, _framework_of_columns(sources.results)),
        ("the configuration", _framework_of_configuration(sources.configuration)),
        ("the checkpoint", sources.checkpoint.framework if sources.checkpoint is not None else None),
    ]
    made = [(source, claim) for source, claim in claims if claim is not None]
    if not made:
        return "ultralytics", [Note(code="framework_unknown", detail="Nothing tells which program trained this run.")]
    framework = made[0][1]
    notes = [
        Note(code="framework_conflict", detail=f"{made[0][0]} is of {framework}, {source} of {claim}.")
        for source, claim in made[1:]
        if claim != framework
    ]
    return framework, notes


def _framework_of_columns(results: Results | None) -> Framework | None:
    if results is None or results.dialect == "unknown":
        return None
    return results.dialect


def _framework_of_configuration(configuration: Configuration | None) -> Framework | None:
    if configuration is None:
        return None
    if "args.yaml" in configuration.sources:
        return "ultralytics"
    yolov9 = _YOLOV9_OPTIONS & configuration.values.keys() or "dfl" in configuration.values
    return "yolov9" if yolov9 else "yolov5"


def task_of(sources: Sources) -> tuple[Task, list[Note]]:
    """The task: args.yaml's, else the columns', else the checkpoint's, else detection."""
    stated = sources.argument("task")
    from_arguments: Task | None = next((task for task in get_args(Task) if task == stated), None)
    from_columns = _task_of_columns(sources)
    from_checkpoint = sources.checkpoint.task if sources.checkpoint is not None else None
    task = from_arguments or from_columns or from_checkpoint or "detect"
    notes = []
    if isinstance(stated, str) and from_arguments is None:
        place = sources.configuration.places.get("task") if sources.configuration is not None else None
        detail = f"The task `{stated[:40]}` is not one of {', '.join(get_args(Task))}."
        notes.append(Note(code="task_unknown", detail=detail, place=place))
    if from_columns is not None and from_columns != task and {task, from_columns} != {"detect", "obb"}:
        source = sources.curves_source
        detail = f"The columns of {source} are of the task {from_columns}, the configuration says {task}."
        notes.append(Note(code="task_conflict", detail=detail, place=f"{source}:1"))
    return task, notes


def _task_of_columns(sources: Sources) -> Task | None:
    """Columns tell every task but detection from oriented boxes, which share theirs before 8.4."""
    metrics, losses = sources.metrics, sources.train_losses
    signs: list[tuple[bool, Task]] = [
        ("top1" in metrics, "classify"),
        (any(name.startswith("mask/") for name in metrics), "segment"),
        (any(name.startswith("pose/") for name in metrics), "pose"),
        (bool(losses & {"angle", "theta"}), "obb"),
    ]
    return next((task for sign, task in signs if sign), None)


def scores_map50_95_only(sources: Sources, framework: Framework) -> bool:
    """True for ultralytics from 8.4 on: told by the checkpoint's version, else by arguments and losses it brought."""
    if framework != "ultralytics":
        return False
    version = version_of(sources)
    if version is not None:
        return _version_tuple(version) >= (8, 4)
    arguments = sources.configuration.values.keys() if sources.configuration is not None else frozenset[str]()
    return bool(_SINCE_8_4 & arguments or _LOSSES_SINCE_8_4 & sources.train_losses)


def version_of(sources: Sources) -> str | None:
    """The framework's version, which only the checkpoint of an ultralytics run states."""
    return sources.checkpoint.version if sources.checkpoint is not None else None


def _version_tuple(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def architecture_of(sources: Sources) -> str | None:
    """The network's name without folder and suffix, `yolo11n` for one.

    It is the model yaml's name from the checkpoint, else args.yaml's `model`, or YOLOv5's `cfg` or `weights`.
    best.pt and last.pt name no network.
    """
    yaml_file = (sources.checkpoint.model_yaml or {}).get("yaml_file") if sources.checkpoint is not None else None
    for value in (yaml_file, sources.argument("model"), sources.argument("cfg"), sources.argument("weights")):
        if isinstance(value, str) and value.strip():
            name = re.split(r"[/\\]", value.strip())[-1]
            stem = name.rsplit(".", 1)[0] if "." in name else name
            if stem and stem not in ("best", "last"):
                return stem[:200]
    return None
