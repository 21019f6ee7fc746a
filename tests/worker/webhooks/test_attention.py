"""How a sender shares its places: windows that grow with success, half of the places for the unproven, rests."""

from __future__ import annotations

from runaudit_worker.webhooks.attention import LARGEST_WINDOW, RESTS, Attention


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_window_doubles_with_quick_answers_and_falls_with_a_slow_one() -> None:
    attention = Attention(64)
    for expected in (2, 4, 8, LARGEST_WINDOW, LARGEST_WINDOW):
        attention.take("a")
        attention.give_back("a", taken=True, seconds=0.1)
        assert attention.rooms() == {"a": expected}
    attention.take("a")
    assert attention.rooms() == {"a": LARGEST_WINDOW - 1}
    attention.give_back("a", taken=True, seconds=1.5)
    # Unknown again, but not resting: a slow answer is an answer.
    assert attention.rooms() == {}


def test_one_that_failed_slowly_rests_and_one_that_failed_at_once_does_not() -> None:
    clock = Clock()
    attention = Attention(8, clock)
    attention.take("dead")
    attention.give_back("dead", taken=False, seconds=15)
    attention.take("wrong")
    attention.give_back("wrong", taken=False, seconds=0)
    assert attention.rooms() == {"dead": 0}
    clock.now += RESTS * 15 - 1
    assert attention.rooms() == {"dead": 0}
    clock.now += 1
    assert attention.rooms() == {}


def test_the_unproven_have_half_of_the_places() -> None:
    attention = Attention(8)
    attention.take("good")
    attention.give_back("good", taken=True, seconds=0.1)
    for number in range(4):
        attention.take(f"new {number}")
    assert attention.unproven() == 0
    assert attention.rooms() == {"good": 2, "new 0": 0, "new 1": 0, "new 2": 0, "new 3": 0}
    assert attention.free == 4
    attention.give_back("new 0", taken=True, seconds=0.1)
    assert attention.unproven() == 1
    assert attention.rooms()["new 0"] == 2


def test_what_was_taken_while_unproven_is_given_back_as_such() -> None:
    attention = Attention(8)
    attention.take("a")
    attention.take("b")
    attention.give_back("a", taken=True, seconds=0.1)
    attention.take("a")
    assert (attention.held, attention.unproven()) == (2, 3)
    attention.give_back("a", taken=False, seconds=0)
    attention.give_back("b", taken=False, seconds=0)
    assert (attention.held, attention.free, attention.unproven()) == (0, 8, 4)
