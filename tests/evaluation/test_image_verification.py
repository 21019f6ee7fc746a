"""Images looked at whole: what is found, that nothing is written, and that a decoder that fails costs one image."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runaudit.runs.facts import ImageEntry, ImageIndex
from runaudit.runs.image_faults import fault_of

SIZE = (160, 120)
RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    NOISE.save(file, kind, **options)
    return file.getvalue()


JPEG, PNG, WEBP = encoded("JPEG"), encoded("PNG"), encoded("WEBP")
PROGRESSIVE = encoded("JPEG", progressive=True)
RESTARTS = encoded("JPEG", restart_marker_rows=1)


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


SOUND = {
    "plain.jpg": JPEG,
    "progressive.jpg": PROGRESSIVE,
    "restarts.jpg": RESTARTS,
    "padded.jpg": JPEG + bytes(500),
    "filled.jpg": JPEG[:-2] + b"\xff\xff\xff\xd9",
    "film_behind.jpg": JPEG + b"\0\0\0\x18ftypmp42" + JPEG,
    "plain.png": PNG,
    "padded.png": PNG + bytes(500),
    "plain.webp": WEBP,
    "plain.bmp": encoded("BMP"),
    "plain.tif": encoded("TIFF"),
}
BY_STRUCTURE = {
    "cut.jpg": (JPEG[: len(JPEG) // 2], "image_undecodable"),
    "no_end.jpg": (JPEG[:-2], "image_undecodable"),
    "cut_progressive.jpg": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "image_undecodable"),
    "other_mark.jpg": (changed(JPEG, len(JPEG) // 2, b"\xff\xc0"), "image_damaged"),
    "cut.png": (PNG[: len(PNG) // 2], "image_undecodable"),
    "no_end.png": (PNG[:-12], "image_undecodable"),
    "flipped.png": (changed(PNG, len(PNG) // 2, b"U" if PNG[len(PNG) // 2] != ord("U") else b"V"), "image_undecodable"),
    "cut.webp": (WEBP[:-100], "image_undecodable"),
}
BY_PIXELS = {
    "zeros.jpg": (changed(JPEG, len(JPEG) // 2, bytes(2000)), "image_damaged"),
    "cut_and_closed.jpg": (JPEG[: len(JPEG) // 2] + b"\xff\xd9", "image_damaged"),
    "cut_and_closed.webp": (changed(WEBP[:2000], 4, (2000 - 8).to_bytes(4, "little")), "image_undecodable"),
    "cut.bmp": (encoded("BMP")[: SIZE[0] * 100], "image_undecodable"),
}


def data(root: Path, contents: dict[str, bytes]) -> ImageIndex:
    for name, content in contents.items():
        (root / name).write_bytes(content)
    entries = tuple(ImageEntry(file=name, split="val", width=SIZE[0], height=SIZE[1]) for name in contents)
    return ImageIndex(root=str(root), images=entries)


VERIFY = """
import json, sys
from runaudit.evaluation.image_verification import verify_images
from runaudit.runs.facts import ImageIndex
{before}
index = ImageIndex.model_validate_json(sys.stdin.read())
done = []
found = verify_images(index, sys.argv[1], processes=int(sys.argv[2]), on_images=done.append)
print(json.dumps([sum(done), {{index.images[at].file: list(flawed) for at, flawed in found.items()}}]))
"""


def verified(index: ImageIndex, depth: str, *, before: str = "", processes: int = 2) -> tuple[int, dict[str, str]]:
    """Images done, and the flaws by file; in a process of its own, as in an audit: this one has threads."""
    done = subprocess.run(
        [sys.executable, "-c", VERIFY.format(before=before), depth, str(processes)],
        input=index.model_dump_json(),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    images, flawed = json.loads(done.stdout)
    return images, {file: flaw for file, (flaw, _) in flawed.items()}


@pytest.mark.parametrize("depth", ["files", "pixels"])
def test_flawed_images_are_found_and_sound_ones_are_not(tmp_path: Path, depth: str) -> None:
    flawed = BY_STRUCTURE | (BY_PIXELS if depth == "pixels" else {})
    contents = SOUND | {name: content for name, (content, _) in flawed.items()}
    images, found = verified(data(tmp_path, contents), depth)
    assert images == len(contents)
    assert found == {name: flaw for name, (_, flaw) in flawed.items()}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == contents


def test_structure_alone_does_not_see_what_only_decoding_does(tmp_path: Path) -> None:
    _, found = verified(data(tmp_path, {name: content for name, (content, _) in BY_PIXELS.items()}), "files")
    assert found == {}


def test_all_that_the_framework_s_scan_finds_is_found(tmp_path: Path) -> None:
    """Pillow's verify and the end mark: ultralytics 8.4.190, data/utils.py, check_image."""
    for name, (content, _) in BY_STRUCTURE.items():
        try:
            with Image.open(io.BytesIO(content)) as image:
                kind = image.format
                image.verify()
            found = kind == "JPEG" and content[-2:] != b"\xff\xd9"
        except Exception:
            found = True
        path = tmp_path / name
        path.write_bytes(content)
        with path.open("rb", buffering=0) as file:
            assert not found or fault_of(file, len(content)) is not None, name


