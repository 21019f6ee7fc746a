"""TensorBoard event files: the scalars in them, without TensorFlow and without generated code.

The framing is TFRecord's (tensorflow/core/lib/io/record_writer.h): length as 8 bytes, its masked CRC-32C, the data, and
their masked CRC-32C, all little-endian. The data are `Event` messages (tensorflow/core/util/event.proto) of which the
fields `step` (2) and `summary` (5) are read, and of a summary (framework/summary.proto) the values' `tag` (1),
`simple_value` (2) or scalar `tensor` (8; framework/tensor.proto: `dtype` 1, `tensor_content` 4, `float_val` 5,
`double_val` 6). CRC-32C is RFC 3720's, appendix B.4.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runaudit.runs.facts import Note

MAX_BYTES = 64 << 20
"""YOLOv5 adds its graph and some images; such files have a few MB."""
MAX_RECORD = 1 << 16
"""A record of scalars has about 60 bytes. Larger ones hold images or graphs and are passed over unread."""
MAX_SCALARS = 500_000
MAX_TAG = 200

_HEADER = struct.Struct("<QI")
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_DT_FLOAT, _DT_DOUBLE = 1, 2


@dataclass(frozen=True)
class Scalar:
    """One logged number. `record` counts the records of its file from 1, for citing."""

    tag: str
    step: int
    value: float
    record: int


@dataclass(frozen=True)
class EventFile:
    """The scalars of one file in the order of writing. `notes` say where it was damaged or cut off."""

    source: str
    scalars: tuple[Scalar, ...]
    notes: tuple[Note, ...] = ()


class _Damaged(Exception):  # noqa: N818 - a signal inside this module
    """What follows can't be read; the argument says why."""


def read_event_file(path: Path, *, source: str) -> EventFile:
    """Read a file up to its end or to the first damage. A training that still ran, or was killed, leaves half a record.

    Raises OSError if it can't be opened.
    """
    scalars: list[Scalar] = []
    notes: list[Note] = []
    record = 0
    with path.open("rb") as file:
        try:
            for record, data in enumerate(_records(file), start=1):
                scalars += _scalars(data, record) if data is not None else ()
                _require_few(scalars)
        except _Damaged as damage:
            notes.append(Note(code="event_file_damaged", detail=str(damage), place=f"{source}:{record + 1}"))
    return EventFile(source, tuple(scalars), tuple(notes))


def _scalars(data: bytes, record: int) -> list[Scalar]:
    step, values = _event(data)
    return [Scalar(tag, step, value, record) for tag, value in values]


def _require_few(scalars: list[Scalar]) -> None:
    if len(scalars) > MAX_SCALARS:
        raise _Damaged(f"There are more than {MAX_SCALARS} scalars; the rest is left out.")


def _records(file: io.BufferedReader) -> Iterator[bytes | None]:
    """The data of each record; None for one that is too large to hold scalars only."""
    position = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise _Damaged("The file ends inside a record, as one does whose writer was killed.")
        length, checksum = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != checksum:
            raise _Damaged("The checksum of a record's length is wrong; what follows can't be read.")
        position += _HEADER.size + length + 4
        if position > MAX_BYTES:
            raise _Damaged(f"The file is larger than {MAX_BYTES >> 20} MiB; the rest is left out.")
        if length > MAX_RECORD:
            file.seek(length + 4, io.SEEK_CUR)
            yield None
            continue
        data = file.read(length)
        trailer = file.read(4)
        if len(trailer) < 4:
            raise _Damaged("The file ends inside a record, as one does whose writer was killed.")
        if masked_crc32c(data) != int.from_bytes(trailer, "little"):
            raise _Damaged("The checksum of a record is wrong; what follows is not read.")
        yield data


def _event(data: bytes) -> tuple[int, list[tuple[str, float]]]:
    step = 0
    values: list[tuple[str, float]] = []
    for number, value in _fields(data):
        if number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            values += [scalar for field, part in _fields(value) if field == 1 and (scalar := _summary_value(part))]
    return step, values


def _summary_value(data: int | bytes) -> tuple[str, float] | None:
    if not isinstance(data, bytes):
        return None
    tag: str | None = None
    scalar: float | None = None
    for number, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            tag = value[:MAX_TAG].decode("utf-8", "replace")
        elif number == 2 and len(value) == 4:
            scalar = _FLOAT.unpack(value)[0]
        elif number == 8:
            scalar = _tensor(value)
    return (tag, scalar) if tag and scalar is not None else None


def _tensor(data: bytes) -> float | None:
    """The value of a tensor of one element in single or double precision."""
    dtype = 0
    content = b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number in (4, 5, 6) and isinstance(value, bytes):
            content = value
    if dtype == _DT_FLOAT and len(content) == 4:
        return float(_FLOAT.unpack(content)[0])
    if dtype == _DT_DOUBLE and len(content) == 8:
        return float(_DOUBLE.unpack(content)[0])
    return None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message: a varint as int, all else as bytes (protobuf.dev, encoding).

    Raises _Damaged if it is no message.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise _Damaged("A record holds something that is no event.")
        end = position + length
        if end > len(data):
            raise _Damaged("A record holds something that is no event.")
        yield number, data[position:end]
        position = end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise _Damaged("A record holds something that is no event.")


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        remainder = byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)
        values.append(remainder)
    return tuple(values)


_CRC = _table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C of `data`, rotated and offset as TFRecord stores it."""
    crc = 0xFFFF_FFFF
    table = _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFF_FFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282_EAD8) & 0xFFFF_FFFF
