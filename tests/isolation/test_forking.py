"""Forked children have every wall that a started one has, and end when they must, with whatever they started."""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runaudit.errors import CancelledError, ChildError, ChildTimeoutError, RunNotFoundError
from runaudit.isolation import forking, sandbox
from runaudit.isolation.audit import run_audit
from runaudit.isolation.fork_order import CODE, Order
from runaudit.isolation.forking import Forking
from runaudit.isolation.job import JobFolder, JobSpec, Limits, Progress, Source
from runaudit.isolation.process import child_environment
from runaudit.isolation.sandbox import FIRST_TO_KILL
from runaudit.isolation.supervisor import ShouldStop, run_child
from tests.conftest import wait_until
from tests.worker.children import alive, fork_server, is_walled_in, started_by

pytestmark = pytest.mark.skipif(not forking.can_fork(), reason="this system has no pidfd")


@pytest.fixture(scope="module")
def secret() -> Iterator[str]:
    """A credential in the environment of the process that starts the server."""
    os.environ["RUNAUDIT_DATABASE_URL"] = "postgresql://user:hidden-word@host/db"
    yield "hidden-word"
    del os.environ["RUNAUDIT_DATABASE_URL"]


@pytest.fixture(scope="module")
def fork(secret: str) -> Iterator[Forking]:
    """One server for all tests, as a worker has one."""
    begun = Forking()
    begun.begin()
    yield begun
    begun.close()


def ignore(progress: Progress) -> None:
    """Progress is of no interest here."""


def job(tmp_path: Path, archive: bytes | None = None) -> JobFolder:
    """A job folder; its run is `archive`, or an empty folder."""
    folder = JobFolder(tmp_path / "job")
    folder.root.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    source = Source(kind="folder", path=str(tmp_path / "empty"))
    if archive is not None:
        (tmp_path / "run.zip").write_bytes(archive)
        source = Source(kind="archive", path=str(tmp_path / "run.zip"))
    folder.spec.write_text(JobSpec(run=source, depth="curves").model_dump_json())
    return folder


def ingest(fork: Forking, folder: JobFolder, should_stop: ShouldStop = lambda: False) -> None:
    """Read the run of a job in a forked child, to its end."""
    run_child("ingest", folder, seconds=60, on_progress=ignore, should_stop=should_stop, start=fork.start_child)


def run_archive(model: str = "yolov8n.pt") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("exp/results.csv", "epoch,train/box_loss,metrics/mAP50-95(B)\n1,2,0.1\n2,1,0.2\n")
        archive.writestr("exp/args.yaml", f"task: detect\nmode: train\nmodel: {model}\nepochs: 2\n")
    return packed.getvalue()


def waiting_pipe(tmp_path: Path) -> JobFolder:
    """A job whose run archive is a pipe: a child behind its walls opens it, and waits there for as long as wanted."""
    folder = job(tmp_path, b"")
    (tmp_path / "run.zip").unlink()
    os.mkfifo(tmp_path / "run.zip")
    return folder


def status_of(process_id: int) -> dict[str, str]:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def walled_child() -> int:
    """The child of this process' server, once it is behind its walls."""
    server = fork_server(os.getpid())

    def found() -> list[int]:
        return [child for child in started_by(server) if alive(child) and status_of(child)["Seccomp"] == "2"]

    wait_until(lambda: bool(found()), what="a child behind its walls")
    return found()[0]


def test_a_forked_child_does_what_a_started_one_does(fork: Forking, tmp_path: Path) -> None:
    reports = []
    for name, start in (("forked", {"start": fork.start_child}), ("started", {})):
        folder = job(tmp_path / name, run_archive())
        spec = JobSpec.model_validate_json(folder.spec.read_bytes())
        report = run_audit(spec, folder.root, on_progress=ignore, should_stop=lambda: False, **start)
        plain = report.model_dump(mode="json")
        plain["provenance"].pop("seconds")
        reports.append(plain)
    assert reports[0] == reports[1]
    assert reports[0]["provenance"]["isolation"] == sandbox.active_layers()


