"""Damages checkpoints, archives, results.csv, YAML and labels at random, and hands each mutant to its reader.

    python -m benchmarks.mutants [--mutants 100000] [--seed 0]

Prints, for each kind, how many were accepted and refused, the slowest, and the readers' peak memory. It ends with an
error if a reader raises anything but an InputError, or if the audit hook sees it execute, import, connect, start a
process, or open a file outside its folder.
"""

from __future__ import annotations

import argparse
import codecs
import io
import random
import resource
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runaudit.errors import InputError
from runaudit.runs.archive import unpack
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.curves import read_curves
from runaudit.runs.labels import parse_labels
from runaudit.runs.safe_yaml import load_yaml
from tests.hostile.archives import zipped
from tests.hostile.pickles import checkpoint, checkpoint_zip, legacy, legacy_parts, network, pickled, weight

EXAMPLE = Path(__file__).parents[1] / "examples" / "runs" / "healthy"
FORBIDDEN = ("exec", "import", "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "ctypes.")


@dataclass
class Tally:
    """What came of one kind of input."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


class Watch:
    """An audit hook that notes what no reader may do. Hooks can't be taken away, so that it is armed and disarmed."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments!r:.120}")
        elif event == "open" and isinstance(arguments[0], str) and self._leaves(arguments[0]):
            self.seen.append(f"open {arguments[0]}")

    def _leaves(self, path: str) -> bool:
        """Whether a path leads out of the folder. Members of archives are opened relative to an open folder inside."""
        return ".." in path.split("/") or (path.startswith("/") and not path.startswith(self.folder))


def _files() -> dict[str, bytes]:
    """The honest inputs, by kind."""
    honest = checkpoint(network(weight(), stride=weight()))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        archive.add(EXAMPLE / "args.yaml", "run/args.yaml")
        archive.add(EXAMPLE / "results.csv", "run/results.csv")
    members = [(f"run/{name}", (EXAMPLE / name).read_bytes()) for name in ("args.yaml", "results.csv")]
    return {
        "checkpoint": checkpoint_zip(pickled(honest)),
        "old checkpoint": legacy(legacy_parts(honest)),
        "pickle": pickled(honest),
        "zip": zipped(members),
        "tar.gz": tar.getvalue(),
        "results.csv": (EXAMPLE / "results.csv").read_bytes()[:3000],
        "args.yaml": (EXAMPLE / "args.yaml").read_bytes(),
        "labels": b"".join(b"%d 0.5 0.25 0.125 0.0625\n" % (number % 4) for number in range(40)),
    }


def _readers(folder: Path) -> dict[str, Callable[[bytes], bool]]:
    """How each kind is read: True if it was accepted."""
    file, target = folder / "input", folder / "out"

    def read_weights(content: bytes) -> bool:
        file.write_bytes(content)
        return read_checkpoint(file, source="best.pt", weights_out=folder / "weights").problem is None

    def read_archive(content: bytes) -> bool:
        file.write_bytes(content)
        try:
            unpack(file, target)
        finally:
            shutil.rmtree(target, ignore_errors=True)
        return True

    def read_table(content: bytes) -> bool:
        file.write_bytes(content)
        return bool(read_curves(file, source="results.csv").epochs)

    return {
        "checkpoint": read_weights,
        "old checkpoint": read_weights,
        # Inside an archive made anew, so that no checksum hides the damage from the reader of pickles.
        "pickle": lambda content: read_weights(checkpoint_zip(content)),
        "zip": read_archive,
        "tar.gz": read_archive,
        "results.csv": read_table,
        "args.yaml": lambda content: bool(load_yaml(content, source="args.yaml").values),
        "labels": lambda content: not parse_labels([content], ["a.txt"], classes=4, keypoint_values=0).rejected,
    }


def mutant(good: bytes, generator: random.Random) -> bytes:
    """`good` with one to six bytes set, and sometimes cut, doubled or spliced."""
    damaged = bytearray(good)
    for _ in range(generator.randint(1, 6)):
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    what, start, end = generator.random(), *sorted(generator.choices(range(len(damaged)), k=2))
    if what < 0.1:
        del damaged[start:]
    elif what < 0.2:
        del damaged[start:end]
    elif what < 0.3:
        damaged[start:start] = damaged[start:end]
    return bytes(damaged)


def main() -> int:
    """Try all mutants and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as name:
        files, readers = _files(), _readers(Path(name))
        for kind, good in files.items():
            if not readers[kind](good):
                raise SystemExit(f"the honest {kind} is refused")
        for kind in files:  # what readers import when they meet damage, they import now
            for _ in range(200):
                _try(readers[kind], mutant(files[kind], generator), Tally())
        for codec in ("raw-unicode-escape", "unicode-escape", "latin-1", "cp437", "utf-8-sig"):
            codecs.lookup(codec)  # the standard library imports these when pickletools or zip names first need them
        watch = Watch(Path(name))
        watch.armed = True
        for number in range(options.mutants):
            kind = list(files)[number % len(files)]
            _try(readers[kind], mutant(files[kind], generator), tallies.setdefault(kind, Tally()))
            if watch.seen:
                watch.armed = False
                sys.stdout.write(f"{kind}, mutant {number}: {watch.seen[0]}\n")
                return 1
        watch.armed = False
    for kind, tally in tallies.items():
        counts = ", ".join(f"{outcome} {count}" for outcome, count in sorted(tally.outcomes.items()))
        sys.stdout.write(f"{kind:<15} {counts}; slowest {tally.slowest:.3f} s\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{options.mutants} mutants: no other exception, no side effect; peak memory {peak:.0f} MiB\n")
    return 0


def _try(read: Callable[[bytes], bool], content: bytes, tally: Tally) -> None:
    start = time.perf_counter()
    try:
        outcome = "accepted" if read(content) else "refused"
    except InputError:
        outcome = "refused"
    tally.slowest = max(tally.slowest, time.perf_counter() - start)
    tally.outcomes[outcome] += 1


if __name__ == "__main__":
    sys.exit(main())
