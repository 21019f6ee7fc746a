"""How a sender shares its attention, so that a slow or dead receiver delays no other.

Each target has a window, the deliveries that it may have at a time. It begins at one, doubles with each quick success
and falls back to one with a failure or a slow answer, as TCP's does. And targets of which nothing good is known (new,
failing or slow) may together have half of the places: the other half is kept for those that have just answered quickly.
One that kept a place for some seconds and then failed rests RESTS times as long: the dead don't keep out the new.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

LARGEST_WINDOW: Final = 16
QUICK_SECONDS: Final = 1.0
"""an answer that takes longer keeps a place from others"""
RESTS: Final = 3
"""a dead receiver, which keeps a place until its time is over, has it for a quarter of the time at most"""
_REMEMBERED: Final = 10_000
"""targets whose windows are kept; an idle one beyond that begins anew"""


class Attention:
    """Places of one sender, and who has them."""

    def __init__(self, places: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.places = places
        self._clock = clock
        self._unproven_places = max(1, places // 2)
        self._held: Counter[str] = Counter()
        self._windows: OrderedDict[str, int] = OrderedDict()
        self._held_by_unproven: Counter[str] = Counter()
        self._resting: dict[str, float] = {}

    @property
    def held(self) -> int:
        """Places that are taken."""
        return self._held.total()

    @property
    def free(self) -> int:
        """Places that are not."""
        return self.places - self.held

    def rooms(self) -> dict[str, int]:
        """How many more each target may have that is known or held; `unproven` of the others may have one each."""
        now = self._clock()
        self._resting = {target: until for target, until in self._resting.items() if until > now}
        rooms = {target: window - self._held[target] for target, window in self._windows.items()}
        others = {target: 1 - held for target, held in self._held.items() if target not in self._windows}
        return {target: max(0, room) for target, room in (rooms | others | dict.fromkeys(self._resting, 0)).items()}

    def unproven(self) -> int:
        """How many more places there are for targets of which nothing good is known."""
        return max(0, self._unproven_places - self._held_by_unproven.total())

    def take(self, target: str) -> None:
        """Begins a delivery."""
        self._held[target] += 1
        if target not in self._windows:
            self._held_by_unproven[target] += 1

    def give_back(self, target: str, *, taken: bool, seconds: float) -> None:
        """Ends a delivery, which the receiver has taken or not, after so many seconds."""
        for held in (self._held, self._held_by_unproven):
            held[target] -= 1
            if held[target] <= 0:
                del held[target]
        if not taken:
            self._resting[target] = self._clock() + RESTS * seconds
        if not taken or seconds > QUICK_SECONDS:
            self._windows.pop(target, None)
            return
        self._windows[target] = min(2 * self._windows.get(target, 1), LARGEST_WINDOW)
        self._windows.move_to_end(target)
        if len(self._windows) > _REMEMBERED:
            self._windows.popitem(last=False)
