"""Looks at every byte of every image of a data set, to find those whose header is sound and whose pixels are not.

By the files' structure (`runs.image_faults`), or by decoding them as the framework does. A PNG is decoded in neither
case: it carries a checksum of each of its parts, by which whatever happened to it since it was written is found in a
twentieth of the time.

Done in processes of its own: the decoders are C code and the files are strangers', so that one which brings a decoder
down costs its process and nothing else; what libjpeg complains of goes to standard error, which only a process can keep
apart; and reading, unlike the framework's threads, then uses all cores. Nothing is written into the data.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import selectors
import signal
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from runaudit.runs.data_options import Verification
from runaudit.runs.facts import ImageEntry, ImageIndex
from runaudit.runs.image_faults import Flawed, fault_of

OnImages = Callable[[int], None]
"""called with how many more images are done"""

MOST_PROCESSES: Final = 8
"""A process may hold an image of 500 MB; ultralytics scans with at most 8 threads (utils/__init__.py, NUM_THREADS)."""
_REPORT_EVERY: Final = 64
UNVERIFIED: Final = "image_unverified"
"""the flaw of an image that nothing is known of: there was no memory to look at it"""
_SLOT: Final = struct.Struct("<q")


def verify_images(
    index: ImageIndex, depth: Verification, *, processes: int | None = None, on_images: OnImages
) -> dict[int, Flawed]:
    """Verify all images of `index`; returns those that are flawed by their position in it.

    With depth `files` they are told by the structure of the files, with `pixels` by decoding them too.

    `image_undecodable`: the framework's decoder gives nothing, or broke down; a PNG that has not all its parts, whole.
    `image_damaged`: the decoder gives a picture and complains that data are missing or corrupt (JPEG only: the other
    decoders then give nothing).
    `image_size_differs`: the picture has another size than the header promised, EXIF applied.
    `image_unverified`: memory ran out, so that it was not looked at; such an image is no broken one.

    `processes` defaults to the number of cores, 8 at most. Large images are decoded one at a time.

    Raises RuntimeError in a process with several threads: they are forked from this one, and a lock that another thread
    holds would stay held in them for ever.
    """
    if _threads() > 1:
        raise RuntimeError("Images are verified by forked processes; this process has several threads.")
    count = min(processes or _cores(), MOST_PROCESSES, max(1, len(index.images)))
    with _shared_lock() as lock:
        crew = _Crew(index, _judge(depth), lock, on_images)
        # Shuffled: images of one kind often lie together, or in turns.
        order = list(range(len(index.images)))
        random.Random(0).shuffle(order)  # noqa: S311 - nothing secret
        for number in range(count):
            crew.start(order[number::count])
        crew.wait()
    return dict(sorted(crew.flawed.items()))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    """Threads of this process, those of C libraries included; 1 where that can't be told."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


