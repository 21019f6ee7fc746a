"""Writes TensorBoard event files byte by byte, as torch's SummaryWriter does; its checksum is written bit by bit."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path


def crc32c_by_bits(data: bytes) -> int:
    """RFC 3720, B.4: the reflected polynomial 0x82F63B78, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c_by_bits(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def event(step: int, *values: bytes, wall: float = 1.7e9) -> bytes:
    summary = b"".join(field(1, value) for value in values)
    return b"\x09" + struct.pack("<d", wall) + b"\x10" + varint(step) + field(5, summary)


def simple(tag: str, value: float) -> bytes:
    return field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def tensor(tag: str, value: float, *, double: bool = False, packed: bool = True) -> bytes:
    """A scalar as newer writers store it: a tensor without dimensions."""
    raw = struct.pack("<d" if double else "<f", value)
    number = (6 if double else 5) if packed else 4
    body = b"\x08" + varint(2 if double else 1) + field(2, b"") + field(number, raw)
    return field(1, tag.encode()) + field(9, field(1, b"scalars")) + field(8, body)


def version() -> bytes:
    return b"\x09" + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2")


def write(path: Path, events: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(map(record, (version(), *events))))
    return path
