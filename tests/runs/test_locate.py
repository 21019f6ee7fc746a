"""Finding the run folder in an unpacked tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runaudit.errors import InputError, RunNotFoundError
from runaudit.runs.locate import choose_checkpoint, find_run
from runaudit.runs.run import read_run


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["results.csv"], ""),
        (["exp/args.yaml"], "exp"),
        (["a/runs/detect/train/weights/best.pt"], "a/runs/detect/train"),
        (["weights/best.pt", "results.csv", "args.yaml"], ""),
        (["best.pt"], ""),
        (["yolo11n.pt", "runs/train/results.csv", "runs/train/args.yaml"], "runs/train"),
        (["runs/train/args.yaml", "runs/train2/args.yaml", "runs/train2/results.csv"], "runs/train2"),
        (["a/results.csv", "a/args.yaml", "a/old/b/results.csv", "a/old/b/args.yaml"], "a"),
        (["opt.yaml", "hyp.yaml", "data/images/results.csv", "data/images/args.yaml"], ""),
        (["exp/results.csv", "__MACOSX/exp/results.csv", "__MACOSX/exp/args.yaml"], "exp"),
    ],
)
def test_the_run_with_most_evidence_and_then_the_shallowest_is_found(
    tmp_path: Path, files: list[str], folder: str
) -> None:
    touch(tmp_path, *files)
    run = find_run(tmp_path)
    assert run.folder == folder
    assert run.path == tmp_path / folder


def test_two_runs_of_equal_standing_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/results.csv", "train2/results.csv")
    with pytest.raises(InputError, match="train, train2") as caught:
        find_run(tmp_path)
    assert caught.value.error_code == "several_runs"


def test_a_tree_without_a_run_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "data.yaml", "images/a.jpg", "hyp.yaml")
    with pytest.raises(RunNotFoundError) as caught:
        find_run(tmp_path)
    assert caught.value.error_code == "run_not_found"


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["weights/last.pt", "weights/best.pt", "best.pt"], "weights/best.pt"),
        (["weights/last.pt", "weights/epoch5.pt"], "weights/last.pt"),
        (["best.pt", "weights/last.pt"], "best.pt"),
        (["weights/model.pt"], "weights/model.pt"),
        (["weights/epoch5.pt", "weights/epoch10.pt"], None),
        (["results.csv"], None),
    ],
)
def test_the_checkpoint_is_best_then_last_then_the_only_one(
    tmp_path: Path, files: list[str], chosen: str | None
) -> None:
    touch(tmp_path, *files)
    path = choose_checkpoint(find_run(tmp_path))
    assert path == (tmp_path / chosen if chosen else None)


def test_links_are_not_taken_for_checkpoints(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/secret.bin", "run/results.csv")
    (tmp_path / "run" / "best.pt").symlink_to(tmp_path / "elsewhere" / "secret.bin")
    os.mkfifo(tmp_path / "run" / "last.pt")
    run = find_run(tmp_path / "run")
    assert run.checkpoints == ()


def test_runs_that_were_passed_over_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/results.csv", "train/args.yaml", "train/older/args.yaml", "yolo11n.pt")
    assert find_run(tmp_path).ignored == ("train/older",)
    run = find_run(tmp_path / "train")
    assert (run.folder, run.ignored) == ("", ("older",))


@pytest.mark.parametrize("name", ["results.csv", "args.yaml", "weights/best.pt"])
def test_a_pipe_is_no_file_of_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(RunNotFoundError):
        read_run(tmp_path, weights_out=tmp_path / "weights.safetensors")
