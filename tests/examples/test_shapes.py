"""The example's data set: the same bytes for a seed, boxes that lie in their images, classes in balance."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from examples.shapes import SHAPES, render


def _digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _labels(root: Path, split: str) -> dict[str, np.ndarray]:
    return {path.stem: np.loadtxt(path, ndmin=2) for path in sorted((root / "labels" / split).iterdir())}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("shapes"), train=24, val=12).parent


def test_a_seed_gives_the_same_bytes_and_another_seed_others(small: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    render(again, train=24, val=12)
    render(other, train=24, val=12, seed=1)
    assert _digests(again) == _digests(small)
    assert not set(_digests(other).values()) & set(_digests(small).values()) - {_digests(small)["data.yaml"]}


def test_no_image_is_in_both_splits(small: Path) -> None:
    digests = {name: digest for name, digest in _digests(small).items() if name.startswith("images")}
    assert len(digests) == 36
    assert len(set(digests.values())) == 36


def test_data_yaml_names_what_was_rendered(small: Path) -> None:
    data = yaml.safe_load((small / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(SHAPES))
    assert len(list((small / data["train"]).iterdir())) == 24
    assert len(list((small / data["val"]).iterdir())) == 12


def test_boxes_lie_in_their_images(small: Path) -> None:
    for split in ("train", "val"):
        for stem, rows in _labels(small, split).items():
            width, height = Image.open(small / "images" / split / f"{stem}.jpg").size
            assert max(width, height) == 160
            assert set(rows[:, 0]) <= set(range(len(SHAPES)))
            half = rows[:, 3:] / 2
            assert (rows[:, 1:3] - half).min() >= -1e-6
            assert (rows[:, 1:3] + half).max() <= 1 + 1e-6
            assert (rows[:, 3:] * [width, height]).min() >= 1


@pytest.mark.slow  # renders the whole data set, which is what the promise is about
def test_every_class_has_more_than_a_hundred_validation_instances(tmp_path: Path) -> None:
    root = render(tmp_path).parent
    for split, fewest in (("train", 250), ("val", 100)):
        counts = Counter(int(row[0]) for rows in _labels(root, split).values() for row in rows)
        assert set(counts) == set(range(len(SHAPES)))
        assert min(counts.values()) > fewest
        assert max(counts.values()) < 1.1 * min(counts.values())
