"""Running sums and maxima down the rows of an array, several times as fast as NumPy's where the rows are wide."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_WIDE: Final = 200
"""columns from which a loop over rows is faster: NumPy walks down each column by itself, at 4 to 12 ns a cell, where
adding row to row takes 1.4 ns a cell at 1000 columns and 4 ns at 256 (measured with NumPy 2.4 on an AMD EPYC)"""


def running_sum(values: NDArray[Any]) -> NDArray[np.float64]:
    """The sum of each row and all before it, (n, ...) to (n, ...), in double precision."""
    if values[:1].size < _WIDE:
        return np.cumsum(values, axis=0, dtype=np.float64)
    total = values.astype(np.float64)
    for row in range(1, len(total)):
        np.add(total[row - 1], total[row], out=total[row])
    return total


def maximum_from_here(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest of each row and all after it, (n, ...), computed in place."""
    if values[:1].size < _WIDE:
        backwards = values[::-1]
        np.maximum.accumulate(backwards, axis=0, out=backwards)
    else:
        for row in range(len(values) - 2, -1, -1):
            np.maximum(values[row], values[row + 1], out=values[row])
    return values
