"""What a console log tells of a training: device, scans, AMP, batch, optimizer, and what went wrong.

Neither YOLOv5 nor ultralytics keeps its log in the run folder (yolo.md A1); people add it, as train.log or nohup.out.
The texts are those that YOLOv5 6.0 to 7.0, YOLOv9 and ultralytics 8.0 to 8.4.190 print; the sources are their
`select_device`, `check_amp`, `autobatch`, `build_optimizer`, `EarlyStopping`, `get_labels` and `_do_train`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from runaudit.runs.facts import Framework, LogDevice, LogFacts, LogOptimizer, LogScan, Note
from runaudit.runs.log_events import EVENT_WORDS, events_of
from runaudit.runs.log_text import LogContent, LogText, texts_with

MAX_ARGUMENTS = 1_000

# Every repetition is bounded, for a hostile line must not take longer than an honest one.
_BANNER = re.compile(r"(?:^|\s)(Ultralytics|YOLOv5|YOLO)\s")
_PYTHON = re.compile(r"Python-(\d[\w.+]{0,30})")
_DEVICE = re.compile(
    r"\b((?:CUDA|NPU|XPU|MPS):?\d*|CPU|MPS) \(([^()]{1,120}?(?:\([^()]*\)[^()]{0,60}?)?)(?:, (\d+)Mi?B)?\)"
)
_VERSION = re.compile(r"v?(\d+(?:\.\d+)+\S*|\d{4}-\d{1,2}-\d{1,2})\Z")
_SCAN = re.compile(
    r"(\d{1,9}) (?:found, (\d{1,9}) missing, (\d{1,9}) empty|images, (\d{1,9}) backgrounds|images), (\d{1,9}) corrupt"
)
_SPLITS = ("train", "val", "test")
_OPTIMIZER = re.compile(
    r"optimizer: (\w{1,40})(?:\(lr=([^,()]{1,40})(?:, momentum=([^,()]{1,40}))?\))? with parameter groups"
)
_AUTOBATCH = re.compile(r"(?:Using|using default) batch-size (\d{1,6})\b")
_REDUCED = re.compile(r"Reducing to batch=(\d{1,6})\b")
_TRANSFERRED = re.compile(r"Transferred (\d{1,7})/(\d{1,7}) items")
_IMAGE_SIZE = re.compile(r"(?:Image sizes (\d{1,6}) train|at imgsz=(\d{1,6})\b)")
_SAVED_TO = re.compile(r"(?:Logging results|Results saved) to (\S.{0,500})")
_PLANNED = re.compile(r"Starting (?:\S{1,80} )?training (?:.{0,200} )?for (\d{1,7}) epochs")
_COMPLETED = re.compile(r"^\s*(\d{1,7}) epochs completed in ([0-9.]{1,20}) hours")
_EARLY = re.compile(r"no improvement observed in last (\d{1,7}) epochs")
_PROGRESS = re.compile(rb"\n *(\d{1,6})/(\d{1,6}) +([0-9.]{1,8})([GM])\b")
_ARGUMENT = re.compile(r"([A-Za-z_]\w{0,40})=((?:[^,\[\]{}]|\[[^\]]*\]|\{[^}]*\})*+)(?:, |$)")
_ARGUMENTS = re.compile(r"(?:engine/trainer|^train(?:_dual)?): (?=\w+=)|^Namespace\(")

_RESUMED = re.compile(r"\bresume=(?!False\b|None\b|,)\S")

_WORDS = (
    *(b"torch-", b"torch ", b"CUDA:", b"Scanning", b"optimizer:", b"optimizer=auto", b"AMP: checks", b"batch-size "),
    *(b"Reducing to batch", b"Transferred ", b"Image sizes ", b"at imgsz=", b"Logging results to", b"Starting "),
    *(b"epochs completed in", b"no improvement observed", b"engine/trainer: ", b"train: ", b"Namespace("),
)


@dataclass
class _Reading:
    """Values found so far, and the place of each."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    devices: dict[str, LogDevice] = field(default_factory=dict)
    scans: dict[str, LogScan] = field(default_factory=dict)
    automatic: bool = False

    def place(self, text: LogText) -> str:
        return f"{self.source}:{text.line}"

    def set(self, name: str, value: Any, text: LogText) -> None:
        self.values[name] = value
        self.places[name] = self.place(text)

    def first(self, name: str, value: Any, text: LogText) -> None:
        if name not in self.values:
            self.set(name, value, text)


