"""Damaged checkpoints and arbitrary pickles: facts with a problem, or facts; never another exception."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.errors import CheckpointError
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.inert_pickle import read_pickle
from runaudit.runs.pickle_scan import scan_globals
from runaudit.runs.plain_values import plain
from tests.hostile.pickles import (
    Call,
    Name,
    New,
    checkpoint,
    checkpoint_zip,
    legacy,
    legacy_parts,
    network,
    pickled,
    weight,
)


def _rich() -> dict[str, object]:
    """A checkpoint in which every kind of value that the reader understands occurs."""
    scalar = Call(
        Name("numpy.core.multiarray", "scalar"),
        (
            New(Name("numpy", "dtype"), (3, "<", None)),
            Call(Name("_codecs", "encode"), ("\x00" * 6 + "\u00e0?", "latin1")),
        ),
    )
    return checkpoint(
        network(weight(), stride=weight(), _non_persistent_buffers_set=Call(Name("__builtin__", "set"), ([],))),
        best_fitness=scalar,
        train_args={"path": Call(Name("pathlib", "PosixPath"), ("a", "b")), "list": [1, 2.5, None, True, "x", (1, 2)]},
        train_results={"epoch": [1, 2], "loss": [0.5, float("nan")]},
        train_metrics={"fitness": 0.5},
    )


FILES = {"zip": checkpoint_zip(pickled(_rich())), "old": legacy(legacy_parts(_rich()))}


def _read(content: bytes, folder: Path) -> CheckpointFacts:
    path = folder / "best.pt"
    path.write_bytes(content)
    facts = read_checkpoint(path, source="best.pt", weights_out=folder / "weights.safetensors")
    CheckpointFacts.model_validate_json(facts.model_dump_json())
    return facts


@pytest.mark.parametrize("kind", FILES)
def test_the_seed_is_honest(kind: str, tmp_path: Path) -> None:
    facts = _read(FILES[kind], tmp_path)
    assert facts.problem is None and facts.parameters == 4 and facts.stride == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize("kind", FILES)
def test_flipped_bytes(kind: str, tmp_path: Path) -> None:
    """Five hundred mutants of the whole file: most break the zip's checksums and structure."""
    generator = random.Random(3)
    problems = 0
    for _ in range(500):
        mutant = bytearray(FILES[kind])
        for _ in range(generator.randint(1, 4)):
            mutant[generator.randrange(len(mutant))] = generator.randrange(256)
        if generator.random() < 0.1:
            del mutant[generator.randrange(len(mutant)) :]
        facts = _read(bytes(mutant), tmp_path)
        problems += facts.problem is not None
        assert facts.problem is None or facts.problem.code.startswith("checkpoint_")
    assert problems > 250


def test_flipped_bytes_of_the_pickle_inside_a_sound_zip(tmp_path: Path) -> None:
    """Seven hundred mutants that pass the zip's gate and reach the machine."""
    generator = random.Random(5)
    seed = pickled(_rich())
    codes = set()
    for _ in range(700):
        mutant = bytearray(seed)
        for _ in range(generator.randint(1, 3)):
            choice = generator.random()
            at = generator.randrange(2, len(mutant))
            if choice < 0.6:
                mutant[at] = generator.choice(
                    b"(.0125GIJKLMNPQRSTUVX]abcde}hijlopqrstu\x80\x81\x82\x85\x86\x87\x88\x8a\x8b\x92\x93"
                )
            elif choice < 0.8:
                del mutant[at : at + generator.randint(1, 9)]
            else:
                other = generator.randrange(2, len(seed))
                mutant[at:at] = seed[other : other + generator.randint(1, 20)]
        facts = _read(checkpoint_zip(bytes(mutant)), tmp_path)
        codes.add(facts.problem.code if facts.problem else None)
    assert {"checkpoint_pickle", "checkpoint_foreign_globals", None} <= codes


OPCODES = st.sampled_from(
    [bytes([code]) for code in b"(.012NQRab]de}lostu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94)"]
    + [b"K\x01", b"X\x01\x00\x00\x00a", b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"q\x00", b"h\x00"]
    + [b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\ngetattr\n", b"cnumpy.core.multiarray\nscalar\n"]
    + [b"ctorch.nn\nModule\n", b"X\x07\x00\x00\x00storage", b"ctorch\nFloatStorage\n", b"G" + struct.pack(">d", 0.5)]
)


@given(st.lists(OPCODES, max_size=60))
@settings(max_examples=500, deadline=None)
def test_arbitrary_programs(opcodes: list[bytes]) -> None:
    """Any program of real opcodes ends in a value that can be written as JSON, or in a CheckpointError."""
    data = b"\x80\x04" + b"".join(opcodes) + b"."
    try:
        value = read_pickle(data).value
    except CheckpointError as error:
        assert error.error_code.startswith("checkpoint_")
        return
    plain(value)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_arbitrary_bytes(data: bytes) -> None:
    scan_globals(data)
    try:
        plain(read_pickle(data).value)
    except CheckpointError:
        return
