"""Hostile images: each is dropped with its code or used, none runs, writes or fetches anything, and none costs much."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from runaudit.evaluation.images import decode
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec
from runaudit.runs.dataset import read_dataset
from tests.hostile.images import HostileImage, encoded, hostile_images
from tests.isolation.test_archive_shapes import write_run, zipped

CASES = hostile_images()
LABEL = "0 0.5 0.5 0.2 0.2\n"

WATCHER = """
import json, os, resource, sys
from pathlib import Path
root = Path(sys.argv[1])
from runaudit.evaluation.image_verification import verify_images
from runaudit.runs.dataset import read_dataset
def read(folder):
    facts, index, _ = read_dataset(folder, folder / "data.yaml", own_machine=False)
    return facts, index, verify_images(index, "pixels", processes=2, on_images=lambda images: None)
read(root / "first")
seen = []
suspicious = ("import", "exec", "compile", "subprocess", "socket", "os.system", "os.exec", "os.posix_spawn", "shutil",
              "os.remove", "os.rename", "os.mkdir", "os.symlink", "os.chmod", "pickle", "ctypes")
allowed = (str(root), "/proc/self/task", os.environ["TMPDIR"])
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if isinstance(path, int) or str(path).startswith(allowed[2]):
            return
        if str(path).startswith(allowed) and not writes:
            return
    elif not event.startswith(suspicious):
        return
    seen.append([event, repr(arguments)[:200]])
