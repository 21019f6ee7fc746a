"""Archives: honest ones of every maker are unpacked byte by byte, hostile ones refused with their code."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.errors import ArchiveError
from runaudit.isolation.job import Limits
from runaudit.runs.archive import unpack
from runaudit.runs.archive_limits import ArchiveLimits
from runaudit.runs.archive_names import member_path
from tests.hostile.archives import (
    END,
    FILE,
    HostileArchive,
    hostile_archives,
    pax,
    pax_record,
    tar_header,
    tarred,
    zipped,
)

RUN = {
    "exp/results.csv": b"epoch,loss\n" * 500,
    "exp/weights/best.pt": bytes(range(256)) * 2000,
    "exp/labels/val.cache": b"cposix\nsystem\n.",
    "data/\u00e9t\u00e9 1.jpg": b"",
}


def _written(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "upload.bin"
    path.write_bytes(content)
    return path


def _make(kind: str) -> bytes:
    members = list(RUN.items())
    if kind.startswith("zip"):
        return zipped(members, method=zipfile.ZIP_STORED if kind == "zip stored" else zipfile.ZIP_DEFLATED)
    if kind == "tar v7 names":
        return tarred(members, format_=tarfile.GNU_FORMAT)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members:
            info = tarfile.TarInfo("./" + name)
            info.size = len(content)
            info.mode = 0o4777
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "zip stored", "tar v7 names", "w:", "w:gz", "w:bz2", "w:xz"])
def test_honest_archive(kind: str, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    path = _file(tmp_path, _make(kind))
    unpacked = unpack(path, tmp_path / "out", on_progress=lambda done, total: progress.append((done, total)))
    assert _written(tmp_path / "out") == RUN
    assert unpacked.files == 4 and unpacked.bytes == sum(map(len, RUN.values())) and unpacked.skipped == 0
    assert progress[-1] == (path.stat().st_size, path.stat().st_size)
    assert all(done <= total for done, total in progress)
    for item in (tmp_path / "out").rglob("*"):
        assert stat.S_IMODE(item.stat().st_mode) == (0o700 if item.is_dir() else 0o600)


def test_zip_that_was_streamed(tmp_path: Path) -> None:
    """A writer that can't seek leaves sizes and checksums to a descriptor behind each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_arguments: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in RUN.items():
            archive.writestr(name, content)
        with archive.open("big.bin", "w", force_zip64=True) as member:
            member.write(b"z" * 1000)
    unpack(_file(tmp_path, pipe.getvalue()), tmp_path / "out")
    assert _written(tmp_path / "out") == {**RUN, "big.bin": b"z" * 1000}


