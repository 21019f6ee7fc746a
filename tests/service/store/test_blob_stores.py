"""What every blob store has to do: the same tests over a folder and over a bucket of a real S3-compatible server."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from runaudit.errors import CancelledError
from runaudit.file_locks import locked
from runaudit_service.store.blobs import (
    ArtifactTooLargeError,
    Blob,
    BlobDamagedError,
    BlobGoneError,
    BlobStore,
    BlobStoreError,
    StorageFullError,
    open_blobs,
)
from runaudit_service.store.blobs.bucket import PART_BYTES, BucketBlobs, Patience
from runaudit_service.store.blobs.copies import Copies
from runaudit_service.store.bucket_address import BucketAddress, BucketKey
from runaudit_service.store.settings import Settings
from tests.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer
from tests.worker.outside import Connection, outside, reply

Open = Callable[..., BlobStore]


def bucket_settings(url: str, folder: Path, **changes: object) -> Settings:
    given: dict[str, object] = {
        "blob_access_key": ACCESS_KEY,
        "blob_secret_key": SecretStr(SECRET_KEY),
        "disk_reserve_bytes": 0,
    }
    return Settings(blob_url=url, data_dir=folder, **(given | changes))


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return open_blobs(Settings(data_dir=tmp_path, disk_reserve_bytes=0))
    server: BucketServer = request.getfixturevalue("bucket_server")
    return open_blobs(bucket_settings(server.url(f"{tmp_path.name}/deep"), tmp_path))


@pytest.fixture
def bucket(bucket_server: BucketServer, tmp_path: Path) -> BlobStore:
    return open_blobs(bucket_settings(bucket_server.url(tmp_path.name), tmp_path))


def left_in(store: BlobStore) -> list[Path]:
    return list(store.spool.iterdir()) if store.spool.is_dir() else []


async def put(store: BlobStore, *pieces: bytes, max_bytes: int = 1 << 40) -> Blob:
    async with store.writer(max_bytes) as writer:
        for piece in pieces:
            await writer.write(piece)
        return await writer.commit()


async def seal(store: BlobStore, content: bytes) -> Blob:
    """What a request does before its transaction."""
    async with store.writer(1 << 40) as writer:
        await writer.write(content)
        return await writer.seal()


def read(store: BlobStore, sha256: str) -> bytes:
    with store.opened(sha256, lambda: False) as path:
        assert path == path.resolve()
        return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_what_is_read_is_what_was_written(store: BlobStore, size: int) -> None:
    content = os.urandom(size)
    blob = asyncio.run(put(store, content[: size // 2], content[size // 2 :]))
    assert blob == Blob(hashlib.sha256(content).hexdigest(), size)
    assert store.holds(blob.sha256) and asyncio.run(store.look(blob.sha256))
    assert store.size(blob.sha256) == size
    assert read(store, blob.sha256) == content
    assert left_in(store) == []


def test_what_is_not_there(store: BlobStore) -> None:
    nothing = "0" * 64
    assert (store.size(nothing), store.holds(nothing), store.remove(nothing)) == (None, False, False)
    with pytest.raises(BlobGoneError) as caught:
        read(store, nothing)
    assert (caught.value.status, caught.value.error_code) == (422, "artifact_missing")
    assert store.older_than("00", 0) == []
    for wrong in ("", "../../etc/passwd", "A" * 64, "0" * 64 + "\n"):
        with pytest.raises(ValueError, match="64"):
            store.size(wrong)


def test_a_sealed_blob_is_placed_also_when_it_was_removed_in_between(store: BlobStore) -> None:
    """A removal may find no title to what an upload has just secured."""

    async def sealed_removed_committed() -> Blob:
        async with store.writer(100) as writer:
            await writer.write(b"content")
            blob = await writer.seal()
            assert blob == await writer.blob()
            await asyncio.to_thread(store.remove, blob.sha256)
            return await writer.commit()

    assert read(store, asyncio.run(sealed_removed_committed()).sha256) == b"content"


def test_what_is_given_up_or_too_large_is_nowhere(store: BlobStore) -> None:
    async def give_up() -> None:
        async with store.writer(100) as writer:
            await writer.write(b"half")

    asyncio.run(give_up())
    with pytest.raises(ArtifactTooLargeError):
        asyncio.run(put(store, b"x" * 11, max_bytes=10))
    assert left_in(store) == []
    for content in (b"half", b"x" * 11):
        assert not store.holds(hashlib.sha256(content).hexdigest())


def test_many_writers_of_the_same_bytes(store: BlobStore) -> None:
    content = os.urandom(100_000)

    async def all_at_once() -> set[Blob]:
        return set(await asyncio.gather(*(put(store, content) for _ in range(8))))

    (blob,) = asyncio.run(all_at_once())
    assert read(store, blob.sha256) == content
    assert store.older_than(blob.sha256[:2], 0) == [blob.sha256]


def test_removed_is_gone_and_may_come_again(store: BlobStore) -> None:
    blob = asyncio.run(put(store, b"content"))
    assert store.remove(blob.sha256)
    assert not store.holds(blob.sha256)
    assert not store.remove(blob.sha256)
    assert asyncio.run(put(store, b"content")) == blob
    assert store.holds(blob.sha256)


def test_what_is_listed_has_the_prefix_and_the_age(store: BlobStore) -> None:
    blobs = [asyncio.run(put(store, str(number).encode())) for number in range(30)]
    for prefix in {blob.sha256[:2] for blob in blobs} | {"zz"}:
        named = {blob.sha256 for blob in blobs if blob.sha256.startswith(prefix)}
        assert set(store.older_than(prefix, 0)) == named
        assert store.older_than(prefix, 3600) == []


def test_the_store_is_tried_and_nothing_is_left(store: BlobStore, tmp_path: Path) -> None:
    store.check()
    assert left_in(store) == []


def test_a_large_blob_takes_little_memory(store: BlobStore, request: pytest.FixtureRequest) -> None:
    """In a process of its own: 96 MiB in and out, which is 12 parts."""
    program = """
