"""Plain `make` lists what can be done, and CI calls one target."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROMISED = {"setup", "demo", "serve", "test", "test-corpus", "lint", "bench", "gpu"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(*arguments: str) -> str:
    # The flags of the make that may run these tests are not this make's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_plain_make_lists_every_target() -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) ", _make(), re.MULTILINE))
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert listed == rules
    assert listed >= PROMISED


def test_testing_lints_first_and_installs_from_the_pinned_versions() -> None:
    # An environment that is not there, so that the recipe of the installation shows.
    plan = _make("--dry-run", "VENV=no-such-environment", "test")
    steps = ["pip install", "ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    assert "-c constraints.txt -e '.[dev]'" in plan


def test_the_pinned_versions_are_names_and_versions_only() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    assert not any(line.startswith("runaudit==") for line in lines)


def test_ci_calls_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    calls = [line for line in run.read_text().splitlines() if re.match(r"make\b", line)]
    assert [call.split("2>&1")[0].strip() for call in calls] == ["make test"]