def read_console_log(log: LogContent, *, run_name: str | None = None, strict: bool = False) -> LogFacts | None:
    """The facts of one log; None if it is no log of a YOLO training.

    A log may hold several trainings one after the other. Of these the last one counts that saved into a folder of the
    name `run_name`; without one, the last one, or with `strict` none.
    """
    texts = texts_with(log, (*_WORDS, *EVENT_WORDS))
    parts = _trainings(texts)
    matching = [part for part in parts if run_name is not None and _folder_of(part) == run_name]
    if not parts or (strict and not matching):
        return None
    chosen = (matching or parts)[-1]
    begin = chosen[0].position
    behind = [part[0].position for part in parts if part[0].position > begin]
    end = min(behind, default=len(log.content))
    reading = _Reading(log.source)
    for text in chosen:
        _read(text, reading)
    if not reading.values and not reading.devices and not reading.scans:
        return None
    notes = list(events_of(log, chosen))
    if len(parts) > 1:
        detail = f"The log holds {len(parts)} trainings; this is the one that begins here."
        notes.insert(0, Note(code="log_several_trainings", detail=detail, place=reading.place(chosen[0])))
    if log.cut is not None:
        notes.append(Note(code="log_cut", detail="The log is long; its middle part was not read.", place=log.source))
    _progress(log, begin, end, reading)
    return LogFacts(
        sources=(log.source,),
        devices=tuple(reading.devices.values()),
        scans=tuple(reading.scans.values()),
        places=reading.places,
        events=tuple(notes),
        **reading.values,
    )


def _trainings(texts: list[LogText]) -> list[list[LogText]]:
    """The texts of each training: a new one begins with its printed arguments, unless they resume the last."""
    parts: list[list[LogText]] = [[]]
    begun = False
    for text in texts:
        if _ARGUMENTS.search(text.text):
            # What stands before the first arguments, the banner of the device above all, is the first training's.
            if begun and not _RESUMED.search(text.text):
                banner = [parts[-1].pop()] if _banner(parts[-1][-1].text) else []
                parts.append(banner)
            begun = True
        parts[-1].append(text)
    return [part for part in parts if any(_tells_of_training(text.text) for text in part)]


def _tells_of_training(text: str) -> bool:
    patterns = (_ARGUMENTS, _OPTIMIZER, _SCAN, _PLANNED, _COMPLETED, _TRANSFERRED)
    return _banner(text) is not None or any(pattern.search(text) for pattern in patterns)


@dataclass(frozen=True)
class _Banner:
    framework: Framework
    version: str | None
    torch: str


def _banner(text: str) -> _Banner | None:
    """`Ultralytics YOLOv8.0.100 🚀 Python-3.10 torch-2.0.0 ...`, `YOLOv5 🚀 v7.0-136-g71244ae ... torch ...`.

    YOLOv9 calls itself `YOLO`, with versions below 1.
    """
    found = _BANNER.search(text)
    if found is None:
        return None
    words = text[found.end() : found.end() + 200].split()
    torch = next((word[6:] for word in words if word.startswith("torch-")), None)
    if torch is None and "torch" in words[:-1]:
        torch = words[words.index("torch") + 1]
    if torch is None:
        return None
    versions = (match for word in words[:3] if (match := _VERSION.match(word.removeprefix("YOLO"))))
    version = next((match[1] for match in versions), None)
    if found[1] == "YOLO":
        return _Banner("yolov9" if (version or "").startswith("0.") else "ultralytics", version, torch)
    return _Banner("yolov5" if found[1] == "YOLOv5" else "ultralytics", version, torch)


def _folder_of(part: list[LogText]) -> str | None:
    """The last part of the folder that a training saves into, `train3`."""
    for text in part:
        if found := _SAVED_TO.search(text.text):
            return _last_part(found[1])
    return None


def _last_part(path: str) -> str:
    return path.strip().rstrip("./\\ ").replace("\\", "/").rpartition("/")[2]


def _read(text: LogText, reading: _Reading) -> None:
    for word, read in _READERS:
        if word in text.text:
            read(text, reading)


def _device(text: LogText, reading: _Reading) -> None:
    banner = _banner(text.text)
    if banner is not None:
        reading.first("framework", banner.framework, text)
        reading.first("torch", banner.torch, text)
        if banner.version is not None:
            reading.first("version", banner.version, text)
        if python := _PYTHON.search(text.text):
            reading.first("python", python[1], text)
    elif not text.text.lstrip().startswith("CUDA:"):
        # Further GPUs stand on lines of their own below the first; other lines only mention one.
        return
    for kind, name, memory in _DEVICE.findall(text.text):
        if kind not in reading.devices:
            reading.devices[kind] = LogDevice(kind=kind, name=name, memory_mib=int(memory) if memory else None)
            reading.places.setdefault("devices", reading.place(text))