import asyncio, os, resource, sys
from runaudit_service.store.blobs import open_blobs
from runaudit_service.store.settings import Settings
store = open_blobs(Settings())
async def put(megabytes):
    async with store.writer(1 << 40) as writer:
        for _ in range(megabytes):
            await writer.write(os.urandom(1 << 20))
        return await writer.commit()
def round_trip(megabytes):
    blob = asyncio.run(put(megabytes))
    with store.opened(blob.sha256, lambda: False) as path:
        assert path.stat().st_size == blob.bytes == megabytes << 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
small = round_trip(1)
print(round_trip(96) - small)
"""
    environment = dict(os.environ) | {"RUNAUDIT_DATA_DIR": str(store.spool.parents[1])}
    if "bucket_server" in request.fixturenames or type(store).__name__ == "BucketBlobs":
        server: BucketServer = request.getfixturevalue("bucket_server")
        environment |= {
            "RUNAUDIT_BLOB_URL": server.url("large"),
            # As the environment of AWS' own tools has them.
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 64, "MiB more for a blob of 96 MiB than for one of 1 MiB"


def test_copies_are_bounded_and_go_with_what_was_removed(bucket_server: BucketServer, tmp_path: Path) -> None:
    settings = bucket_settings(bucket_server.url(tmp_path.name), tmp_path, blob_cache_bytes=250)
    store, copies = open_blobs(settings), settings.blob_cache / "copies"
    first, second, third = (asyncio.run(put(store, letter * 100)).sha256 for letter in (b"a", b"b", b"c"))
    for sha256 in (first, second):
        read(store, sha256)
        time.sleep(0.01)
    read(store, first)
    read(store, third)
    assert {path.name for path in copies.iterdir()} == {first, third}, "the second was not used for longest"
    with store.opened(first, lambda: False) as path:
        store.remove(first)
        store.keep_copies_only()
        assert path.read_bytes() == b"a" * 100, "in use"
    store.keep_copies_only()
    assert {path.name for path in copies.iterdir()} == {third}
    assert sorted(path.name for path in (settings.blob_cache / "locks").iterdir()) == [third, f"{third}.making"]


def test_what_was_half_fetched_goes_unless_someone_fetches_it(bucket: BlobStore, tmp_path: Path) -> None:
    making, locks = tmp_path / "copies" / "making", tmp_path / "copies" / "locks"
    for folder in (making, locks):
        folder.mkdir(parents=True)
    left, fetched = (making / f"{letter * 64}-1" for letter in "ab")
    for path in (left, fetched):
        path.write_bytes(b"half")
    with locked(locks / f"{'b' * 64}.making", fcntl.LOCK_EX):
        assert bucket.remove_abandoned() == 1
    assert (left.exists(), fetched.exists()) == (False, True)
    assert [path.name for path in locks.iterdir()] == [f"{'b' * 64}.making"]


def test_without_a_limit_for_copies_none_is_kept(bucket_server: BucketServer, tmp_path: Path) -> None:
    settings = bucket_settings(bucket_server.url(tmp_path.name), tmp_path, blob_cache_bytes=0)
    store = open_blobs(settings)
    assert read(store, asyncio.run(put(store, b"content")).sha256) == b"content"
    assert list((settings.blob_cache / "copies").iterdir()) == []


def test_a_copy_is_fetched_once_and_while_the_store_is_away_still_there(
    bucket_server: BucketServer, tmp_path: Path
) -> None:
    settings = bucket_settings(bucket_server.url(tmp_path.name), tmp_path)
    store = open_blobs(settings)
    content = os.urandom(3 * PART_BYTES)
    sha256 = asyncio.run(put(store, content)).sha256
    with ThreadPoolExecutor(4) as threads:
        paths = set(threads.map(lambda _: hashlib.sha256(read(store, sha256)).hexdigest(), range(4)))
    assert paths == {sha256}
    gone = open_blobs(bucket_settings("s3://blobs/x?endpoint=http://127.0.0.1:1", tmp_path))
    assert read(gone, sha256) == content


def test_a_copy_is_held_against_its_digest(bucket_server: BucketServer, bucket: BlobStore, tmp_path: Path) -> None:
    sha256 = asyncio.run(put(bucket, b"what was handed in")).sha256
    (bucket_server.root / "blobs" / tmp_path.name / sha256[:2] / sha256).write_bytes(b"what someone made it")
    with pytest.raises(BlobDamagedError):
        read(bucket, sha256)
    assert not list(tmp_path.rglob(f"*{sha256}-*")), "a half copy is left"


def test_handing_it_in_again_mends_what_was_damaged(
    bucket_server: BucketServer, bucket: BlobStore, tmp_path: Path
) -> None:
    sha256 = asyncio.run(put(bucket, b"what was handed in")).sha256
    (bucket_server.root / "blobs" / tmp_path.name / sha256[:2] / sha256).write_bytes(b"as long: 18 bytes.")
    with pytest.raises(BlobDamagedError):
        read(bucket, sha256)

    async def again() -> None:
        async with bucket.writer(100) as writer:
            await writer.write(b"what was handed in")
            await writer.seal()
            await writer.commit()

    asyncio.run(again())
    assert read(bucket, sha256) == b"what was handed in"


def test_files_that_go_while_what_was_abandoned_is_looked_for_keep_nothing_else(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.spool.mkdir(parents=True)
    for name in ("abandoned", "committed meanwhile"):
        (store.spool / name).touch()
        os.utime(store.spool / name, (0, 0))
    listed = Path.iterdir

    def changing(folder: Path) -> list[Path]:
        found = sorted(listed(folder), reverse=True)
        (store.spool / "committed meanwhile").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "iterdir", changing)
    store.remove_abandoned()
    monkeypatch.undo()
    assert left_in(store) == []


def test_fetching_a_copy_stops_when_it_is_told_to(bucket: BlobStore, tmp_path: Path) -> None:
    sha256 = asyncio.run(put(bucket, b"content")).sha256
    with pytest.raises(CancelledError), bucket.opened(sha256, lambda: True):
        pass
    assert read(bucket, sha256) == b"content"


def attempts(store: BlobStore) -> dict[str, Callable[[], object]]:
    """Whatever asks the bucket something."""
    return {
        "size": lambda: store.size("ab" * 32),
        "remove": lambda: store.remove("ab" * 32),
        "list": lambda: store.older_than("ab", 0),
        "read": lambda: read(store, "ab" * 32),
        "put": lambda: asyncio.run(put(store, b"content")),
        "seal": lambda: asyncio.run(seal(store, b"content")),
        "check": store.check,
        "ask": store.require_answer,
    }


def test_a_server_that_is_down_is_told_soon_and_without_its_name(tmp_path: Path, bucket_server: BucketServer) -> None:
    own = BucketServer(bucket_server.root)
    own.start()
    store = open_blobs(bucket_settings(own.url(tmp_path.name), tmp_path))
    sha256 = asyncio.run(put(store, b"before")).sha256
    own.stop()
    for name, attempt in attempts(store).items():
        begun = time.monotonic()
        with pytest.raises(BlobStoreError) as caught:
            attempt()
        assert time.monotonic() - begun < 11, name
        told = caught.value.problem()
        assert (told["status"], told["code"]) == (503, "blob_store_unavailable"), name
        assert "127.0.0.1" not in str(told) and SECRET_KEY not in str(caught.value.__cause__), name
    assert left_in(store) == []
    own.start()
    assert read(store, sha256) == b"before"
    own.stop()


@pytest.mark.parametrize(
    "changes", [{"blob_secret_key": SecretStr("wrong")}, {"blob_access_key": "nobody"}, {"blob_url": "nowhere"}]
)
def test_what_the_store_refuses_is_an_outage_too(
    bucket_server: BucketServer, tmp_path: Path, changes: dict[str, object]
) -> None:
    """Keys and buckets are the operator's to mend: no audit may fail, and no row go, because of them."""
    url = bucket_server.url("x", str(changes.pop("blob_url", "blobs")))
    store = open_blobs(bucket_settings(url, tmp_path, **changes))
    for name in ("remove", "read", "put", "check"):
        with pytest.raises(BlobStoreError):
            attempts(store)[name]()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """With a tenth of the patience."""
    released = threading.Event()

    def silent(_connection: Connection, _head: str) -> None:
        released.wait(20)

    with outside(silent) as server:
        store = BucketBlobs(
            BucketAddress("blobs", "x", server.url("", "127.0.0.1"), "eu-central-1"),
            BucketKey(ACCESS_KEY, SECRET_KEY),
            spool=tmp_path / "incoming",
            copies=Copies(tmp_path / "copies", 0),
            asking=Patience(connect=0.2, request=0.5, retrying=0.6),
        )
        begun = time.monotonic()
        with pytest.raises(BlobStoreError):
            store.require_answer()
        assert time.monotonic() - begun < 5
        assert len(server.heads) >= 2, "not tried again"
        begun = time.monotonic()
        with pytest.raises(BlobStoreError):
            asyncio.run(seal(store, b"content"))
        assert time.monotonic() - begun < 5
        released.set()


