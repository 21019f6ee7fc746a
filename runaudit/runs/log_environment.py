"""The `environment` of a request as the facts of a log: what the training callback saw.

All keys may be missing: `gpu` (a name, or a list of names or of `{"name", "memory_mib"}`), `gpu_memory_mib`, `device`,
`versions` (`{"python", "torch", "ultralytics" | "yolov5", ...}`), `arguments` (training arguments as resolved), and
`log_tail` (the last lines of the console). Unknown keys are kept in the request and not looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from runaudit.runs.console_log import read_console_log
from runaudit.runs.facts import LogDevice, LogFacts, Note
from runaudit.runs.log_events import EVENT_WORDS, events_of
from runaudit.runs.log_text import from_text, texts_with

SOURCE = "environment"
_TAIL = f"{SOURCE}.log_tail"
MAX_DEVICES = 64
MAX_ARGUMENTS = 1_000


def read_environment(environment: Mapping[str, JsonValue]) -> LogFacts | None:
    """The facts of a request's environment; None if it tells nothing that is known here."""
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for name, value, key in (*_versions(environment.get("versions")), *_devices(environment), *_arguments(environment)):
        values[name] = value
        places[name] = f"{SOURCE}.{key}"
    tail = environment.get("log_tail")
    from_tail = _tail(tail) if isinstance(tail, str) and tail.strip() else None
    stated = LogFacts(sources=(SOURCE,), places=places, **values) if values else None
    return merged(stated, from_tail)


def merged(first: LogFacts | None, second: LogFacts | None) -> LogFacts | None:
    """Both as one: a value of `first` stands before that of `second`; scans, events and arguments are joined."""
    if first is None or second is None:
        return first or second
    values: dict[str, Any] = {}
    for name in LogFacts.model_fields:
        own, other = getattr(first, name), getattr(second, name)
        values[name] = own if own not in (None, (), {}) else other
    values["sources"] = tuple(dict.fromkeys((*first.sources, *second.sources)))
    values["events"] = (*first.events, *second.events)
    values["arguments"] = second.arguments | first.arguments
    values["places"] = second.places | first.places
    return LogFacts(**values)


_Found = list[tuple[str, Any, str]]
"""field of the facts, its value, and its key in the environment"""


def _versions(value: JsonValue) -> _Found:
    if not isinstance(value, dict):
        return []
    found: _Found = []
    for name in ("python", "torch"):
        if isinstance(version := value.get(name), str):
            found.append((name, version[:100], f"versions.{name}"))
    for framework in ("ultralytics", "yolov5", "yolov9"):
        if isinstance(version := value.get(framework), str):
            key = f"versions.{framework}"
            found += [("framework", framework, key), ("version", version[:100], key)]
            break
    return found


def _devices(environment: Mapping[str, JsonValue]) -> _Found:
    listed = environment.get("gpu")
    entries = listed if isinstance(listed, list) else [listed]
    memory = _whole(environment.get("gpu_memory_mib"))
    devices: list[LogDevice] = []
    for index, entry in enumerate(entries[:MAX_DEVICES]):
        name = entry.get("name") if isinstance(entry, dict) else entry
        own = _whole(entry.get("memory_mib")) if isinstance(entry, dict) else None
        if isinstance(name, str):
            devices.append(LogDevice(kind=f"CUDA:{index}", name=name[:200], memory_mib=own or memory))
    if devices:
        return [("devices", tuple(devices), "gpu")]
    if environment.get("device") == "cpu":
        return [("devices", (LogDevice(kind="CPU", name="CPU"),), "device")]
    return []


def _arguments(environment: Mapping[str, JsonValue]) -> _Found:
    """The resolved arguments, and of them the batch: a callback sees it after AutoBatch."""
    arguments = environment.get("arguments")
    if not isinstance(arguments, dict) or not arguments:
        return []
    found: _Found = [("arguments", dict(list(arguments.items())[:MAX_ARGUMENTS]), "arguments")]
    batch = _whole(arguments.get("batch", arguments.get("batch_size")))
    if batch is not None and batch > 0:
        found.append(("batch", batch, "arguments.batch"))
    return found


def _tail(text: str) -> LogFacts | None:
    """A tail need not hold anything that tells of a training; its events count all the same."""
    log = from_text(text, source=_TAIL)
    facts = read_console_log(log)
    if facts is not None:
        return facts
    events: tuple[Note, ...] = tuple(events_of(log, texts_with(log, EVENT_WORDS)))
    return LogFacts(sources=(_TAIL,), events=events) if events else None


def _whole(value: JsonValue) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value)
