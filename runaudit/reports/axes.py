"""Where values lie on a picture: linear and logarithmic axes with round marks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Beyond this ratio of the largest to the smallest value a linear axis shows the large ones only.
LOGARITHMIC_FROM = 50.0
MOST_MARKS = 6
# A value beyond is drawn at the end of its axis; differences of such values would not be finite.
LARGEST = 1e100


@dataclass(frozen=True)
class Axis:
    """From values `low` to `high` to pixels `start` to `end` (which may fall: y grows downwards)."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; values beyond the ends are put at the ends."""
        low, high, place = self._scale(self.low), self._scale(self.high), self._scale(value)
        share = (place - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def marks(self) -> list[float]:
        """At most about MOST_MARKS round values inside."""
        if self.logarithmic:
            return _powers(self.low, self.high)
        step = _step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    def _scale(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.logarithmic else value


def axis(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    least: float | None = None,
    most: float | None = None,
    may_be_logarithmic: bool = False,
) -> Axis:
    """An axis that holds all values up to LARGEST, and `least` and `most`.

    It is logarithmic where it may be, all values are positive, and they lie far apart (LOGARITHMIC_FROM).
    """
    finite = [value for value in values if abs(value) <= LARGEST]
    bounds = [bound for bound in (least, most) if bound is not None]
    low, high = min([*finite, *bounds], default=0.0), max([*finite, *bounds], default=1.0)
    if may_be_logarithmic and low > 0 and high / low > LOGARITHMIC_FROM:
        return Axis(low, high, start, end, logarithmic=True)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):
        pad = abs(high) / 2 or 0.5
        return Axis(low - pad, high + pad, start, end)
    return Axis(low, high, start, end)


def label(value: float) -> str:
    """A mark's text: short, without the dust of binary fractions."""
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that at most MOST_MARKS steps fill `span`."""
    raw = span / MOST_MARKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next(magnitude * factor for factor in (1.0, 2.0, 5.0, 10.0) if magnitude * factor >= raw * (1 - 1e-9))


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten inside, thinned out; both ends where there is none or one."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last <= first:
        return [low, high]
    every = max(1, math.ceil((last - first) / MOST_MARKS))
    return [10.0**exponent for exponent in range(first, last + 1, every)]
