"""Wilson's interval against scipy, published figures and its own symmetry; and that no module has a second one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from runaudit.proportions import wilson_interval, wilson_of_share

CODE = [Path(__file__).parents[1] / folder for folder in ("runaudit", "benchmarks", "service", "worker")]


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (81, 263, (0.2553, 0.3662)),  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_it_is_the_published_one(successes: int, trials: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_it_is_scipys_holds_the_share_and_mirrors(successes: int, failures: int) -> None:
    trials = successes + failures
    low, high = wilson_interval(successes, trials)
    if trials == 0:
        assert (low, high) == (0.0, 1.0), "nothing is known of a share of nothing"
        return
    theirs = binomtest(successes, trials).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    assert wilson_interval(failures, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_ends_are_exact_where_all_or_none_succeed() -> None:
    assert wilson_interval(0, 7)[0] == 0.0 and wilson_interval(7, 7)[1] == 1.0
    assert wilson_of_share(0.5, 10) == wilson_interval(5, 10)


def test_no_other_module_has_its_own() -> None:
    defined = [
        f"{file.name}:{part.lineno}"
        for folder in CODE
        for file in folder.rglob("*.py")
        if "runs" not in file.relative_to(folder).parts[1:2] and file.name != "proportions.py"
        for part in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(part, ast.FunctionDef) and "wilson" in part.name
    ]
    assert defined == []
