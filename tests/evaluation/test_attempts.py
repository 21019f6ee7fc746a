"""Parts of an audit that fail by themselves."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from runaudit.errors import DatasetError
from runaudit.evaluation.attempts import Attempts


def test_what_works_is_handed_on():
    attempts = Attempts()
    assert attempts.at("sum", lambda: 1 + 1) == 2
    assert attempts.not_run == {}


def test_each_failure_is_told_by_its_name():
    attempts = Attempts()

    def fail(error: Exception):
        raise error

    assert attempts.at("a", lambda: fail(MemoryError())) is None
    assert attempts.at("b", lambda: fail(DatasetError("No image has a label."))) is None
    assert attempts.at("c", lambda: fail(ZeroDivisionError("division by zero"))) is None
    assert attempts.at("d", lambda: fail(RuntimeError("DefaultCPUAllocator: can't allocate memory"))) is None
    assert attempts.not_run == {
        "a": "It ran out of memory.",
        "b": "No image has a label.",
        "c": "It failed (ZeroDivisionError: division by zero).",
        "d": "It ran out of memory.",
    }


def test_numpy_that_asks_for_too_much_is_one_of_them():
    attempts = Attempts()
    attempts.at("huge", lambda: np.zeros(2**55, np.uint8))
    assert attempts.not_run == {"huge": "It ran out of memory."}


def test_what_a_failed_part_held_is_given_back():
    held: list[weakref.ref[np.ndarray]] = []

    def part() -> None:
        array = np.zeros(1000)
        held.append(weakref.ref(array))
        raise MemoryError

    Attempts().at("part", part)
    gc.disable()
    try:
        assert held[0]() is None
    finally:
        gc.enable()


def test_an_interrupt_goes_through():
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Attempts().at("part", interrupted)
