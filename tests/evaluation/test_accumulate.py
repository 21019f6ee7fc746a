"""Running sums and maxima, narrow and wide, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.accumulate import maximum_from_here, running_sum


@pytest.mark.parametrize("shape", [(0, 5), (1, 300), (7,), (40, 10), (40, 300), (6, 5, 70)])
def test_equal_to_numpy(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 9, shape).astype(np.float32)
    np.testing.assert_array_equal(running_sum(values), np.cumsum(values, axis=0, dtype=np.float64))
    expected = np.maximum.accumulate(values[::-1].astype(np.float64), axis=0)[::-1]
    np.testing.assert_array_equal(maximum_from_here(values.astype(np.float64)), expected)
