"""Which files of a run are packed, and that the same files give the same bytes."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.client.packing import LARGEST_LOG_BYTES, pack_run, run_members
from runaudit.errors import InputError, RunNotFoundError

ALLOWED = re.compile(
    r"(results\.csv|(args|opt|hyp|data)\.yaml|(weights/)?(best|last)\.pt|[^/]*\.(log|out|txt)|events\.out\.tfevents[^/]*)\Z"
)


def lay(folder: Path, files: dict[str, bytes], *, time: float = 1e9) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time, time))
    return folder


def packed(folder: Path) -> bytes:
    stream = BytesIO()
    pack_run(folder, stream)
    return stream.getvalue()


def content_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


NAMES = st.sampled_from(
    [
        *("results.csv", "args.yaml", "opt.yaml", "hyp.yaml", "data.yaml", "model.yaml", "results.png", "train.log"),
        *("weights/best.pt", "weights/last.pt", "weights/epoch10.pt", "weights/best.onnx", "best.pt", "last.pt"),
        *("events.out.tfevents.1.host", "notes.txt", "labels.cache", "labels/a.txt", "val_batch0_pred.jpg", ".env"),
        *("id_rsa", "weights/readme.txt", "predictions.json", "train_batch0.jpg", "wandb/run.log", "results.csv.bak"),
        *("nohup.out", "slurm-17.out", "a.out.png"),
    ]
)
FILES = st.dictionaries(NAMES, st.binary(max_size=64), max_size=14)


@settings(max_examples=150, deadline=None)
@given(files=FILES)
def test_only_what_an_audit_reads_is_packed_and_the_same_files_give_the_same_bytes(files: dict[str, bytes]) -> None:
    run = {"results.csv": b"epoch\n"} | files
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = packed(lay(Path(one), run))
        again = packed(lay(Path(other), dict(reversed(run.items())), time=1.5e9))
    assert first == again
    found = content_of(first)
    assert all(ALLOWED.match(name) for name in found)
    assert all(found[name] == run[name] for name in found)
    assert sum(name.endswith(".pt") for name in found) <= 1
    # What is allowed and no checkpoint is never left out.
    expected = {name for name in run if ALLOWED.match(name) and not name.endswith(".pt")}
    assert expected <= found.keys()
    # Another byte in a packed file is another archive.
    changed = run | {"results.csv": run["results.csv"] + b"!"}
    with tempfile.TemporaryDirectory() as folder:
        assert packed(lay(Path(folder), changed)) != first


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (("weights/best.pt", "weights/last.pt", "best.pt"), "weights/best.pt"),
        (("weights/last.pt", "best.pt"), "best.pt"),
        (("weights/last.pt",), "weights/last.pt"),
        ((), None),
    ],
)
def test_the_best_checkpoint_is_packed_and_the_last_one_only_without_it(
    tmp_path: Path, present: tuple[str, ...], chosen: str | None
) -> None:
    lay(tmp_path, {"results.csv": b"epoch\n"} | dict.fromkeys(present, b"w"))
    weights = [member.name for member in run_members(tmp_path) if member.name.endswith(".pt")]
    assert weights == ([chosen] if chosen else [])


@pytest.mark.parametrize("name", ["nohup.out", "slurm-17.out", "train.log", "TRAIN.LOG", "log.txt"])
def test_every_log_that_an_audit_reads_is_packed(tmp_path: Path, name: str) -> None:
    lay(tmp_path, {"results.csv": b"epoch\n", name: b"Epoch 1/3"})
    assert name in content_of(packed(tmp_path))


def test_large_logs_stay_behind(tmp_path: Path) -> None:
    lay(tmp_path, {"results.csv": b"epoch\n", "small.log": b"x" * 100})
    with (tmp_path / "large.log").open("wb") as log:
        log.truncate(LARGEST_LOG_BYTES + 1)
    assert sorted(content_of(packed(tmp_path))) == ["results.csv", "small.log"]


def test_the_one_run_below_the_folder_is_found(tmp_path: Path) -> None:
    lay(tmp_path, {"runs/detect/train/results.csv": b"epoch\n", "runs/detect/train/weights/best.pt": b"w"})
    assert sorted(content_of(packed(tmp_path))) == ["results.csv", "weights/best.pt"]


def test_several_runs_are_named(tmp_path: Path) -> None:
    lay(tmp_path, {"train/results.csv": b"epoch\n", "train2/args.yaml": b"{}"})
    with pytest.raises(RunNotFoundError, match="train, train2") as caught:
        packed(tmp_path)
    assert caught.value.error_code == "several_runs"


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"x"}, {"a/b/c/d/e/f/results.csv": b"x"}])
def test_a_folder_without_a_run_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        packed(lay(tmp_path, files))
    assert caught.value.error_code == "run_not_found"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        packed(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["results.csv", "weights/best.pt", "notes.txt"])
def test_a_link_out_of_the_run_sends_nothing_away(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"private")
    run = lay(tmp_path / "run", {"args.yaml": b"{}", "weights/last.pt": b"w"})
    (run / name).symlink_to(secret)
    with pytest.raises(InputError, match=name) as caught:
        packed(run)
    assert caught.value.error_code == "link_leaves_folder"


def test_a_link_within_the_run_is_followed(tmp_path: Path) -> None:
    run = lay(tmp_path, {"results.csv": b"epoch\n", "weights/epoch9.pt": b"w"})
    (run / "weights" / "best.pt").symlink_to("epoch9.pt")
    assert content_of(packed(run))["weights/best.pt"] == b"w"


def test_nothing_is_compressed_so_that_bytes_do_not_hang_on_zlib(tmp_path: Path) -> None:
    archive = packed(lay(tmp_path, {"results.csv": b"0" * 10_000, "weights/best.pt": b"0" * 10_000}))
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        infos = opened.infolist()
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    run = lay(tmp_path, {"results.csv": b"epoch\n"})
    members = run_members(run)
    (run / "results.csv").unlink()
    from runaudit.client.archives import write_archive  # noqa: PLC0415

    with pytest.raises(InputError, match=r"results\.csv"):
        write_archive(members, BytesIO())
