"""Pieces of uploads on the disk: what was synced is read back, in order, and no more than that."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from runaudit_service.store.blobs import Blob, FolderBlobs
from runaudit_service.store.disk import StorageFullError, free_bytes, require_room
from runaudit_service.store.staging import Piece, Staging


def written(staging: Staging, upload: uuid.UUID, start: int, chunks: list[bytes]) -> Piece:
    holder = uuid.uuid4()
    writer = staging.writer(upload, start, holder)
    for chunk in chunks:
        writer.write(chunk)
    synced = writer.sync()
    assert writer.digest() == sha256(b"".join(chunks)).hexdigest()
    writer.close()
    return Piece(start, synced, holder)


@given(st.lists(st.lists(st.binary(max_size=50), max_size=4), max_size=6), st.integers(1, 60))
@hypothesis_settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_give_back_what_was_written(tmp_path: Path, requests: list[list[bytes]], chunk_bytes: int) -> None:
    staging, upload = Staging(tmp_path), uuid.uuid4()
    pieces: list[Piece] = []
    for chunks in requests:
        pieces.append(written(staging, upload, sum(piece.bytes for piece in pieces), chunks))
    kept = [piece for piece in pieces if piece.bytes]
    assert b"".join(staging.read(upload, kept, chunk_bytes)) == b"".join(b"".join(chunks) for chunks in requests)
    staging.remove(upload)
    assert not staging.folder(upload).exists()
    staging.remove(upload)


def test_more_in_the_file_than_was_noted_is_not_read(tmp_path: Path) -> None:
    staging, upload, holder = Staging(tmp_path), uuid.uuid4(), uuid.uuid4()
    writer = staging.writer(upload, 0, holder)
    writer.write(b"noted")
    noted = writer.sync()
    writer.write(b" and not noted")
    writer.close()
    assert b"".join(staging.read(upload, [Piece(0, noted, holder)], 3)) == b"noted"
    with pytest.raises(OSError, match="lacks"):
        list(staging.read(upload, [Piece(0, 100, holder)], 3))


def test_a_request_without_a_byte_leaves_no_file(tmp_path: Path) -> None:
    staging, upload = Staging(tmp_path), uuid.uuid4()
    written(staging, upload, 0, [])
    assert list(staging.folder(upload).iterdir()) == []


def test_the_reserve_is_kept_while_bytes_come_in(tmp_path: Path) -> None:
    writer = Staging(tmp_path, reserve_bytes=2 * free_bytes(tmp_path)).writer(uuid.uuid4(), 0, uuid.uuid4())
    with pytest.raises(StorageFullError):
        writer.write(b"x")
    writer.close()
    with pytest.raises(StorageFullError):
        require_room(tmp_path / "not" / "there" / "yet", 0, 2 * free_bytes(tmp_path))


def test_only_what_nobody_writes_to_any_more_is_removed(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "uploads")
    assert staging.remove_untouched(3600) == 0
    left, written_to, new = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for upload in (left, written_to, new):
        written(staging, upload, 0, [b"piece"])
    long_ago = time.time() - 7200
    for upload in (left, written_to):
        for path in (*staging.folder(upload).iterdir(), staging.folder(upload)):
            os.utime(path, (long_ago, long_ago))
    for path in staging.folder(written_to).iterdir():
        os.utime(path)
    assert staging.remove_untouched(3600) == 1
    assert [staging.has(upload) for upload in (left, written_to, new)] == [False, True, True]


def test_a_file_becomes_a_blob_without_being_copied(tmp_path: Path) -> None:
    piece, content = tmp_path / "piece", os.urandom(1000)
    piece.write_bytes(content)
    store, blob = FolderBlobs(tmp_path / "blobs"), Blob(sha256(content).hexdigest(), len(content))

    async def link() -> None:
        async with store.writer(len(content)) as writer:
            assert await writer.link(piece, blob)
            assert await writer.seal() == blob
            await writer.commit()

    for _ in range(2):
        # The second time both names are of one file, where renaming does nothing.
        asyncio.run(link())
        assert store.path(blob.sha256).samefile(piece)
        assert list(store.spool.iterdir()) == []
    piece.unlink()
    assert store.path(blob.sha256).read_bytes() == content


def test_what_can_not_be_linked_is_written_instead(tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path / "blobs")

    async def write() -> Blob:
        async with store.writer(10) as writer:
            assert not await writer.link(tmp_path / "absent", Blob("0" * 64, 5))
            await writer.write(b"bytes")
            return await writer.commit()

    assert store.path(asyncio.run(write()).sha256).read_bytes() == b"bytes"