def flaw_of_file(path: Path) -> Flawed | None:
    """What the structure of the file at `path` tells; None if nothing is wrong."""
    try:
        with path.open("rb", buffering=0) as file:
            return fault_of(file, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
        return Flawed("image_undecodable", f"It can't be read ({type(error).__name__}).")


def _judge(depth: Verification) -> Callable[[Path, ImageEntry, BinaryIO, int], Flawed | None]:
    """The function that judges an image; it also gets the file of complaints and the lock for large images."""
    if depth == "files":
        return lambda path, entry, complaints, lock: flaw_of_file(path)
    from runaudit.evaluation.image_pixels import flaw_of_image  # noqa: PLC0415 - depth `files` needs no decoder

    return flaw_of_image


@dataclass
class _Hand:
    """A process that decodes: its images, where it writes, and the slot that names the one it is at."""

    process: int
    reading: int
    positions: Sequence[int]
    slot: mmap.mmap
    rest: bytes = b""


@dataclass
class _Crew:
    """The processes, and what they have found."""

    index: ImageIndex
    judge: Callable[[Path, ImageEntry, BinaryIO, int], Flawed | None]
    lock: int
    on_images: OnImages
    flawed: dict[int, Flawed] = field(default_factory=dict)
    hands: dict[int, _Hand] = field(default_factory=dict)

    def start(self, positions: Sequence[int]) -> None:
        """Have a new process decode the images at `positions`."""
        slot = mmap.mmap(-1, _SLOT.size)
        _SLOT.pack_into(slot, 0, -1)
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            _work(self, positions, writing, slot)
        os.close(writing)
        self.hands[reading] = _Hand(process, reading, positions, slot)

    def wait(self) -> None:
        """Take what the processes write until all have ended; the images of one that broke down go to another."""
        try:
            with selectors.DefaultSelector() as selector:
                while self.hands:
                    for reading in self.hands.keys() - selector.get_map().keys():
                        selector.register(reading, selectors.EVENT_READ)
                    for key, _ in selector.select():
                        hand = self.hands[key.fd]
                        if not self._take(hand):
                            selector.unregister(key.fd)
                            self._end(hand)
        finally:
            for hand in self.hands.values():
                os.kill(hand.process, signal.SIGKILL)
                os.waitpid(hand.process, 0)
                os.close(hand.reading)

    def _take(self, hand: _Hand) -> bool:
        """Take what a process has written; False if it writes no more."""
        chunk = os.read(hand.reading, 1 << 16)
        *lines, hand.rest = (hand.rest + chunk).split(b"\n")
        for line in lines:
            done, position, flaw, detail = json.loads(line)
            if flaw:
                self.flawed[position] = Flawed(flaw, detail)
            else:
                self.on_images(done)
        return bool(chunk)

    def _end(self, hand: _Hand) -> None:
        """Bury a process. The image that killed it is noted, and a new one begins behind it."""
        del self.hands[hand.reading]
        os.close(hand.reading)
        _, status = os.waitpid(hand.process, 0)
        at = _SLOT.unpack_from(hand.slot, 0)[0]
        hand.slot.close()
        if status == 0:
            return
        if at not in hand.positions:
            raise ChildProcessError(f"A process that decodes images ended with status {status}.")
        # The kernel ends processes with SIGKILL where the machine has no memory left.
        killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        self.flawed[at] = (
            _unverified() if killed else Flawed("image_undecodable", "The framework's decoder breaks down on it.")
        )
        rest = hand.positions[hand.positions.index(at) + 1 :]
        if rest:
            self.start(rest)


def _work(crew: _Crew, positions: Sequence[int], writing: int, slot: mmap.mmap) -> NoReturn:
    """What a process does: decode its images, write of the flawed ones and, now and then, how many are done."""
    status = 1
    try:
        with tempfile.TemporaryFile(buffering=0) as complaints:
            os.dup2(complaints.fileno(), 2)
            root, done = Path(crew.index.root), 0
            for position in positions:
                _SLOT.pack_into(slot, 0, position)
                entry = crew.index.images[position]
                try:
                    flawed = crew.judge(root / entry.file, entry, complaints, crew.lock)
                except MemoryError:
                    flawed = _unverified()
                if flawed is not None:
                    _write(writing, (0, position, flawed.flaw, flawed.detail))
                done += 1
                if done == _REPORT_EVERY:
                    _write(writing, (done, 0, "", ""))
                    done = 0
            _write(writing, (done, 0, "", ""))
        status = 0
    finally:
        # Nothing of the parent's may be done twice: neither its clean-up nor what it has buffered.
        os._exit(status)


def _unverified() -> Flawed:
    return Flawed(UNVERIFIED, "There was no memory to look at it.")


def _write(writing: int, message: tuple[int, int, str, str]) -> None:
    os.write(writing, json.dumps(message).encode() + b"\n")


@contextmanager
def _shared_lock() -> Iterator[int]:
    """A file that processes lock against each other."""
    with tempfile.TemporaryFile() as file:
        yield file.fileno()