def test_a_bucket_that_is_full_is_told_as_a_full_disk(tmp_path: Path) -> None:
    full = reply(507, b"<Error><Code>XMinioStorageFull</Code></Error>")

    def answer(connection: Connection, head: str) -> None:
        (full if head.startswith("PUT") else reply(404))(connection, head)

    with outside(answer) as server:
        store = open_blobs(bucket_settings(f"s3://blobs/x?endpoint={server.url('', '127.0.0.1')}", tmp_path))
        with pytest.raises(StorageFullError) as caught:
            asyncio.run(put(store, b"content"))
    assert (caught.value.status, caught.value.error_code) == (507, "storage_full")
    assert left_in(store) == []


def test_a_fault_that_passes_is_not_noticed(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(connection: Connection, head: str) -> None:
        asked.append(head.split(" ", maxsplit=1)[0])
        (reply(503, b"<Error><Code>SlowDown</Code></Error>") if len(asked) == 1 else reply(404))(connection, head)

    with outside(answer) as server:
        store = open_blobs(bucket_settings(f"s3://blobs/x?endpoint={server.url('', '127.0.0.1')}", tmp_path))
        assert not store.holds("ab" * 32)
    assert asked == ["HEAD", "HEAD"]


def test_an_artifact_is_read_on_where_the_connection_broke(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    known = {"ETag": '"1"', "Last-Modified": "Mon, 30 Nov 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}
    ranges: list[str] = []

    def answer(connection: Connection, head: str) -> None:
        found = re.search(r"range: (bytes=(\d+)-\d*)", head.lower())
        ranges.append(found[1] if found else head.split(" ", maxsplit=1)[0])
        whole = {"Content-Length": str(len(content))}
        if head.startswith("HEAD"):
            reply(200, headers=known | whole)(connection, head)
        elif found is None:
            reply(200, content[:60_000], headers=known | whole)(connection, head)
        else:
            start = int(found[2])
            span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            reply(206, content[start:], headers=known | span)(connection, head)

    with outside(answer) as server:
        store = open_blobs(bucket_settings(f"s3://blobs/x?endpoint={server.url('', '127.0.0.1')}", tmp_path))
        assert read(store, hashlib.sha256(content).hexdigest()) == content
    assert ranges[:2] == ["HEAD", "GET"] and ranges[2].startswith("bytes=")


def test_a_small_disk_of_the_spool_is_a_full_store(bucket_server: BucketServer, tmp_path: Path) -> None:
    store = open_blobs(bucket_settings(bucket_server.url("x"), tmp_path, disk_reserve_bytes=1 << 60))
    with pytest.raises(StorageFullError):
        store.require_room(1)
    with pytest.raises(StorageFullError):
        asyncio.run(put(store, b"content"))


def test_two_processes_may_make_room_at_the_same_moment(
    bucket_server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One removes a copy that the other has just listed: what the other audits does not fail of it."""
    store = open_blobs(bucket_settings(bucket_server.url(tmp_path.name), tmp_path, blob_cache_bytes=5))
    sha256 = asyncio.run(put(store, b"content")).sha256
    other = tmp_path / "copies" / "copies" / ("ab" * 32)
    other.parent.mkdir(parents=True)
    listed = Path.iterdir

    def changing(folder: Path) -> list[Path]:
        other.touch()
        found = list(listed(folder))
        other.unlink()
        return found

    monkeypatch.setattr(Path, "iterdir", changing)
    assert read(store, sha256) == b"content"
