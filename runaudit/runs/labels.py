"""Label files, many at a time: their rows as arrays, and which images the framework would drop because of them.

All files of a batch are joined and parsed by one call; rows are judged as arrays. The rules are those of ultralytics
8.4.190, data/utils.py verify_image_label (yolo.md A5): one bad row drops the image with all its labels. Only a batch
with a token that is no number is parsed again file by file, to name the file and the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runaudit.runs.data_options import Geometry
from runaudit.runs.facts import Note
from runaudit.runs.label_arrays import starts_of

MAX_FILE_BYTES = 16 << 20
"""A label file of 100 000 polygons of 10 points has about this size."""
UPPER = 1.01
LOWER = -0.01
"""The tolerance of 8.4 (yolo.md A5); 8.0 to 8.3 and YOLOv5 allowed [0, 1] only."""
MAX_CLASS_ID = 2**31 - 1

_DETAILS = {
    "label_not_a_number": "It holds something that is no number.",
    "label_columns": "The row has a number of columns that no label has.",
    "label_mixed": "Rows of boxes and rows of polygons stand in one file.",
    "label_out_of_bounds": "A coordinate is larger than 1.01: it is not normalised, or lies outside the image.",
    "label_negative": "A value is negative.",
    "label_class_not_integer": "The class is no whole number.",
    "label_class_unknown": "The class id is not below the number of classes of data.yaml.",
}

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ParsedLabels:
    """The labels of one batch of files.

    `file` (n,) is the index of each kept box's file in the batch, in order; `cls` (n,); `box` (n, 4).
    `rejected` maps the index of a file whose image is dropped to the note that says why.
    `duplicates`, `zero_area` and `polygons` count rows: removed, kept with no area, turned into boxes. `class_ids`
    counts the rows of each class id as written, those of dropped images included. `points`, `point_start` and
    `keypoints` are those of LabelArrays.
    """

    file: _Integers
    cls: NDArray[np.int32]
    box: _Floats
    rejected: dict[int, Note]
    duplicates: int
    zero_area: int
    polygons: int
    class_ids: dict[int, int]
    points: NDArray[np.float32] | None = None
    point_start: _Integers | None = None
    keypoints: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Rows:
    """Rows that hold a token: `start` is the index of a row's first value, `columns` counts its values."""

    values: _Floats
    start: _Integers
    columns: _Integers
    file: _Integers
    line: _Integers

    def of(self, keep: _Flags) -> _Rows:
        return _Rows(self.values, self.start[keep], self.columns[keep], self.file[keep], self.line[keep])


def parse_labels(
    contents: Sequence[bytes],
    sources: Sequence[str],
    *,
    classes: int,
    keypoint_values: int = 0,
    single_cls: bool = False,
    dimensions: int = 0,
    geometry: Geometry | None = None,
) -> ParsedLabels:
    """Parse label files.

    Parameters
    ----------
    contents : the files' bytes, `sources` their names for citing.
    classes : number of classes of data.yaml.
    keypoint_values : values a row has after its box in a pose data set (points times dimensions), else 0.
    single_cls : every class becomes class 0, once rows have been compared; no id is then too high (8.4.190,
        verify_image_label and BaseDataset.update_labels).
    dimensions : of each keypoint, 2 or 3.
    geometry : what to keep beside the boxes. With `keypoints` a row must have its `keypoint_values`, and these are
        judged instead of the box; without, they are passed over, as the framework does for tasks of boxes.
    """
    rejected: dict[int, Note] = {}
    rows = _parse(contents, sources, rejected)
    wrong: list[tuple[str, _Rows]] = []
    posed = geometry == "keypoints" and keypoint_values > 0 and dimensions in (2, 3)
    is_pose = rows.columns == 5 + keypoint_values if keypoint_values else np.zeros(len(rows.start), bool)
    is_box = is_pose if posed else (rows.columns == 5) | is_pose
    # A file with a row of more than 6 columns is one of polygons, also its rows of a single point.
    of_polygons = np.isin(rows.file, rows.file[(rows.columns > 6) & ~is_pose])
    is_polygon = of_polygons & (rows.columns >= 3) & (rows.columns % 2 == 1) & ~is_box & (not posed)
    wrong.append(("label_columns", rows.of(~is_box & ~is_polygon)))
    mixed = np.intersect1d(rows.file[is_box], rows.file[is_polygon])
    first_of_mixed = np.isin(rows.file, mixed) & np.r_[True, rows.file[1:] != rows.file[:-1]][: len(rows.file)]
    wrong.append(("label_mixed", rows.of(first_of_mixed)))
    usable = (is_box | is_polygon) & ~np.isin(rows.file, mixed)
    rows, is_polygon = rows.of(usable), is_polygon[usable]
    cls, box = _boxes(rows, is_polygon)
    class_ids = _counted(cls)
    keypoints = _keypoints(rows, keypoint_values, dimensions) if posed else None
    wrong += _violations(rows, cls, box, keypoints, np.inf if single_cls else min(classes, MAX_CLASS_ID))
    for code, bad in wrong:
        _reject(rejected, code, bad, sources)
    kept = ~np.isin(rows.file, np.fromiter(rejected, np.int64, len(rejected)))
    polygons, rows_kept = int(is_polygon[kept].sum()), int(kept.sum())
    kept[kept] = _unique(rows.of(kept), cls[kept], box[kept], is_polygon[kept] | posed)
    rows, cls, box = rows.of(kept), cls[kept], box[kept]
    outlines = _outlines(rows, is_polygon[kept]) if geometry == "polygons" else None
    return ParsedLabels(
        file=rows.file,
        cls=np.zeros(len(cls), np.int32) if single_cls else cls.astype(np.int32),
        box=box,
        rejected=rejected,
        duplicates=rows_kept - len(cls),
        zero_area=int((box[:, 2:] <= 0).any(axis=1).sum()),
        polygons=polygons,
        class_ids=class_ids,
        points=outlines[0] if outlines is not None else None,
        point_start=outlines[1] if outlines is not None else None,
        keypoints=keypoints[kept].astype(np.float32) if keypoints is not None else None,
    )


