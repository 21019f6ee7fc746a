"""The same inputs through `runaudit check` and `runaudit submit --wait`: the exit codes of docs/cli.md, from both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.inputs import armed_checkpoint, run_copy, zipped
from tests.cli.command import runaudit
from tests.embedded.service import Served

CANARY = "canary"


def healthy(folder: Path) -> Path:
    return run_copy(folder / "run")


def faulty(folder: Path) -> Path:
    return run_copy(folder / "run", "faulty")


def armed(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "weights" / "best.pt").write_bytes(armed_checkpoint(folder / CANARY))
    return run


def without_weights(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "weights" / "best.pt").unlink()
    return run


def truncated(folder: Path) -> Path:
    whole = zipped(run_copy(folder / "run"), folder / "whole.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.zip"


def tagged(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "args.yaml").write_text(
        f"task: detect\nmodel: !!python/object/apply:os.system ['touch {folder / CANARY}']\n"
    )
    return run


def quoting_nul(folder: Path) -> Path:
    run = run_copy(folder / "run")
    (run / "args.yaml").write_text('"a\\0b": 1\n"a\\0b": 2\n')
    return run


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (healthy, 0, "PASS"),
        (without_weights, 0, "INCONCLUSIVE"),
        (faulty, 1, "FAIL"),
        (armed, 1, "posix.system"),
        (truncated, 2, "[archive_truncated]"),
        (tagged, 2, "[yaml_tag]"),
        (quoting_nul, 2, "[yaml_duplicate_key]"),
    ],
)
def test_both_ways_in_exit_alike(
    make: Callable[[Path], Path], code: int, said: str, served: Served, data_yaml: Path, tmp_path: Path
) -> None:
    run = make(tmp_path)
    known = {"RUNAUDIT_DATA_DIR": str(served.data_dir)}
    for command, options in (("check", ()), ("submit", ("--wait", "--timeout", "60"))):
        ended = runaudit(command, run, "--data", data_yaml, *options, environment=known)
        assert ended.returncode == code, ended.stderr
        assert said in ended.stdout + ended.stderr
        # A path of the server's own has no place in what a client reads.
        assert str(served.data_dir) not in ended.stdout + ended.stderr
    assert not (tmp_path / CANARY).exists()
