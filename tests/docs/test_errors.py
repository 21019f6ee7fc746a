"""docs/errors.md lists every stable error code of the source, with the status that it really has, and no other."""

from __future__ import annotations

import re

import pytest

from tests.docs.codes import ROOT, Sources, read_sources

ROW = re.compile(
    r"^\| `(?P<code>[a-z0-9_]+)` \| (?P<status>\d{3}|-) \| (?P<meaning>[^|]+) \| (?P<remedy>[^|]+) \|$", re.M
)
ELSEWHERE = ("runaudit/client/", "runaudit/commands/")
"""errors that never come from the service have no HTTP status there"""


@pytest.fixture(scope="module")
def sources() -> Sources:
    return read_sources()


@pytest.fixture(scope="module")
def documented() -> dict[str, re.Match[str]]:
    rows = list(ROW.finditer((ROOT / "docs" / "errors.md").read_text()))
    codes = [row["code"] for row in rows]
    assert len(codes) == len(set(codes)), "a code is listed twice"
    return {row["code"]: row for row in rows}


def test_the_reader_finds_codes_of_every_kind(sources: Sources) -> None:
    """A class' own code, one given to a constructor, and one given to a function that makes the error."""
    found = {use.code for use in sources.uses}
    assert {"run_not_found", "several_runs", "yaml_alias"} <= found


def test_every_code_is_documented(sources: Sources, documented: dict[str, re.Match[str]]) -> None:
    missing = {f"{use.code} ({use.error}, {use.place})" for use in sources.uses if use.code not in documented}
    assert not missing


def test_no_code_is_documented_that_is_not_there(sources: Sources, documented: dict[str, re.Match[str]]) -> None:
    assert documented.keys() <= {use.code for use in sources.uses}


def test_the_statuses_are_those_of_the_classes(sources: Sources, documented: dict[str, re.Match[str]]) -> None:
    for use in sources.uses:
        row, status = documented.get(use.code), sources.status_of(use.error)
        if row is None or status is None or use.place.startswith(ELSEWHERE):
            continue
        assert row["status"] == str(status), f"{use.code} ({use.place})"


def test_every_code_says_what_it_means_and_what_to_do(documented: dict[str, re.Match[str]]) -> None:
    for code, row in documented.items():
        assert row["meaning"].strip().endswith("."), code
        assert row["remedy"].strip().endswith("."), code
