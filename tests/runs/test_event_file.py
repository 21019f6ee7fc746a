"""Event files written by hand: whole, cut, flipped, and of values that are stored in other ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.runs import event_file
from runaudit.runs.event_file import masked_crc32c, read_event_file
from tests.runs import event_files as files


def read(path: Path) -> list[tuple[str, int, float]]:
    return [(scalar.tag, scalar.step, scalar.value) for scalar in read_event_file(path, source="e").scalars]


def test_the_checksum_is_rfc_3720s() -> None:
    assert files.crc32c_by_bits(b"123456789") == 0xE3069283
    assert files.crc32c_by_bits(bytes(32)) == 0x8A9136AA


@given(st.binary(max_size=100))
def test_the_checksum_by_table_is_that_by_bits(data: bytes) -> None:
    assert masked_crc32c(data).to_bytes(4, "little") == files.masked(data)


def test_scalars_of_every_form(tmp_path: Path) -> None:
    path = files.write(
        tmp_path / "events",
        [
            files.event(0, files.simple("train/box_loss", 1.5)),
            files.event(1, files.tensor("a", 0.25), files.tensor("b", 0.125, double=True)),
            files.event(2, files.tensor("c", 0.5, packed=False)),
            files.event(-1, files.simple("d", float("inf"))),
        ],
    )
    assert read(path) == [
        ("train/box_loss", 0, 1.5),
        ("a", 1, 0.25),
        ("b", 1, 0.125),
        ("c", 2, 0.5),
        ("d", -1, float("inf")),
    ]
    assert [scalar.record for scalar in read_event_file(path, source="e").scalars] == [2, 3, 3, 4, 5]


def test_values_that_are_no_scalars_are_passed_over(tmp_path: Path) -> None:
    image = files.field(1, b"images") + files.field(4, b"\x08\x01" + files.field(4, b"png"))
    large = files.event(0, files.field(1, b"large") + files.field(4, bytes(event_file.MAX_RECORD)))
    two = files.field(1, b"two") + files.field(8, b"\x08\x01" + files.field(5, bytes(8)))
    path = files.write(
        tmp_path / "events", [files.event(0, image, two), large, files.event(3, files.simple("train/loss", 1.0))]
    )
    assert read(path) == [("train/loss", 3, 1.0)]


def test_a_tail_that_was_cut_is_noted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = files.write(tmp_path / "events", [files.event(step, files.simple("a/b", step)) for step in range(5)])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = read_event_file(path, source="e")
        assert len(found.scalars) <= 5
        assert not found.notes or found.notes[0].code == "event_file_damaged"
    path.write_bytes(whole[:-7])
    found = read_event_file(path, source="e")
    assert (len(found.scalars), found.notes[0].place) == (4, "e:6")


def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = files.write(tmp_path / "events", [files.event(step, files.simple("a/b", step)) for step in range(3)])
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        assert read_event_file(path, source="e").notes, position


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_records_of_anything_are_read(payloads: list[bytes]) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and tmp_path don't go together

    with tempfile.TemporaryDirectory() as folder:
        path = files.write(Path(folder) / "events", payloads)
        found = read_event_file(path, source="e")
        assert all(note.code == "event_file_damaged" for note in found.notes)


def test_too_many_scalars_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MAX_SCALARS", 3)
    path = files.write(tmp_path / "events", [files.event(step, files.simple("a", 1)) for step in range(9)])
    found = read_event_file(path, source="e")
    assert (len(found.scalars), found.notes[0].code) == (4, "event_file_damaged")
