"""Intervals of shares, by Wilson's score: they keep a width where all or none succeed. The only place that has them."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

COVERAGE: Final = 0.95
Z95: Final = NormalDist().inv_cdf((1 + COVERAGE) / 2)
"""half width of the interval of a Gaussian, in its standard deviations"""


def wilson_of_share(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share in [0, 1] seen in `trials`, in [0, 1]; (0, 1) without trials.

    Unlike the normal approximation it has a width where all or none succeed. Source: Wilson, Probable inference, the
    law of succession, and statistical inference, JASA 22 (1927); Brown, Cai and DasGupta, Statistical Science 16
    (2001). For the mean of any values in [0, 1] it is conservative, since none vary more than those that are 0 or 1.
    """
    if trials <= 0:
        return 0.0, 1.0
    squared = Z95**2
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = Z95 / (1 + squared / trials) * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2))
    # The ends are exact where all or none succeed; rounding would leave them a little off.
    lower = 0.0 if share == 0 else max(0.0, centre - half)
    upper = 1.0 if share == 1 else min(1.0, centre + half)
    return lower, upper


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """`wilson_of_share` of counts."""
    return wilson_of_share(successes / trials if trials > 0 else 0.0, trials)
