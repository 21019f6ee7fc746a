"""The pages of docs/checks are those that the checks give, and each threshold names what set it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.planted.cases import cases
from benchmarks.planted.pictures import EXAMPLES, LARGEST
from runaudit.causes import CAUSES
from runaudit.diagnostics.catalogue import CHECKS
from runaudit.diagnostics.evidence import Check
from runaudit.proportions import wilson_interval
from runaudit.reports.check_pages import PICTURES_FILE, main, page, pages, thresholds
from runaudit.reports.figures import _OF_CAUSE
from tests.reports.test_figures import parsed

FOLDER = Path(__file__).parents[2] / "docs" / "checks"


def test_the_committed_pages_are_the_generated_ones():
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
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


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.cause)
def test_every_page_states_recall_and_false_alarms_or_why_they_were_not_measured(check: Check):
    section = page(check).partition("## How often it is right")[2].partition("## References")[0]
    said = [line for line in section.splitlines() if line.startswith("- ")]
    assert len(said) == 6
    measured = re.compile(r": (\d+) of (\d+) \((\d\.\d\d) to (\d\.\d\d)\)$")
    for line in said:
        found = measured.search(line)
        assert found or ": not measured by planting, because no " in line, line
        if found:
            hits, of = int(found[1]), int(found[2])
            assert (float(found[3]), float(found[4])) == pytest.approx(wilson_interval(hits, of), abs=0.0051)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.cause)
def test_every_page_has_its_picture(check: Check):
    file = FOLDER / "pictures" / f"{check.cause}.svg"
    assert f"](pictures/{file.name})" in page(check)
    content = file.read_text(encoding="utf-8")
    assert len(content.encode()) <= LARGEST
    assert parsed(content).attrib["role"] == "img"


def test_pictures_are_of_development_cases_and_say_which():
    by_name = {case.name: case for case in cases()}
    said = json.loads(PICTURES_FILE.read_text(encoding="utf-8"))
    assert list(said) == list(EXAMPLES) and set(said) == set(CAUSES)
    for cause, example in EXAMPLES.items():
        assert said[cause] == {"case": example.case, "figure": example.name, "shows": example.shows}
        case = by_name[example.case]
        assert not case.held_out and cause in case.accepted
        assert example.name in _OF_CAUSE[cause], "the report shows this figure with a finding of the cause"
    assert {path.stem for path in (FOLDER / "pictures").iterdir()} == set(CAUSES)