def test_a_picture_of_another_size_than_promised_is_told(tmp_path: Path) -> None:
    index = data(tmp_path, {"a.jpg": JPEG, "b.webp": WEBP})
    entries = tuple(entry.model_copy(update={"width": 120, "height": 160}) for entry in index.images)
    _, found = verified(index.model_copy(update={"images": entries}), "pixels")
    assert found == {"a.jpg": "image_size_differs", "b.webp": "image_size_differs"}


@pytest.mark.parametrize(
    ("how", "flaw"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "image_undecodable"),
        ("raise KeyError", "image_undecodable"),
        ("raise MemoryError", "image_unverified"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "image_unverified"),
    ],
)
def test_an_image_that_brings_its_process_down_costs_no_other(tmp_path: Path, how: str, flaw: str) -> None:
    contents = {f"{number:02d}.jpg": JPEG for number in range(20)} | {"cut.jpg": JPEG[:-2]}
    before = f"""
import os, signal
import runaudit.evaluation.image_verification as verification
sound = verification.flaw_of_file
def bad(path):
    if path.name in ("07.jpg", "08.jpg"):
        {how}
    return sound(path)
verification.flaw_of_file = bad
"""
    _, found = verified(data(tmp_path, contents), "files", before=before)
    assert found == {"07.jpg": flaw, "08.jpg": flaw, "cut.jpg": "image_undecodable"}


def test_a_data_set_without_images_has_none_flawed(tmp_path: Path) -> None:
    assert verified(data(tmp_path, {}), "pixels") == (0, {})


def test_a_process_with_several_threads_is_refused(tmp_path: Path) -> None:
    before = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        verified(data(tmp_path, {"a.jpg": JPEG}), "files", before=before)
    assert "this process has several threads" in caught.value.stderr


def test_mutants_of_images_end_in_an_answer(tmp_path: Path) -> None:
    """Random bytes, cuts and repeats in each format: sound or flawed, never an exception."""
    kinds = {"jpg": JPEG, "png": PNG, "webp": WEBP}
    kinds |= {"tif": encoded("TIFF"), "bmp": encoded("BMP"), "jp2": encoded("JPEG2000")}
    contents = {}
    for kind, content in kinds.items():
        for number in range(60):
            at = int(RNG.integers(2, len(content)))
            new = RNG.integers(0, 256, int(RNG.integers(1, 64)), dtype=np.uint8).tobytes()
            mutant = changed(content, at, new)
            contents[f"{number}.{kind}"] = mutant[: int(RNG.integers(0, len(mutant)))] if number % 3 == 0 else mutant
    images, found = verified(data(tmp_path, contents), "pixels")
    assert images == len(contents)
    assert len(found) >= len(contents) / 3
    assert set(found.values()) <= {"image_undecodable", "image_damaged", "image_size_differs"}
