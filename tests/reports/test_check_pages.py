"""The pages of docs/checks are those that the checks give, and each threshold names what set it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.evidence import Check
from runaudit.reports.check_pages import main, page, pages, thresholds

FOLDER = Path(__file__).parents[2] / "docs" / "checks"


def test_the_committed_pages_are_the_generated_ones():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert committed == pages(), "run: python -m runaudit.reports.check_pages docs/checks"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.cause)
def test_every_threshold_names_its_source(check: Check):
    rows = thresholds(check)
    assert bool(rows) == bool(check.statistic)
    assert all(len(source) > 10 for _, _, source in rows)
    assert check.question and page(check).startswith(f"# {check.title}")


def test_the_module_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["check_pages", str(tmp_path / "checks")])
    main()
    assert {path.name for path in (tmp_path / "checks").iterdir()} == set(pages())
