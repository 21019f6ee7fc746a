"""The command line as a whole: what it imports, how it names its errors, and the exit codes of misuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import runaudit as package
from tests.cli.command import runaudit

COMMANDS = ("check", "serve", "worker", "submit", "show", "list", "report", "keys", "doctor")


def test_help_names_every_command() -> None:
    ended = runaudit("--help")
    assert ended.returncode == 0
    assert all(f"\n  {name} " in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    ended = runaudit(name, "--help")
    assert ended.returncode == 0
    assert "Usage:" in ended.stdout


def test_version() -> None:
    assert runaudit("--version").stdout == f"runaudit {package.__version__}\n"


def imported_by(statement: str) -> set[str]:
    """Top-level names of the modules that Python has loaded after `statement`."""
    probe = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    return set(ended.stdout.split())


def test_the_command_line_starts_light() -> None:
    heavy = {
        "torch",
        "torchvision",
        "ultralytics",
        "numpy",
        "cv2",
        "sqlalchemy",
        "fastapi",
        "celery",
        "httpx",
        "pydantic",
    }
    assert not imported_by("import runaudit.cli, runaudit.commands.app") & heavy


def test_neither_do_its_commands_load_what_belongs_into_children() -> None:
    loaded = imported_by(
        "from runaudit.commands import check, service, serving, doctor\n"
        "import runaudit.isolation.audit, runaudit.client, runaudit.reports.schema"
    )
    assert not loaded & {"torch", "torchvision", "ultralytics", "cv2", "sqlalchemy", "fastapi", "celery"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing-like-this",),
        ("check",),
        ("check", "run", "--depth", "bottomless"),
        ("check", "run", "--format", "pdf"),
        ("check", "run", "--fail-on", "nothing"),
        ("list", "--limit", "0"),
        ("serve", "--port", "70000"),
        ("keys",),
    ],
)
def test_misuse_exits_with_2(arguments: tuple[str, ...]) -> None:
    ended = runaudit(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == "" or arguments == ("keys",)


@pytest.mark.parametrize("name", ["file", "file/below", "linked", "with-logs"])
def test_a_data_folder_that_can_be_none_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "linked").symlink_to("file")
    (tmp_path / "with-logs").mkdir()
    (tmp_path / "with-logs" / "logs").write_text("")
    ended = runaudit("serve", "--data-dir", tmp_path / name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--data-dir" in ended.stderr and str(tmp_path) in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_setting_that_can_be_none_is_told(command: str, tmp_path: Path) -> None:
    ended = runaudit(command, cwd=tmp_path, environment={"RUNAUDIT_LEASE_SECONDS": "soon"})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "RUNAUDIT_LEASE_SECONDS" in ended.stderr and "Traceback" not in ended.stderr


BROKEN = """
import sys
from runaudit import cli
from runaudit.commands import doctor
doctor._examine = lambda: 1 / 0
sys.argv = ["runaudit", "doctor"]
cli.main()
"""


def test_a_bug_shows_its_trace_and_exits_with_3_not_1() -> None:
    """1 would say that the run has findings."""
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert "ZeroDivisionError" in ended.stderr
    assert ended.stderr.endswith("this is a bug in Runaudit itself [internal_error]\n")