def test_zip64(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open("big.bin", "w", force_zip64=True) as member:
            member.write(b"z" * 1000)
        for number in range(66_000):
            archive.writestr(f"__MACOSX/{number}", b"")
    unpacked = unpack(_file(tmp_path, buffer.getvalue()), tmp_path / "out")
    assert unpacked.files == 1 and unpacked.skipped == 66_000
    assert (tmp_path / "out/big.bin").read_bytes() == b"z" * 1000


def test_zip_comment_is_allowed(tmp_path: Path) -> None:
    """GitHub writes the commit's hash there."""
    unpack(_file(tmp_path, zipped([("a/b", b"x")], comment=b"c0ffee" * 7)), tmp_path / "out")
    assert _written(tmp_path / "out") == {"a/b": b"x"}


def test_what_macos_adds_is_skipped(tmp_path: Path) -> None:
    members = [("exp/a", b"x"), ("__MACOSX/exp/._a", b"y"), ("exp/.DS_Store", b"z"), ("exp/._b", b"")]
    for number, content in enumerate((zipped(members), tarred(members))):
        unpacked = unpack(_file(tmp_path, content), tmp_path / f"out{number}")
        assert unpacked.skipped == 3 and _written(unpacked.root) == {"exp/a": b"x"}


def test_backslashes_of_windows_tools(tmp_path: Path) -> None:
    members = [("exp\\weights\\", b""), ("exp\\weights\\best.pt", b"x"), ("exp\\results.csv", b"y")]
    unpack(_file(tmp_path, zipped(members, mode=0, system=0)), tmp_path / "out")
    assert _written(tmp_path / "out") == {"exp/weights/best.pt": b"x", "exp/results.csv": b"y"}


def test_git_archive_and_long_names(tmp_path: Path) -> None:
    name = "d" * 120 + "/" + "f" * 200
    content = pax(pax_record("comment", b"c0ffee"), b"g") + pax(pax_record("path", name.encode())) + FILE + END
    gnu = tarred([(name, b"x")], format_=tarfile.GNU_FORMAT)
    for number, tar in enumerate((content, gnu)):
        unpack(_file(tmp_path, tar), tmp_path / f"out{number}")
        assert _written(tmp_path / f"out{number}") == {name: b"x"}


def test_several_gzip_streams_are_one(tmp_path: Path) -> None:
    """pigz and bgzip write so."""
    tar = tarred(list(RUN.items()))
    unpack(_file(tmp_path, gzip.compress(tar[:1000]) + gzip.compress(tar[1000:])), tmp_path / "out")
    assert _written(tmp_path / "out") == RUN


@pytest.mark.parametrize("case", hostile_archives(), ids=lambda case: case.name)
def test_hostile_archive_has_its_code(case: HostileArchive, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(ArchiveError) as caught:
        unpack(_file(work, case.content), work / "out", case.limits)
    assert caught.value.error_code == case.code
    assert caught.value.status == 422
    assert sorted(item.name for item in work.iterdir()) == ["upload.bin"]
    assert list(outside.iterdir()) == []


def test_defaults_are_those_of_the_job() -> None:
    job = Limits()
    ours = ArchiveLimits()
    assert (ours.unpacked_bytes, ours.members, ours.ratio) == (job.unpacked_bytes, job.members, job.ratio)


def test_target_has_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(FileExistsError):
        unpack(_file(tmp_path, zipped([("a", b"x")])), tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()


def test_target_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        unpack(_file(tmp_path, zipped([("a", b"x")])), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    holder = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        with pytest.raises(ArchiveError):
            unpack(tmp_path / "pipe", tmp_path / "out")
    finally:
        os.close(holder)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_memory_does_not_grow_with_members(kind: str, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(1 << 20) * 32
    members = [("a.bin", content)]
    path = _file(tmp_path, zipped(members) if kind == "zip" else gzip.compress(tarred(members), 1))
    tracemalloc.start()
    try:
        unpack(path, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert (tmp_path / "out/a.bin").stat().st_size == len(content)


@pytest.mark.parametrize("kind", ["zip", "zip stored", "w:", "w:gz", "w:xz"])
def test_flipped_bytes_raise_nothing_but_archive_errors(kind: str, tmp_path: Path) -> None:
    """Two hundred mutants of each format: refused, or unpacked below the target."""
    generator = random.Random(7)
    good = _make(kind)
    refused = 0
    for number in range(200):
        mutant = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            mutant[generator.randrange(len(mutant))] = generator.randrange(256)
        if generator.random() < 0.2:
            del mutant[generator.randrange(len(mutant)) :]
        target = tmp_path / str(number)
        try:
            unpack(_file(tmp_path, bytes(mutant)), target)
        except ArchiveError as error:
            refused += 1
            assert error.error_code.startswith("archive_") and not target.exists()
    assert refused > 50


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=300)
def test_names_stay_in_their_folder(name: str) -> None:
    try:
        components = member_path(name)
    except ArchiveError:
        return
    joined = Path("/base/folder").joinpath(*components)
    assert Path(os.path.normpath(joined)) == joined
    assert joined.is_relative_to("/base/folder")


@given(st.binary(max_size=2000))
@settings(max_examples=200)
def test_arbitrary_tar_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("tar")
    try:
        unpack(_file(folder, tar_header(b"a", b"00000000010") + content), folder / "out")
    except ArchiveError:
        return


def test_an_archive_of_nothing_is_an_empty_folder(tmp_path: Path) -> None:
    unpacked = unpack(_file(tmp_path, zipped([])), tmp_path / "out")
    assert (unpacked.files, list((tmp_path / "out").iterdir())) == (0, [])