def _counted(cls: _Floats) -> dict[int, int]:
    """Class id -> rows, of those that are ids: whole and not negative."""
    with np.errstate(invalid="ignore"):
        ids, counts = np.unique(cls[(cls >= 0) & (cls <= MAX_CLASS_ID) & (cls % 1 == 0)], return_counts=True)
    return dict(zip(ids.astype(np.int64).tolist(), counts.tolist(), strict=True))


def _parse(contents: Sequence[bytes], sources: Sequence[str], rejected: dict[int, Note]) -> _Rows:
    """Rows of all files; a file with a token that is no number yields none and is noted in `rejected`."""
    cleaned = [_unix(content) for content in contents]
    try:
        return _tokenise(cleaned)
    except ValueError:
        for index, content in enumerate(cleaned):
            try:
                _tokenise([content])
            except ValueError:
                line = _first_bad_line(content)
                rejected[index] = _note("label_not_a_number", f"{sources[index]}:{line}")
                cleaned[index] = b"\n"
        return _tokenise(cleaned)


def _unix(content: bytes) -> bytes:
    """Without a byte-order mark, with `\\n` as line ends, and one at the end."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content if content.endswith(b"\n") else content + b"\n"


def _tokenise(contents: Sequence[bytes]) -> _Rows:
    """Values, and where each row begins. Raises ValueError if any token is no number."""
    joined = b"".join(contents)
    buffer = np.frombuffer(joined, np.uint8)
    if not _PLAIN[buffer].all():
        raise ValueError("a byte that no number has")
    blank = buffer <= 32
    starts = np.flatnonzero(~blank & np.r_[True, blank[:-1]][: len(blank)])
    # NumPy makes one number out of white space alone.
    values = np.fromstring(joined.decode("ascii"), dtype=np.float64, sep=" ") if len(starts) else np.empty(0)
    if len(starts) != len(values):
        raise ValueError("a token that is no number")
    ends_of_line = np.flatnonzero(buffer == 10)
    tokens_before = np.searchsorted(starts, ends_of_line)
    columns = np.diff(tokens_before, prepend=0)
    lines_of_file = np.array([content.count(b"\n") for content in contents], np.int64)
    file = np.repeat(np.arange(len(contents)), lines_of_file)
    line = np.arange(len(file)) - np.repeat(np.cumsum(lines_of_file) - lines_of_file, lines_of_file) + 1
    filled = columns > 0
    return _Rows(values, (tokens_before - columns)[filled], columns[filled], file[filled], line[filled])


_PLAIN: _Flags = np.zeros(256, bool)
"""Bytes that numbers and the white space between them are made of: digits, signs, point, letters of nan and inf."""
_PLAIN[list(b" \t\n\x0b\x0c+-.0123456789eEnNaAiIfFtTyY")] = True


def _first_bad_line(content: bytes) -> int:
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            _tokenise([line + b"\n"])
        except ValueError:
            return number
    return 1


def _boxes(rows: _Rows, is_polygon: _Flags) -> tuple[_Floats, _Floats]:
    """Class (n,) and box (n, 4) of each row; a polygon's box is the one around its points."""
    cls = rows.values[rows.start] if len(rows.start) else np.empty(0)
    box = np.empty((len(rows.start), 4))
    plain = ~is_polygon
    box[plain] = rows.values[rows.start[plain, None] + np.arange(1, 5)]
    if is_polygon.any():
        box[is_polygon] = _around(rows.of(is_polygon))
    return cls, box


