"""Hostile checkpoints: each is refused with its code or read as data, and nothing of any of them runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import CheckpointFacts
from tests.hostile.pickles import Call, HostileCheckpoint, Name, hostile_checkpoints, payload_globals, pickled

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the duplicate names that we write on purpose
    CASES = hostile_checkpoints(Path("/nonexistent/canary"))

WATCHER = """
import json, os, sys
from pathlib import Path
folder = Path(sys.argv[1])
from runaudit.runs.checkpoint import read_checkpoint
read_checkpoint(folder / "0.pt", source="0.pt", weights_out=folder / "weights.safetensors")
allowed = str(folder)
seen = []
quiet = ("object.", "sys._getframe", "gc.", "os.fstat", "builtins.id", "code.__new__")
def hook(event, arguments):
    if event == "open" and str(arguments[0]).startswith(allowed):
        return
    if event.startswith(quiet):
        return
    seen.append([event, repr(arguments)[:200]])
names = sorted(os.listdir(folder / "hostile"))
sys.addaudithook(hook)
codes = {}
for name in names:
    facts = read_checkpoint(folder / "hostile" / name, source=name, weights_out=folder / "weights.safetensors")
    codes[name] = facts.problem.code if facts.problem else None
heavy = [name for name in ("torch", "ultralytics", "models", "yaml", "multiprocessing") if name in sys.modules]
observed = list(seen)
print(json.dumps({"codes": codes, "seen": observed, "heavy": heavy}))
"""


def _read(content: bytes, folder: Path) -> CheckpointFacts:
    path = folder / "best.pt"
    path.write_bytes(content)
    return read_checkpoint(path, source="weights/best.pt", weights_out=folder / "weights.safetensors")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_checkpoint_has_its_code(case: HostileCheckpoint, tmp_path: Path) -> None:
    facts = _read(case.content, tmp_path)
    assert (facts.problem.code if facts.problem else None) == case.code
    if case.foreign is not None:
        assert case.foreign in facts.foreign_globals
    assert (facts.weights is None) == (case.code is not None)
    assert (tmp_path / "weights.safetensors").exists() == (case.code is None)
    assert CheckpointFacts.model_validate_json(facts.model_dump_json()).source == facts.source


def test_nothing_runs(tmp_path: Path) -> None:
    """An audit hook in a process of its own sees no import, no open, no call to the system and no socket."""
    canary = tmp_path / "canary"
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cases = hostile_checkpoints(canary)
    for number, case in enumerate(cases):
        (hostile / f"{number:03}.pt").write_bytes(case.content)
    (tmp_path / "0.pt").write_bytes(next(case.content for case in cases if case.code is None))
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-I", "-c", WATCHER, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout)
    assert told["seen"] == []
    assert told["heavy"] == []
    assert list(told["codes"].values()) == [case.code for case in cases]
    assert not canary.exists()


def test_the_watcher_sees_what_a_payload_would_do(tmp_path: Path) -> None:
    """The hook is no dummy: the same payloads, really unpickled, create the canary and raise the events."""
    canary = tmp_path / "canary"
    script = (
        "import sys, pickle\nseen = []\nsys.addaudithook(lambda event, arguments: seen.append(event))\n"
        "pickle.loads(open(sys.argv[1], 'rb').read())\nassert 'os.system' in seen and 'pickle.find_class' in seen\n"
    )
    (module, name, arguments) = payload_globals(canary)[1]
    (tmp_path / "evil").write_bytes(pickled(Call(Name(module, name), arguments)))
    subprocess.run([sys.executable, "-I", "-c", script, str(tmp_path / "evil")], check=True, timeout=60)
    assert canary.exists()


def test_a_sparse_file_of_three_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    facts = read_checkpoint(path, source="best.pt", weights_out=tmp_path / "weights.safetensors")
    assert facts.problem is not None and facts.problem.code == "checkpoint_format_unknown"


def test_metadata_survives_a_refusal(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "posix.system")
    facts = _read(case.content, tmp_path)
    assert facts.foreign_globals == ("posix.system",)
    assert (facts.framework, facts.version, facts.names) == ("ultralytics", "8.4.190", {0: "one"})
    assert facts.problem is not None and "posix.system" in facts.problem.detail