def test_a_forked_child_has_every_wall(fork: Forking, tmp_path: Path, secret: str) -> None:
    folder = waiting_pipe(tmp_path)
    child = fork.start_child("ingest", folder)
    try:
        process_id = walled_child()
        proc, status = Path(f"/proc/{process_id}"), status_of(process_id)
        assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
        assert os.getsid(process_id) == process_id
        assert proc.joinpath("cwd").resolve() == folder.home
        assert int(proc.joinpath("oom_score_adj").read_text()) == FIRST_TO_KILL
        limits = Limits()
        assert resource.prlimit(process_id, resource.RLIMIT_AS)[0] <= limits.memory_bytes
        assert resource.prlimit(process_id, resource.RLIMIT_CORE) == (0, 0)
        descriptors = {int(path.name): str(path.readlink()) for path in proc.joinpath("fd").iterdir()}
        assert descriptors[0] == os.devnull
        assert descriptors[1] == descriptors[2] == str(folder.log)
        assert descriptors[3].startswith("pipe:")
        assert set(descriptors.values()) <= {os.devnull, str(folder.log), descriptors[3], str(tmp_path / "run.zip")}
        assert not _remembers(process_id, secret)
        assert _remembers(process_id, str(folder.home)), "the search would not have found it"
    finally:
        child.end()
    assert not alive(process_id)