def _around(rows: _Rows) -> _Floats:
    """Boxes (n, 4) around the polygons of `rows`, by one reduction over all their points."""
    points = (rows.columns - 1) // 2
    first = np.cumsum(points) - points
    x_at = _x_of_points(rows, points)
    low = [np.minimum.reduceat(rows.values[x_at + axis], first) for axis in (0, 1)]
    high = [np.maximum.reduceat(rows.values[x_at + axis], first) for axis in (0, 1)]
    centre = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    side = [b - a for a, b in zip(low, high, strict=True)]
    return np.stack([*centre, *side], axis=1)


def _x_of_points(rows: _Rows, points: _Integers) -> _Integers:
    """Where the x of each point of each row stands among the values; `points` counts those of each row."""
    offsets = np.arange(points.sum()) - np.repeat(np.cumsum(points) - points, points)
    x_at: _Integers = np.repeat(rows.start + 1, points) + 2 * offsets
    return x_at


def _outlines(rows: _Rows, is_polygon: _Flags) -> tuple[NDArray[np.float32], _Integers]:
    """`points` and `point_start` of LabelArrays; a row that is a box has no points."""
    counts = np.where(is_polygon, (rows.columns - 1) // 2, 0)
    x_at = _x_of_points(rows, counts)
    return np.stack([rows.values[x_at], rows.values[x_at + 1]], axis=1).astype(np.float32), starts_of(counts)


def _keypoints(rows: _Rows, values: int, dimensions: int) -> _Floats:
    """The keypoints (n, points, dimensions) behind the box of each row."""
    table: _Floats = rows.values[rows.start[:, None] + np.arange(5, 5 + values)]
    return table.reshape(len(rows.start), values // dimensions, dimensions)


def _violations(
    rows: _Rows, cls: _Floats, box: _Floats, keypoints: _Floats | None, classes: float
) -> list[tuple[str, _Rows]]:
    """Rows that break a rule. Comparisons are written so that NaN breaks them.

    Where there are keypoints, they are what must lie in the image, and the box need not.
    """
    inside, values = box, box
    if keypoints is not None:
        points, dimensions = keypoints.shape[1:]
        inside = keypoints[..., :2].reshape(len(box), 2 * points)
        values = np.hstack([box, keypoints.reshape(len(box), points * dimensions)])
    low = values.min(axis=1, initial=np.inf)
    sides = box[:, 2:].min(axis=1, initial=np.inf)
    negative = ~((low >= LOWER) & (cls >= 0) & (sides >= 0))
    with np.errstate(invalid="ignore"):
        fractional = cls % 1 != 0
    return [
        (
            "label_out_of_bounds",
            rows.of(~(inside.max(axis=1, initial=-np.inf) <= UPPER) | np.isnan(values).any(axis=1)),
        ),
        ("label_negative", rows.of(negative & ~np.isnan(cls) & ~np.isnan(low))),
        ("label_class_not_integer", rows.of(fractional)),
        ("label_class_unknown", rows.of(~(cls < classes) & ~np.isnan(cls))),
    ]


def _reject(rejected: dict[int, Note], code: str, bad: _Rows, sources: Sequence[str]) -> None:
    files, first = np.unique(bad.file, return_index=True)
    for file, row in zip(files.tolist(), first.tolist(), strict=True):
        if file not in rejected:
            rejected[file] = _note(code, f"{sources[file]}:{bad.line[row]}")


def _note(code: str, place: str) -> Note:
    return Note(code=code, detail=f"{_DETAILS[code]} The framework drops the image.", place=place)


def _unique(rows: _Rows, cls: _Floats, box: _Floats, is_polygon: _Flags) -> _Flags:
    """False for a row that repeats an earlier one of its file. Polygons repeat only if all their points do."""
    keep = np.ones(len(cls), bool)
    if len(cls) < 2:
        return keep
    # The framework compares in single precision.
    table = np.column_stack([rows.file, cls, box.astype(np.float32)])
    order = np.lexsort(table.T[::-1])
    same = (table[order][1:] == table[order][:-1]).all(axis=1)
    group = np.concatenate([[0], np.cumsum(~same)])
    _, first, counts = np.unique(group, return_index=True, return_counts=True)
    for begin, count in zip(first[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
        seen: set[bytes] = set()
        for row in np.sort(order[begin : begin + count]).tolist():
            # Rows of one box are told apart by their points; a box has none.
            end = rows.start[row] + rows.columns[row] if is_polygon[row] else rows.start[row]
            points = rows.values[rows.start[row] : end].astype(np.float32).tobytes()
            keep[row] = points not in seen
            seen.add(points)
    return keep