sys.addaudithook(hook)
facts, index, flawed = read(root / "hostile")
observed = list(seen)
# Not RUSAGE_SELF: over an exec it keeps the peak of the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
most = max(int(status["VmHWM"].split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
train = facts.splits["train"]
print(json.dumps({"seen": observed, "kilobytes": most, "rejected": train.rejected_by, "images": train.images,
                  "flaws": {index.images[at].file.rpartition("/")[2]: flaw.flaw for at, flaw in flawed.items()}}))
"""


def write_set(root: Path, cases: list[HostileImage]) -> Path:
    for folder in ("images", "labels"):
        (root / "train" / folder).mkdir(parents=True)
    for case in cases:
        (root / "train" / "images" / case.file).write_bytes(case.content)
        (root / "train" / "labels" / case.file).with_suffix(".txt").write_text(LABEL)
    (root / "data.yaml").write_text("names: [a]\ntrain: train/images\n")
    return root


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_hostile_image_has_its_code(case: HostileImage, tmp_path: Path) -> None:
    write_set(tmp_path, [case, HostileImage("honest.jpg", encoded("JPEG"))])
    facts, index, labels = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    train = facts.splits["train"]
    assert train.rejected_by == ({} if case.code is None else {case.code: 1})
    assert len(index.images) == len(labels.cls) == (2 if case.code is None else 1)
    if case.code is not None:
        assert train.notes[0].place == f"train/images/{case.file}"
        assert case.file.encode() not in train.notes[0].detail.encode()


def test_none_runs_writes_or_fetches_anything(tmp_path: Path) -> None:
    """An audit hook in a process of its own sees files of the data read, and nothing else."""
    write_set(tmp_path / "hostile", CASES)
    # All decoders and Pillow's plugins are loaded by honest images, and by one that no plugin knows.
    kinds = {
        kind: encoded(name) for kind, name in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("avif", "AVIF"))
    }
    kinds |= {"tif": encoded("TIFF"), "jp2": encoded("JPEG2000"), "bmp": encoded("BMP"), "mpo": encoded("MPO")}
    first = [HostileImage(f"honest.{kind}", content) for kind, content in kinds.items()]
    write_set(tmp_path / "first", [*first, HostileImage("none.png", b"none at all")])
    before = {file: file.read_bytes() for file in (tmp_path / "hostile").rglob("*") if file.is_file()}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, str(tmp_path)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout)
    assert told["seen"] == []
    assert told["kilobytes"] < 1_000_000
    assert told["rejected"] == dict(Counter(case.code for case in CASES if case.code is not None))
    assert told["flaws"] == {case.file: case.flaw for case in CASES if case.flaw is not None}
    assert before == {file: file.read_bytes() for file in (tmp_path / "hostile").rglob("*") if file.is_file()}


def test_an_audit_of_them_all_comes_to_its_end(tmp_path: Path) -> None:
    write_set(tmp_path / "set", CASES)
    job = tmp_path / "job"
    job.mkdir()
    spec = {
        "run": {"kind": "folder", "path": str(write_run(tmp_path / "run"))},
        "data": {"kind": "archive", "path": str(zipped(tmp_path / "set"))},
        "depth": "deep",
    }
    report = run_audit(JobSpec.model_validate(spec), job, on_progress=lambda progress: None, should_stop=lambda: False)
    finding = next(finding for finding in report.findings if finding.cause == "image_format")
    dropped, flawed = (sum(getattr(case, field) is not None for case in CASES) for field in ("code", "flaw"))
    assert f"{dropped} of {len(CASES)} train images can't be used" in finding.title
    assert f"{flawed} of {len(CASES)} train images are damaged" in finding.explanation


def test_what_is_no_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes, sockets, devices behind links, and folders under an image's name."""
    root = write_set(tmp_path / "set", [HostileImage("honest.jpg", encoded("JPEG"))])
    folder = root / "train" / "images"
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "passwd.jpg").symlink_to("/etc/passwd")
    (folder / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(folder)  # the path of a socket has at most 107 bytes
        listening.bind("socket.jpg")
        facts, index, _ = read_dataset(root, root / "data.yaml", own_machine=False)
        own, mine, _ = read_dataset(root, root / "data.yaml", own_machine=True)
    assert [entry.file for entry in index.images] == ["train/images/honest.jpg"]
    assert [note.code for note in facts.notes] == ["link_refused"]
    assert [entry.file for entry in mine.images] == ["train/images/honest.jpg"]
    assert set(own.splits["train"].rejected_by) == {"image_unreadable"}


def test_names_that_hold_anything_are_carried_as_they_are(tmp_path: Path) -> None:
    names = [
        "new\nline",
        "\u202egnp",
        "-rf",
        "<script>alert(1)<",
        "%00",
        "$(reboot)",
        "a" * 240,
        "\x1b[31m",
        "'; --",
        " ",
    ]
    write_set(tmp_path, [HostileImage(f"{name}.jpg", encoded("JPEG")) for name in names])
    (tmp_path / "train" / "images" / "new\nline.jpg").write_bytes(b"")
    facts, index, labels = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    assert len(index.images) == len(labels.cls) == len(names) - 1
    assert json.loads(index.model_dump_json())["images"][0]["file"] == index.images[0].file
    assert facts.splits["train"].notes[0].place == "train/images/new\nline.jpg"


def test_images_that_share_their_label_both_have_it(tmp_path: Path) -> None:
    """I103: a.jpg and a.png."""
    write_set(tmp_path, [HostileImage("a.jpg", encoded("JPEG")), HostileImage("a.png", encoded("PNG"))])
    facts, _, labels = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    assert labels.image.tolist() == [0, 1]
    assert facts.splits["train"].instances == 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "PNG", "AVIF"])
def test_what_the_header_says_of_a_turned_image_is_what_is_decoded(tmp_path: Path, kind: str, orientation: int) -> None:
    """I98: the framework turns images by EXIF, each format in its own way; labels lie on the turned image."""
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.new("RGB", (64, 32), "red").save(file, kind, exif=exif.tobytes())
    name = f"a.{kind.lower()}"
    write_set(tmp_path, [HostileImage(name, file.getvalue())])
    _, index, _ = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False)
    pixels = decode(tmp_path / "train" / "images" / name, 3)
    assert pixels is not None
    assert (index.images[0].height, index.images[0].width) == pixels.shape[:2]