def _scan(text: LogText, reading: _Reading) -> None:
    found = _SCAN.search(text.text)
    if found is None:
        return
    before = text.text[: found.start()]
    split = max(_SPLITS, key=lambda name: before.rfind(f"{name}: "))
    if f"{split}: " not in before:
        return
    images, missing, empty, backgrounds, corrupt = (int(digits) if digits else None for digits in found.groups())
    if missing is not None and empty is not None:
        backgrounds = missing + empty
    # The bar is rewritten while it counts; its last state stands.
    reading.scans[split] = LogScan(
        split=split,
        found=images or 0,
        missing=missing,
        empty=empty,
        backgrounds=backgrounds,
        corrupt=corrupt or 0,
        place=reading.place(text),
    )


def _optimizer(text: LogText, reading: _Reading) -> None:
    if "optimizer=auto" in text.text and "determining best" in text.text:
        reading.automatic = True
    if found := _OPTIMIZER.search(text.text):
        optimizer = LogOptimizer(
            name=found[1],
            lr=_number(found[2]),
            momentum=_number(found[3]),
            automatic=reading.automatic,
            place=reading.place(text),
        )
        reading.set("optimizer", optimizer, text)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _amp(text: LogText, reading: _Reading) -> None:
    for word in ("passed", "failed", "skipped"):
        if f"AMP: checks {word}" in text.text:
            reading.set("amp", word, text)


def _batch(text: LogText, reading: _Reading) -> None:
    if found := _AUTOBATCH.search(text.text) or _REDUCED.search(text.text):
        reading.set("batch", int(found[1]), text)


def _transferred(text: LogText, reading: _Reading) -> None:
    if found := _TRANSFERRED.search(text.text):
        reading.set("transferred", (int(found[1]), int(found[2])), text)


def _image_size(text: LogText, reading: _Reading) -> None:
    if found := _IMAGE_SIZE.search(text.text):
        reading.set("image_size", int(found[1] or found[2]), text)


def _saved_to(text: LogText, reading: _Reading) -> None:
    if found := _SAVED_TO.search(text.text):
        reading.first("save_folder", found[1].strip()[:500], text)


def _planned(text: LogText, reading: _Reading) -> None:
    if found := _PLANNED.search(text.text):
        reading.set("epochs_planned", int(found[1]), text)


def _completed(text: LogText, reading: _Reading) -> None:
    if found := _COMPLETED.search(text.text):
        reading.set("epochs_completed", int(found[1]), text)
        if (hours := _number(found[2])) is not None:
            reading.set("hours", hours, text)


def _early(text: LogText, reading: _Reading) -> None:
    if found := _EARLY.search(text.text):
        reading.set("early_stop_patience", int(found[1]), text)


def _arguments(text: LogText, reading: _Reading) -> None:
    found = _ARGUMENTS.search(text.text) if "arguments" not in reading.values else None
    if found is None:
        return
    listed = text.text[found.end() :].removesuffix(")")
    values: dict[str, JsonValue] = {}
    for match in _ARGUMENT.finditer(listed):
        if len(values) < MAX_ARGUMENTS:
            values[match[1]] = _value(match[2].strip())
    if values:
        reading.set("arguments", values, text)


def _value(text: str) -> JsonValue:
    """A printed argument: a number, a truth value, None, or the text itself."""
    constants: dict[str, JsonValue] = {"None": None, "True": True, "False": False}
    if text in constants:
        return constants[text]
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    if re.fullmatch(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?", text) and len(text) < 40:
        return float(text)
    return text.strip("'\"")


_READERS: tuple[tuple[str, Callable[[LogText, _Reading], None]], ...] = (
    ("torch", _device),
    ("CUDA:", _device),
    (" corrupt", _scan),
    ("optimizer", _optimizer),
    ("AMP: checks", _amp),
    ("batch-size ", _batch),
    ("Reducing to batch", _batch),
    ("Transferred ", _transferred),
    ("imgsz=", _image_size),
    ("Image sizes ", _image_size),
    ("Logging results to", _saved_to),
    ("Starting ", _planned),
    ("epochs completed in", _completed),
    ("no improvement observed", _early),
    ("=", _arguments),
)


def _progress(log: LogContent, begin: int, end: int, reading: _Reading) -> None:
    """How far the progress lines go, and the most GPU memory they show.

    YOLOv5 and YOLOv9 count epochs from 0 to one less than planned (yolo.md A2): a line `0/9` tells.
    """
    last, lowest, memory = -1, 1, 0.0
    for match in _PROGRESS.finditer(log.content, begin, end):
        last, lowest = int(match[1]), min(lowest, int(match[1]))
        amount = _number(match[3].decode()) or 0.0
        memory = max(memory, amount if match[4] == b"G" else amount / 1024)
    if last < 0:
        return
    from_zero = lowest == 0 or reading.values.get("framework") in ("yolov5", "yolov9")
    reading.values["epochs_begun"] = last + from_zero
    if memory > 0:
        reading.values["peak_memory_gb"] = memory