def _remembers(process_id: int, word: str) -> bool:
    """Whether a word is in the memory that a process may write to: its heap, its stack, its environment."""
    with Path(f"/proc/{process_id}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process_id}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                if word.encode() in memory.read(end - start):
                    return True
    return False


def test_the_server_knows_nothing_and_has_one_thread(fork: Forking, secret: str) -> None:
    server = fork_server(os.getpid())
    proc = Path(f"/proc/{server}")
    assert secret.encode() not in proc.joinpath("environ").read_bytes()
    assert status_of(server)["Threads"] == "1"
    assert "libtorch" not in proc.joinpath("maps").read_text()
    assert "psycopg" not in proc.joinpath("maps").read_text()
    sockets = [path for path in proc.joinpath("fd").iterdir() if str(path.readlink()).startswith("socket:")]
    assert len(sockets) <= 2, "its control socket, and perhaps the standard error that this process has"


def test_a_child_sees_nothing_of_what_another_one_read(fork: Forking, tmp_path: Path) -> None:
    folder = job(tmp_path / "first", run_archive(model="a-word-of-the-first.pt"))
    ingest(fork, folder)
    assert "a-word-of-the-first" in folder.report.read_text()
    child = fork.start_child("ingest", waiting_pipe(tmp_path / "second"))
    try:
        assert not _remembers(walled_child(), "a-word-of-the-first")
    finally:
        child.end()


def test_a_child_is_ended_at_its_deadline_and_on_request(fork: Forking, tmp_path: Path) -> None:
    for name, error, seconds, stop in (("late", ChildTimeoutError, 0, False), ("unwanted", CancelledError, 60, True)):
        with pytest.raises(error):
            run_child(
                "ingest",
                waiting_pipe(tmp_path / name),
                seconds=seconds,
                on_progress=ignore,
                should_stop=lambda stop=stop: stop,
                start=fork.start_child,
            )
        wait_until(lambda: started_by(fork_server(os.getpid())) == [])


def test_how_a_child_ended_is_told_as_of_a_started_one(fork: Forking, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        ingest(fork, job(tmp_path / "empty"))

    def kill() -> bool:
        for child in started_by(fork_server(os.getpid())):
            os.kill(child, signal.SIGKILL)
        return False

    with pytest.raises(ChildError, match="SIGKILL"):
        ingest(fork, waiting_pipe(tmp_path / "killed"), kill)
    broken = job(tmp_path / "broken")
    broken.spec.write_text("{")
    with pytest.raises(ChildError, match="exit code 1"):
        ingest(fork, broken)
    assert "Traceback" in broken.log.read_text()


def test_a_server_that_dies_takes_its_children_and_is_replaced(fork: Forking, tmp_path: Path) -> None:
    child = fork.start_child("ingest", waiting_pipe(tmp_path / "lost"))
    process_id, before = walled_child(), fork_server(os.getpid())
    os.kill(before, signal.SIGKILL)
    assert child.process.wait(10) == -signal.SIGKILL
    wait_until(lambda: not alive(process_id))
    child.end()
    child.end()
    with pytest.raises(RunNotFoundError):
        ingest(fork, job(tmp_path / "next"))
    assert fork_server(os.getpid()) != before


def test_a_server_that_hangs_does_not_keep_its_child_alive(
    fork: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "_END_SECONDS", 0.2)
    child = fork.start_child("ingest", waiting_pipe(tmp_path))
    process_id = walled_child()
    os.kill(fork_server(os.getpid()), signal.SIGSTOP)
    child.end()
    wait_until(lambda: not alive(process_id))


def test_an_old_server_is_replaced_and_ends_with_its_last_child(
    fork: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fork.start_child("ingest", waiting_pipe(tmp_path / "first"))
    old = walled_child()
    server = fork_server(os.getpid())
    monkeypatch.setattr(forking, "LIFETIME_SECONDS", 0.0)
    second = fork.start_child("ingest", waiting_pipe(tmp_path / "second"))
    assert alive(old) and alive(server)
    first.end()
    assert not alive(old)
    wait_until(lambda: not alive(server))
    second.end()


_PARENT = """
import sys, time
from pathlib import Path
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.forking import Forking
child = Forking().start_child("ingest", JobFolder(Path(sys.argv[1])))
print("started", flush=True)
time.sleep(600)
"""


def test_all_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    folder = waiting_pipe(tmp_path)
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(folder.root)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        server = fork_server(parent.pid)
        wait_until(lambda: started_by(server) != [])
        (child,) = started_by(server)
        parent.kill()
    wait_until(lambda: not alive(child) and not alive(server))


_SERVER = """
import os, socket, sys, time
from runaudit.isolation import fork_server
def stray(stage, folder, progress):
    if os.fork() == 0:
        time.sleep(600)
    return 7
fork_server.run(sys.argv[1:], stray)
"""


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = job(tmp_path)
    folder.home.mkdir()
    with ours, theirs:
        command = [sys.executable, "-I", "-c", _SERVER, str(theirs.fileno()), str(os.getpid())]
        server = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        theirs.close()
        line, its_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order = Order(stage="ingest", folder=str(folder.root), environment=child_environment("ingest", folder))
        with line, its_line, folder.log.open("wb") as log:
            socket.send_fds(ours, [order.model_dump_json().encode()], [log.fileno(), log.fileno(), its_line.fileno()])
            its_line.close()
            assert CODE.unpack(line.recv(CODE.size)) == (7,)
            (child,) = started_by(server.pid)
            stray = [
                int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _session(path) == child
            ]
            (stray_id,) = [process_id for process_id in stray if process_id != child]
            assert alive(stray_id)
        wait_until(lambda: not alive(stray_id))
    assert server.wait(10) == 0


def _session(proc: Path) -> int | None:
    try:
        return int(proc.joinpath("stat").read_text().rpartition(")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_a_child_that_ends_while_it_is_being_ended_takes_no_other_with_it(fork: Forking, tmp_path: Path) -> None:
    first = fork.start_child("ingest", waiting_pipe(tmp_path / "first"))
    first_id, server = walled_child(), fork_server(os.getpid())
    second = fork.start_child("ingest", waiting_pipe(tmp_path / "second"))
    ending = threading.Thread(target=first.end)
    try:
        # Both come to the server in one look: its line was closed, and it has ended by itself.
        os.kill(server, signal.SIGSTOP)
        ending.start()
        time.sleep(0.3)
        os.kill(first_id, signal.SIGKILL)
        wait_until(lambda: not alive(first_id))
    finally:
        os.kill(server, signal.SIGCONT)
        ending.join()
    try:
        time.sleep(0.2)
        assert second.process.poll() is None
        assert fork_server(os.getpid()) == server
    finally:
        second.end()


_POOL = """
import subprocess, sys, threading
from pathlib import Path
from runaudit.isolation.folder import JobFolder
from runaudit.isolation.forking import Forking
fork, started = Forking(), []
def want():
    started.append(fork.start_child("ingest", JobFolder(Path(sys.argv[1]))))
    sys.stdin.readline()
thread = threading.Thread(target=want)
thread.start()
thread.join()
try:
    print(started[0].process.wait(1), flush=True)
except subprocess.TimeoutExpired:
    print("runs", flush=True)
started[0].end()
fork.close()
"""


def test_a_server_outlives_the_thread_that_wanted_it(tmp_path: Path) -> None:
    """A thread of a worker's pool does, after an hour, and may end while the others still have audits."""
    command = [sys.executable, "-c", _POOL, str(waiting_pipe(tmp_path).root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        server = fork_server(worker.pid)
        wait_until(lambda: any(map(is_walled_in, started_by(server))))
        said, _ = worker.communicate(b"\n", timeout=20)
    assert said == b"runs\n"
