"""Which errors mean that memory ran out, and that none of them is taken for a broken image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from runaudit.errors import CheckpointError
from runaudit.evaluation.memory import ran_out_of_memory

TOO_MUCH = 2**50
"""bytes; more than any address space that a machine of today has"""


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(TOO_MUCH, dtype=torch.uint8),
        lambda: np.ones(TOO_MUCH, dtype=np.uint8),
        lambda: bytearray(TOO_MUCH),
        lambda: cv2.resize(np.zeros((1, 1, 3), np.uint8), (2**24, 2**24)),
    ],
    ids=["torch", "numpy", "python", "cv2"],
)
def test_each_library_s_way_to_say_so_is_known(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(Exception) as caught:
        ask()
    assert ran_out_of_memory(caught.value), repr(caught.value)


def test_a_gpu_s_words_are_known_and_other_errors_are_not_taken_for_it() -> None:
    assert ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert ran_out_of_memory(RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"))
    assert ran_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    for ask in (lambda: torch.ones(2) @ torch.ones(3), lambda: cv2.resize(np.zeros((0, 0, 3), np.uint8), (1, 1))):
        with pytest.raises((RuntimeError, cv2.error)) as caught:
            ask()
        assert not ran_out_of_memory(caught.value)


def test_an_error_that_was_made_of_it_is_known_too() -> None:
    """As where a network that can't be built for want of memory is told as one that the framework does not know."""
    with pytest.raises(CheckpointError) as caught:
        try:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        except RuntimeError as error:
            raise CheckpointError("it can't be built", code="architecture_unsupported") from error
    assert ran_out_of_memory(caught.value)
    assert not ran_out_of_memory(CheckpointError("it can't be built"))


SHORT_OF_MEMORY = """
import os, resource, sys
from pathlib import Path
from runaudit.evaluation.images import decode
path = Path(sys.argv[1])
assert decode(path, 3) is not None
used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
try:
    print("an image" if decode(path, 3) is not None else "no image")
except MemoryError:
    print("no memory")
"""


def test_an_image_that_does_not_fit_is_no_broken_image(tmp_path: Path) -> None:
    """Left out as broken it would change the figures without a word."""
    assert cv2.imwrite(str(tmp_path / "large.png"), np.zeros((6000, 6000, 3), np.uint8))
    said = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    )
    assert said.stdout == "no memory\n"


SHORT_WHILE_VERIFYING = """
import os, resource, sys, tempfile
from pathlib import Path
from runaudit.evaluation.image_pixels import flaw_of_image
from runaudit.runs.facts import ImageEntry
path = Path(sys.argv[1])
entry = ImageEntry(file=path.name, split="val", width=6000, height=6000)
with tempfile.TemporaryFile(buffering=0) as complaints, tempfile.TemporaryFile() as lock:
    os.dup2(complaints.fileno(), 2)
    assert flaw_of_image(path, entry, complaints, lock.fileno()) is None
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for spare in (2**24, 2**26, 2**27):
        resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            print(flaw_of_image(path, entry, complaints, lock.fileno()))
        except MemoryError:
            print("no memory")
"""


@pytest.mark.parametrize("kind", ["bmp", "tif", "webp", "jpg"])
def test_an_image_is_not_called_corrupt_for_want_of_memory(tmp_path: Path, kind: str) -> None:
    image = tmp_path / f"large.{kind}"
    assert cv2.imwrite(str(image), np.zeros((6000, 6000, 3), np.uint8))
    said = subprocess.run(
        [sys.executable, "-c", SHORT_WHILE_VERIFYING, str(image)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(said) == 3 and set(said) <= {"no memory", "None"}
    assert kind == "jpg" or said[0] == "no memory", "a JPEG is decoded at an eighth of its size, which fits"
