"""Polygons and keypoints behind the boxes, read and judged as the framework does it for the tasks that need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runaudit.runs.data_options import Geometry
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import LabelArrays, concatenate_labels, read_labels, write_labels
from runaudit.runs.labels import ParsedLabels, parse_labels

TRIANGLE = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"
SQUARE = "1 0.2 0.2 0.6 0.2 0.6 0.6 0.2 0.6\n"


def parse(*texts: str, geometry: Geometry, points: int = 0, dimensions: int = 0) -> ParsedLabels:
    return parse_labels(
        [text.encode() for text in texts],
        [f"labels/{index}.txt" for index in range(len(texts))],
        classes=3,
        keypoint_values=points * dimensions,
        dimensions=dimensions,
        geometry=geometry,
    )


def polygons_of(labels: ParsedLabels | LabelArrays) -> list[list[list[float]]]:
    assert labels.points is not None
    assert labels.point_start is not None
    parts = np.split(labels.points, labels.point_start[1:-1])
    return [part.astype(float).round(4).tolist() for part in parts]


def test_polygons_stand_beside_their_boxes() -> None:
    parsed = parse(TRIANGLE + SQUARE, "", TRIANGLE, geometry="polygons")
    assert parsed.file.tolist() == [0, 0, 2]
    assert polygons_of(parsed) == [
        [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]],
        [[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]],
        [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]],
    ]
    assert parsed.points is not None
    assert parsed.points.dtype == np.float32


def test_a_file_of_boxes_has_no_points_and_a_mixed_one_is_dropped() -> None:
    parsed = parse("0 0.5 0.5 0.2 0.2\n", TRIANGLE, TRIANGLE + "0 0.5 0.5 0.2 0.2\n", geometry="polygons")
    assert parsed.point_start is not None
    assert np.diff(parsed.point_start).tolist() == [0, 3]
    assert parsed.rejected[2].code == "label_mixed"


def test_repeated_polygons_count_once_with_their_points() -> None:
    parsed = parse(TRIANGLE + SQUARE + TRIANGLE, geometry="polygons")
    assert parsed.duplicates == 1
    assert [len(polygon) for polygon in polygons_of(parsed)] == [3, 4]


def test_keypoints_of_three_and_of_two_values() -> None:
    three = parse("1 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n", geometry="keypoints", points=2, dimensions=3)
    assert three.keypoints is not None
    assert three.keypoints.tolist() == [[[np.float32(0.4)] * 2 + [2.0], [np.float32(0.6)] * 2 + [0.0]]]
    two = parse("1 0.5 0.5 0.2 0.2 0.4 0.4 0.6 0.6\n", geometry="keypoints", points=2, dimensions=2)
    assert two.keypoints is not None
    assert two.keypoints.shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 0.5 0.5 0.2 0.2", "label_columns"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 2", "label_columns"),
        ("0 0.5 0.5 0.2 0.2 1.02 0.4 2 0.6 0.6 2", "label_out_of_bounds"),
        ("0 0.5 0.5 0.2 0.2 0.4 nan 2 0.6 0.6 2", "label_out_of_bounds"),
        ("0 0.5 0.5 0.2 0.2 -0.02 0.4 2 0.6 0.6 2", "label_negative"),
        ("0 0.5 0.5 0.2 0.2 0.4 0.4 -1 0.6 0.6 2", "label_negative"),
        ("0 0.5 0.5 -0.005 0.2 0.4 0.4 2 0.6 0.6 2", "label_negative"),
        ("3 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 2", "label_class_unknown"),
    ],
)
def test_keypoint_rows_that_drop_their_image(row: str, code: str) -> None:
    assert parse(row, geometry="keypoints", points=2, dimensions=3).rejected[0].code == code


def test_of_a_pose_row_the_keypoints_must_lie_in_the_image_and_the_box_need_not() -> None:
    assert not parse("0 1.2 0.5 0.2 0.2 0.4 0.4 2\n", geometry="keypoints", points=1, dimensions=3).rejected


_VALUE = st.sampled_from(["0.1", "0.5", "0.9", "1.01", "1.02", "-0.005", "-0.02", "0", "1", "nan"])
_CLASS = st.sampled_from(["0", "1", "2", "3"])
_PLAIN = st.sampled_from(["0.1", "0.2", "0.5", "0.9", "1.0"])
_POSE_ROW = st.tuples(_CLASS, *[_PLAIN] * 4, *[_VALUE] * 4).map(" ".join)
_POLYGON_ROW = st.integers(1, 5).flatmap(lambda points: st.tuples(_CLASS, *[_PLAIN] * 2 * points).map(" ".join))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "image.png"
    Image.new("RGB", (32, 24)).save(path)
    return path


def verified(image: Path, rows: list[str], points: int, dimensions: int) -> Any:
    from ultralytics.data.utils import verify_image_label  # noqa: PLC0415  (seconds to import)

    label = image.with_suffix(".txt")
    label.write_text("\n".join(rows))
    return verify_image_label((str(image), str(label), "", points > 0, 3, points, dimensions, False))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(_POSE_ROW, st.just("0 0.5 0.5 0.2 0.2")), max_size=4), st.sampled_from([(2, 2), (1, 3)]))
def test_the_framework_judges_keypoints_the_same(image: Path, rows: list[str], shape: tuple[int, int]) -> None:
    points, dimensions = shape
    rows = [" ".join(row.split()[: 5 + points * dimensions]) for row in rows]
    theirs = verified(image, rows, points, dimensions)
    ours = parse("\n".join(rows), geometry="keypoints", points=points, dimensions=dimensions)
    assert (theirs[0] is None) == bool(ours.rejected)
    if theirs[0] is not None:
        assert ours.keypoints is not None
        mine = np.column_stack([ours.cls, ours.box, ours.keypoints[..., :2].reshape(len(ours.cls), 2 * points)])
        other = np.column_stack([theirs[1], theirs[4][..., :2].reshape(len(theirs[1]), 2 * points)])
        assert sorted(mine.astype(np.float32).tolist()) == sorted(other.tolist())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_POLYGON_ROW, max_size=4))
def test_the_framework_reads_the_same_polygons(image: Path, rows: list[str]) -> None:
    theirs = verified(image, rows, 0, 0)
    ours = parse("\n".join(rows), geometry="polygons")
    assert (theirs[0] is None) == bool(ours.rejected)
    if theirs[0] is not None and len(theirs[3]):
        mine = sorted(zip(ours.cls.tolist(), polygons_of(ours), strict=True))
        classes = theirs[1][:, 0].astype(int).tolist()
        assert mine == sorted(zip(classes, [part.astype(float).round(4).tolist() for part in theirs[3]], strict=True))


_TOKEN = st.sampled_from(["0", "1", "0.5", "-0.005", "2", "nan", "inf", "-inf", "1e39", "x", "", "1.01"])


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.lists(_TOKEN, max_size=9).map(lambda t: " ".join(t).encode()))),
    st.sampled_from(["polygons", "keypoints"]),
    st.sampled_from([(0, 0), (1, 2), (2, 3)]),
)
def test_any_bytes_are_parsed_or_rejected(contents: list[bytes], geometry: Geometry, shape: tuple[int, int]) -> None:
    names = [f"{index}.txt" for index in range(len(contents))]
    points, dimensions = shape
    parsed = parse_labels(
        contents, names, classes=3, keypoint_values=points * dimensions, dimensions=dimensions, geometry=geometry
    )
    assert len(parsed.file) == len(parsed.cls) == len(parsed.box)
    if geometry == "polygons":
        assert parsed.point_start is not None
        assert parsed.points is not None
        assert len(parsed.point_start) == len(parsed.cls) + 1
        assert parsed.point_start[-1] == len(parsed.points)
        assert np.isfinite(parsed.points).all()
    elif points:
        assert parsed.keypoints is not None
        assert parsed.keypoints.shape == (len(parsed.cls), points, dimensions)
        assert np.isfinite(parsed.keypoints[..., :2]).all()


def test_geometry_survives_joining_and_its_file(tmp_path: Path) -> None:
    parts = [parse(text, geometry="polygons") for text in (TRIANGLE, "", SQUARE + TRIANGLE)]
    arrays = [
        LabelArrays(part.file.astype(np.int32), part.cls, part.box, part.points, part.point_start) for part in parts
    ]
    write_labels(tmp_path / "labels.safetensors", concatenate_labels(arrays))
    read = read_labels(tmp_path / "labels.safetensors")
    assert [len(polygon) for polygon in polygons_of(read)] == [3, 4, 3]
    assert read.keypoints is None


def test_a_data_set_is_read_with_the_geometry_that_the_task_needs(tmp_path: Path) -> None:
    for split, text in (("train", TRIANGLE), ("val", SQUARE + TRIANGLE)):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for name, content in (("a", text), ("b", "0 0.5 0.5 0.2 0.2\n")):
            Image.new("RGB", (32, 24)).save(tmp_path / "images" / split / f"{name}.jpg")
            (tmp_path / "labels" / split / f"{name}.txt").write_text(content)
    data = tmp_path / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [a, b]\nkpt_oks_sigmas: [0.1, .nan, x]\n")
    facts, index, labels = read_dataset(tmp_path, data, own_machine=False, geometry="polygons")
    assert [len(polygon) for polygon in polygons_of(labels)] == [3, 0, 4, 3, 0]
    assert facts.splits["val"].rows_without_outline == 1
    assert "label_without_outline" in [note.code for note in facts.splits["val"].notes]
    assert index.keypoint_sigmas[0] == 0.1
    assert np.isnan(index.keypoint_sigmas[1:]).all()
    facts, _, labels = read_dataset(tmp_path, data, own_machine=False)
    assert labels.points is None
    assert facts.splits["val"].rows_without_outline == 0
