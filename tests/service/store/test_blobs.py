"""The blob store: whole or not at all, under the digest of what was written."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit_service.store.blobs import BUFFER_BYTES, ArtifactTooLargeError, Blob, FolderBlobs


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def put(store: FolderBlobs, *pieces: bytes, max_bytes: int = 1 << 30) -> Blob:
    async with store.writer(max_bytes) as writer:
        for piece in pieces:
            await writer.write(piece)
        return await writer.commit()


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    store = FolderBlobs(tmp_path_factory.mktemp("blobs"))
    blob = asyncio.run(put(store, *pieces))
    content = b"".join(pieces)
    assert blob == Blob(hashlib.sha256(content).hexdigest(), len(content))
    assert store.path(blob.sha256).read_bytes() == content
    assert store.holds(blob.sha256)
    assert files_below(store.root) == [store.path(blob.sha256)]


@pytest.mark.parametrize("size", [BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES])
def test_sizes_around_the_buffer(tmp_path: Path, size: int) -> None:
    store = FolderBlobs(tmp_path)
    content = os.urandom(size)
    assert store.path(asyncio.run(put(store, content)).sha256).read_bytes() == content


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    first, second = asyncio.run(put(store, b"same")), asyncio.run(put(store, b"sa", b"me"))
    assert first == second
    assert len(files_below(tmp_path)) == 1


def test_a_blob_and_all_that_leads_to_it_survive_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, synced, fsync = FolderBlobs(tmp_path), [], os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", note)
    placed = store.path(asyncio.run(put(store, b"kept")).sha256)
    content, *folders = synced
    assert (content.parent, folders) == (store.spool, [store.root, placed.parent])
    synced.clear()
    asyncio.run(put(store, b"kept"))
    assert synced[1:] == [placed.parent]


@pytest.mark.parametrize("pieces", [(b"x" * 11,), (b"x" * 10, b"x")])
def test_too_much_is_refused_and_leaves_nothing(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ArtifactTooLargeError) as caught:
        asyncio.run(put(FolderBlobs(tmp_path), *pieces, max_bytes=10))
    assert (caught.value.status, caught.value.error_code) == (413, "artifact_too_large")
    assert files_below(tmp_path) == []
    assert asyncio.run(put(FolderBlobs(tmp_path), b"x" * 10, max_bytes=10)).bytes == 10


def test_what_is_not_committed_is_deleted(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)

    async def give_up() -> None:
        async with store.writer(1 << 30) as writer:
            await writer.write(bytes(2 * BUFFER_BYTES))
            assert len(files_below(tmp_path)) == 1

    asyncio.run(give_up())
    assert files_below(tmp_path) == []


def test_a_cancelled_writer_deletes_its_file(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)

    async def hang() -> None:
        async with store.writer(1 << 30) as writer:
            await writer.write(bytes(2 * BUFFER_BYTES))
            await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(hang())
        while not files_below(tmp_path):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert files_below(tmp_path) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A process that may write files of 1 MiB at most, which the system answers as it answers a full disk."""
    program = """
import asyncio, resource, sys
from pathlib import Path
from runaudit_service.store.blobs import FolderBlobs, StorageFullError
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
async def put():
    async with FolderBlobs(Path(sys.argv[1])).writer(1 << 30) as writer:
        await writer.write(bytes(3 << 20))
        await writer.commit()
try:
    asyncio.run(put())
except StorageFullError as error:
    print(error.status, error.error_code)
"""
    told = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["507", "storage_full"]
    assert files_below(tmp_path) == []


def test_abandoned_files_are_removed_and_others_stay(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    assert store.remove_abandoned() == 0
    blob = asyncio.run(put(store, b"kept"))
    old, new = store.spool / "old", store.spool / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    assert store.remove_abandoned() == 1
    assert (old.exists(), new.exists(), store.holds(blob.sha256)) == (False, True, True)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_digests_are_paths(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="64"):
        FolderBlobs(tmp_path).path(digest)
