"""Fingerprints of images that no pass goes over: decoded small, in threads, or by their bytes alone."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.image_properties import (
    LONGER_SIDE,
    Fingerprint,
    Fingerprints,
    fingerprint,
    joined_fingerprints,
)
from runaudit.evaluation.images import LARGE_PIXELS, MOST_PIXELS, Pixels, decoded, read_bytes
from runaudit.evaluation.memory import ran_out_of_memory
from runaudit.runs.facts import ImageEntry

_REDUCED: Final = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_JPEG: Final = (".jpg", ".jpeg")
_MOST_THREADS: Final = 8


def fingerprints(
    entries: Sequence[ImageEntry], root: Path, *, on_images: Callable[[int], None] | None = None
) -> tuple[NDArray[np.intp], Fingerprints]:
    """The fingerprints of those images that can be decoded: their positions in `entries`, rising, and one each."""
    lock = threading.Lock()
    found: list[tuple[int, Fingerprint]] = []
    with ThreadPoolExecutor(max_workers=_threads(), thread_name_prefix="fingerprint") as pool:
        for position, one in enumerate(pool.map(lambda entry: _fingerprint(entry, root, lock), entries)):
            if one is not None:
                found.append((position, one))
            if on_images is not None:
                on_images(position + 1)
    return np.array([position for position, _ in found], dtype=np.intp), joined_fingerprints([one for _, one in found])


def digests(files: Sequence[Path]) -> list[bytes | None]:
    """BLAKE2b of each file's bytes as `Fingerprint.digest` has it; None for a file that can't be read."""
    with ThreadPoolExecutor(max_workers=_threads(), thread_name_prefix="digest") as pool:
        return list(pool.map(_digest, files))


def file_sizes(entries: Sequence[ImageEntry], root: Path) -> NDArray[np.int64]:
    """Bytes of each image's file; -1 where it can't be asked."""
    return np.array([_size(root / entry.file) for entry in entries], dtype=np.int64)


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> bytes | None:
    content = read_bytes(path)
    return None if content is None else hashlib.blake2b(content.tobytes(), digest_size=16).digest()


def _fingerprint(entry: ImageEntry, root: Path, lock: threading.Lock) -> Fingerprint | None:
    header = entry.width * entry.height
    if header > MOST_PIXELS:
        return None
    content = read_bytes(root / entry.file)
    if content is None:
        return None
    with lock if header > LARGE_PIXELS else nullcontext():
        pixels = _small(content, entry, root / entry.file)
        return None if pixels is None else fingerprint(pixels, content)


def _small(content: NDArray[np.uint8], entry: ImageEntry, path: Path) -> Pixels | None:
    """The image; a JPEG as small as its decoder can leave it with LONGER_SIDE pixels or more."""
    times = max(entry.width, entry.height) // LONGER_SIDE
    flag = next((flag for by, flag in _REDUCED.items() if by <= times), None)
    if flag is not None and path.suffix.lower() in _JPEG:
        try:
            pixels: Pixels | None = cv2.imdecode(content, flag)
        except cv2.error as error:
            if ran_out_of_memory(error):
                raise MemoryError("There is no memory for an image.") from error
            pixels = None
        if pixels is not None:
            return pixels
    return decoded(content, path, 3)
