"""results.csv of every generation, and every way in which such a file is damaged."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.errors import CurvesError
from runaudit.runs.curves import Results, read_curves, read_results

V5 = (
    "epoch,train/box_loss,train/obj_loss,train/cls_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,"
    "metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss,x/lr0,x/lr1,x/lr2"
)
V9 = V5.replace("obj_loss", "dfl_loss")
EARLY = (
    "epoch,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),"
    "metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
)
LATE = EARLY.replace("epoch,", "epoch,time,")
V26_POSE = (
    "epoch,time,train/box_loss,train/pose_loss,train/kobj_loss,train/cls_loss,train/l1_loss,train/rle_loss,"
    "metrics/precision(B),metrics/recall(B),metrics/mAP50(B),metrics/mAP50-95(B),metrics/precision(P),"
    "metrics/recall(P),metrics/mAP50(P),metrics/mAP50-95(P),val/box_loss,val/pose_loss,val/kobj_loss,val/cls_loss,"
    "val/l1_loss,val/rle_loss," + ",".join(f"lr/pg{i}" for i in range(8))
)
CLASSIFY = "epoch,time,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0,lr/pg1,lr/pg2"
V5_CLASSIFY = "epoch,train/loss,test/loss,metrics/accuracy_top1,metrics/accuracy_top5,lr/0"
OBB_FORK = V5.replace("metrics/mAP_0.5:0.95", "metrics/HBBmAP.5:.95").replace("metrics/mAP_0.5", "metrics/HBBmAP.5")
SEGMENT = LATE.replace(
    "metrics/mAP50-95(B),",
    "metrics/mAP50-95(B),metrics/precision(M),metrics/recall(M),metrics/mAP50(M),metrics/mAP50-95(M),",
)
for _part in ("train", "val"):
    SEGMENT = SEGMENT.replace(f"{_part}/cls_loss", f"{_part}/seg_loss,{_part}/cls_loss")


def padded(line: str) -> str:
    return ",".join(f"{cell:>23}" for cell in line.split(","))


def rows(header: str, epochs: range) -> list[str]:
    width = header.count(",")
    return [",".join([str(epoch), *(str(round(epoch + i / 100, 2)) for i in range(width))]) for epoch in epochs]


def read(tmp_path: Path, text: str | bytes) -> Results:
    path = tmp_path / "results.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_results(path, source="results.csv")


@pytest.mark.parametrize(
    ("header", "first", "dialect", "losses", "metrics", "groups"),
    [
        (V5, 0, "yolov5", ["box", "obj", "cls"], ["precision", "recall", "map50", "map50_95"], 3),
        (V9, 0, "yolov9", ["box", "dfl", "cls"], ["precision", "recall", "map50", "map50_95"], 3),
        (OBB_FORK, 0, "yolov5", ["box", "obj", "cls"], ["precision", "recall", "map50", "map50_95"], 3),
        (EARLY, 0, "ultralytics", ["box", "cls", "dfl"], ["precision", "recall", "map50", "map50_95"], 3),
        (EARLY, 1, "ultralytics", ["box", "cls", "dfl"], ["precision", "recall", "map50", "map50_95"], 3),
        (LATE, 1, "ultralytics", ["box", "cls", "dfl"], ["precision", "recall", "map50", "map50_95"], 3),
        (CLASSIFY, 1, "ultralytics", ["loss"], ["top1", "top5"], 3),
        (V5_CLASSIFY, 0, "yolov5", ["loss"], ["top1", "top5"], 1),
        (
            SEGMENT,
            1,
            "ultralytics",
            ["box", "seg", "cls", "dfl"],
            [p + m for p in ("", "mask/") for m in ("precision", "recall", "map50", "map50_95")],
            3,
        ),
        (
            V26_POSE,
            1,
            "ultralytics",
            ["box", "pose", "kobj", "cls", "l1", "rle"],
            [p + m for p in ("", "pose/") for m in ("precision", "recall", "map50", "map50_95")],
            8,
        ),
    ],
)
def test_every_generation_is_told_apart_by_meaning(
    tmp_path: Path, header: str, first: int, dialect: str, losses: list[str], metrics: list[str], groups: int
) -> None:
    lines = [padded(line) for line in (header, *rows(header, range(first, first + 3)))]
    results = read(tmp_path, "\r\n".join(lines) + "\r\n")
    curves = results.curves
    assert (results.dialect, results.first_epoch, results.notes) == (dialect, first, ())
    assert curves.epochs == (1, 2, 3)
    assert curves.lines == (2, 3, 4)
    assert list(curves.train_losses) == losses
    assert list(curves.val_losses) == losses
    assert list(curves.metrics) == metrics
    assert list(curves.learning_rates) == [f"pg{i}" for i in range(groups)]
    assert (curves.seconds is not None) == ("time" in header)
    assert curves.other == {}
    column = header.split(",").index("train/box_loss" if "box" in losses else "train/loss")
    assert curves.train_losses[losses[0]][1] == round(first + 1 + (column - 1) / 100, 2)


def test_a_yolov5_file_that_begins_late_still_counts_from_0(tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join([V5, *rows(V5, range(5, 7))])).curves.epochs == (6, 7)
    assert read(tmp_path, "\n".join([LATE, *rows(LATE, range(5, 7))])).curves.epochs == (5, 6)


def test_nan_and_infinity_are_kept_and_other_words_are_not(tmp_path: Path) -> None:
    results = read(tmp_path, "epoch,train/box_loss,val/box_loss\n1,nan,-inf\n2,=cmd,\n3,1_000,1e400\n")
    train, val = results.curves.train_losses["box"], results.curves.val_losses["box"]
    assert train[0] is not None and math.isnan(train[0])
    assert train[1:] == (None, None)
    assert val == (-math.inf, None, math.inf)
    assert [(note.code, note.place) for note in results.notes] == [
        ("cell_not_a_number", "results.csv:3"),
        ("cell_not_a_number", "results.csv:4"),
    ]


def test_rows_of_another_length_are_left_out_with_a_note(tmp_path: Path) -> None:
    results = read(tmp_path, "epoch,train/box_loss,val/box_loss\n1,2,3\n2,2\n3,2,3,4\n4,2,3,\n")
    assert results.curves.epochs == (1, 4)
    assert results.curves.lines == (2, 5)
    assert [(note.code, note.place) for note in results.notes] == [
        ("row_length", "results.csv:3"),
        ("row_length", "results.csv:4"),
    ]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("\0\0\0\0", "row_unreadable"),
        ("9" * 20_000 + ",1,1", "row_unreadable"),
        ("one,1,1", "row_epoch"),
        ("1.5,1,1", "row_epoch"),
        ("-1,1,1", "row_epoch"),
        ("nan,1,1", "row_epoch"),
        ("1e18,1,1", "row_epoch"),
        ("epoch,train/box_loss,val/box_loss", "header_repeated"),
    ],
)
def test_a_row_that_is_none_is_left_out_with_a_note(tmp_path: Path, row: str, code: str) -> None:
    results = read(tmp_path, f"epoch,train/box_loss,val/box_loss\n1,2,3\n{row}\n2,2,3\n")
    assert results.curves.epochs == (1, 2)
    assert [(note.code, note.place) for note in results.notes] == [(code, "results.csv:3")]


def test_repeated_and_missing_epochs_are_kept_as_they_stand(tmp_path: Path) -> None:
    text = "epoch,train/box_loss\n1,1\n2,1\n2,1\n5,1\n3,1\n"
    assert read(tmp_path, text).curves.epochs == (1, 2, 2, 5, 3)


def test_of_repeated_columns_the_first_is_read(tmp_path: Path) -> None:
    results = read(tmp_path, "epoch,train/box_loss,train/box_loss,mine\n1,2,3,4\n")
    assert results.curves.train_losses == {"box": (2.0,)}
    assert results.curves.other == {"mine": (4.0,)}
    assert [note.code for note in results.notes] == ["column_repeated"]


def test_notes_are_capped_and_the_rest_counted(tmp_path: Path) -> None:
    results = read(tmp_path, "epoch,train/box_loss\n1,1\n" + "2\n" * 1000)
    assert len(results.notes) == 21
    assert results.notes[-1].detail == "980 more of these."


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        (b"", "results_empty", "results.csv:1"),
        (b"\n \n", "results_empty", "results.csv:1"),
        (V5.encode(), "results_empty", "results.csv:1"),
        (b"\n\n" + V5.encode() + b"\nx\n", "results_empty", "results.csv:3"),
        (b"1,2,3\n4,5,6\n", "results_unreadable", "results.csv:1"),
        (b"epoch;train/box_loss\n1;2\n", "results_unreadable", "results.csv:1"),
        ("epoch,train/box_loss\n1,2\n".encode("utf-16"), "results_unreadable", "results.csv:1"),
        (b"epoch," + b"x," * 20_000, "results_unreadable", "results.csv:1"),
        (b"\x89PNG\r\n\x1a\n\0\0", "results_unreadable", "results.csv:1"),
        (b"x" * (33 << 20), "results_unreadable", "results.csv:1"),
    ],
)
def test_a_file_without_an_epoch_is_an_error(tmp_path: Path, content: bytes, code: str, place: str) -> None:
    with pytest.raises(CurvesError) as caught:
        read(tmp_path, content)
    assert (caught.value.error_code, caught.value.place) == (code, place)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurvesError, match="can't be opened"):
        read_curves(tmp_path / "results.csv", source="results.csv")


def test_a_thousand_epochs_are_read(tmp_path: Path) -> None:
    text = "\n".join(padded(line) for line in (LATE, *rows(LATE, range(1, 1001))))
    path = tmp_path / "results.csv"
    path.write_text(text)
    assert len(read_curves(path, source="results.csv").epochs) == 1000


_CELL = st.floats().map(str) | st.sampled_from(["", "x", "1e400", "nan", "\0", '"1"'])


@given(st.lists(st.lists(_CELL, min_size=1, max_size=5), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_rows_give_columns_of_one_length(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], end: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    path.write_bytes(end.join(["epoch,train/box_loss,lr/pg0", *(",".join(row) for row in table)]).encode())
    try:
        curves = read_curves(path, source="results.csv")
    except CurvesError as error:
        assert error.error_code == "results_empty"
    else:
        columns = [curves.train_losses["box"], curves.learning_rates["pg0"]]
        assert {len(column) for column in columns} == {len(curves.epochs)} == {len(curves.lines)}


@given(st.binary(max_size=400))
def test_any_bytes_give_curves_or_a_curves_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    path.write_bytes(content)
    try:
        read_curves(path, source="results.csv")
    except CurvesError as error:
        assert error.place is not None
