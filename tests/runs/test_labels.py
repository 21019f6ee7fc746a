"""Label files as arrays, judged as the framework judges them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runaudit.runs.label_arrays import LabelArrays, concatenate_labels, read_labels, write_labels
from runaudit.runs.labels import ParsedLabels, parse_labels


def parse(*texts: str | bytes, classes: int = 3, keypoint_values: int = 0) -> ParsedLabels:
    contents = [text.encode() if isinstance(text, str) else text for text in texts]
    names = [f"labels/{index}.txt" for index in range(len(contents))]
    return parse_labels(contents, names, classes=classes, keypoint_values=keypoint_values)


def test_rows_of_several_files_come_in_order() -> None:
    parsed = parse("0 .5 .5 .2 .2\n2 0.1 0.1 1e-1 0.1\n", "", "1 0.5 0.5 1 1")
    assert parsed.file.tolist() == [0, 0, 2]
    assert parsed.cls.tolist() == [0, 2, 1]
    assert parsed.cls.dtype == np.int32
    assert parsed.box.tolist() == [[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 1, 1]]
    assert parsed.rejected == {}


@pytest.mark.parametrize("text", [b"", b"\n", b" \t\r\n\n", b"\xef\xbb\xbf"])
def test_files_without_a_row_have_no_boxes_and_are_not_rejected(text: bytes) -> None:
    parsed = parse(text, text)
    assert len(parsed.cls) == 0
    assert parsed.box.shape == (0, 4)
    assert parsed.rejected == {}
    assert parse().box.shape == (0, 4)


def test_line_ends_tabs_blank_lines_and_a_byte_order_mark_do_not_matter() -> None:
    rows = ["0 0.5 0.5 0.2 0.2", "1\t0.4  0.4\t0.1 0.1 "]
    for end in ("\n", "\r\n", "\r", "\n\n"):
        parsed = parse("\ufeff" + end.join(rows) + end)
        assert parsed.cls.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 0.5 0.5 0.2", "label_columns"),
        ("0 0.5 0.5 0.2 0.2 0.9", "label_columns"),
        ("0 0.5 0.5 0.2 0.2 0.2 0.1 0.1", "label_columns"),
        ("0 320 240 64 64", "label_out_of_bounds"),
        ("0 1.02 0.5 0.2 0.2", "label_out_of_bounds"),
        ("0 nan 0.5 0.2 0.2", "label_out_of_bounds"),
        ("0 0.5 0.5 inf 0.2", "label_out_of_bounds"),
        ("0 -0.02 0.5 0.2 0.2", "label_negative"),
        ("0 0.5 0.5 -0.005 0.2", "label_negative"),
        ("-1 0.5 0.5 0.2 0.2", "label_negative"),
        ("3 0.5 0.5 0.2 0.2", "label_class_unknown"),
        ("1e18 0.5 0.5 0.2 0.2", "label_class_unknown"),
        ("0.5 0.5 0.5 0.2 0.2", "label_class_not_integer"),
        ("nan 0.5 0.5 0.2 0.2", "label_class_not_integer"),
        ("person 0.5 0.5 0.2 0.2", "label_not_a_number"),
        ("0,0.5,0.5,0.2,0.2", "label_not_a_number"),
        ("0 0.5 0.5 0.2.2 0.2", "label_not_a_number"),
        ("0 0.5 0.5 0x1 0.2", "label_not_a_number"),
        ("0 0.5 0.5 0.2 0.2\0", "label_not_a_number"),
        ("0 0.5 0.5 0.2 \uff10.2", "label_not_a_number"),
    ],
)
def test_one_bad_row_drops_the_image_and_is_named(row: str, code: str) -> None:
    good = "0 0.5 0.5 0.2 0.2\n"
    parsed = parse(good, f"{good}\n{row}\n{good}", good)
    assert parsed.file.tolist() == [0, 2]
    assert list(parsed.rejected) == [1]
    assert (parsed.rejected[1].code, parsed.rejected[1].place) == (code, "labels/1.txt:3")


def test_the_tolerance_is_that_of_the_current_release() -> None:
    parsed = parse("0 1.01 -0.01 1.005 0.2\n")
    assert parsed.box.tolist() == [[1.01, -0.01, 1.005, 0.2]]


def test_polygons_become_the_boxes_around_them() -> None:
    parsed = parse("1 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n0 0.2 0.2 0.4 0.3 0.3 0.6\n", "0 0.5 0.5 0.2 0.2")
    assert parsed.polygons == 2
    np.testing.assert_allclose(parsed.box, [[0.3, 0.5, 0.4, 0.6], [0.3, 0.4, 0.2, 0.4], [0.5, 0.5, 0.2, 0.2]])


def test_boxes_and_polygons_in_one_file_drop_the_image() -> None:
    parsed = parse("\n0 0.5 0.5 0.2 0.2\n1 0.1 0.2 0.5 0.2 0.5 0.8\n")
    assert parsed.rejected[0].code == "label_mixed"
    assert parsed.rejected[0].place == "labels/0.txt:2"


def test_keypoints_are_left_out_where_the_data_has_them() -> None:
    row = "0 0.5 0.5 0.2 0.2 0.1 0.1 2 0.3 0.3 0\n"
    assert parse(row, keypoint_values=6).box.tolist() == [[0.5, 0.5, 0.2, 0.2]]


def test_repeated_rows_count_once() -> None:
    box = "0 0.5 0.5 0.2 0.2\n"
    parsed = parse(box * 3 + "1 0.5 0.5 0.2 0.2\n", box)
    assert parsed.file.tolist() == [0, 0, 1]
    assert parsed.duplicates == 2
    first, other = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.3 0.1 0.5\n"
    polygons = parse(first + other + first)
    assert len(polygons.cls) == 2
    assert polygons.duplicates == 1


def test_boxes_without_area_are_kept_and_counted() -> None:
    assert parse("0 0.5 0.5 0 0.2\n").zero_area == 1


def test_a_hundred_thousand_rows_are_parsed() -> None:
    file = "".join(f"{i % 3} 0.{i:03d} 0.5 0.1 0.1\n" for i in range(100))
    assert len(parse(*[file] * 1000).cls) == 100_000


_NUMBER = st.one_of(
    st.floats(-0.02, 1.02).map(lambda x: f"{x:.3f}"),
    st.sampled_from(["0", "1", "0.5", "1.01", "1.02", "-0.01", "nan", "x", "", "1e-3", "0.25"]),
)
_ROW = st.one_of(
    st.tuples(st.sampled_from(["0", "1", "2", "3", "-1", "0.5"]), *[_NUMBER] * 4).map(" ".join),
    st.tuples(st.sampled_from(["0", "1", "2"]), *[st.sampled_from(["0.1", "0.2", "0.9"])] * 6).map(" ".join),
    st.sampled_from(["", "0 0.5 0.5 0.2 0.2", "1 0.5 0.5 0.2 0.2", "0 0.5 0.5"]),
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oracle") / "image.png"
    Image.new("RGB", (32, 24)).save(path)
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_ROW, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_the_framework_judges_the_same(image: Path, rows: list[str], end: str) -> None:
    from ultralytics.data.utils import verify_image_label  # noqa: PLC0415  (seconds to import; only this test needs it)

    label = image.with_suffix(".txt")
    label.write_bytes(end.join(rows).encode())
    verified = verify_image_label((str(image), str(label), "", False, 3, 0, 0, False))
    parsed = parse(label.read_bytes())
    if verified[0] is None:
        assert list(parsed.rejected) == [0]
    else:
        assert parsed.rejected == {}
        theirs = np.asarray(verified[1], np.float32)
        ours = np.column_stack([parsed.cls, parsed.box]).astype(np.float32)
        order = np.lexsort(theirs.T), np.lexsort(ours.T)
        np.testing.assert_allclose(theirs[order[0]], ours[order[1]], atol=1e-6)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_parsed_or_rejected(contents: list[bytes]) -> None:
    parsed = parse(*contents)
    assert len(parsed.file) == len(parsed.cls) == len(parsed.box)
    assert not set(parsed.file.tolist()) & set(parsed.rejected)
    assert np.isfinite(parsed.box).all()


def test_labels_survive_their_file(tmp_path: Path) -> None:
    labels = LabelArrays(np.array([0, 2], np.int32), np.array([1, 0], np.int32), np.array([[0.5, 0.5, 0.1, 1 / 3]] * 2))
    write_labels(tmp_path / "labels.safetensors", labels)
    read = read_labels(tmp_path / "labels.safetensors")
    for name in ("image", "cls", "box"):
        np.testing.assert_array_equal(getattr(read, name), getattr(labels, name))
        assert getattr(read, name).dtype == getattr(labels, name).dtype
    write_labels(tmp_path / "none.safetensors", concatenate_labels([]))
    assert read_labels(tmp_path / "none.safetensors").box.shape == (0, 4)
