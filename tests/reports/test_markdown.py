"""The Markdown rendering: complete, and no string of the run becomes markup."""

from __future__ import annotations

import re

from runaudit.diagnostics.policy import Policy
from runaudit.reports.escape import code_block, markdown, visible
from runaudit.reports.markdown import render_markdown
from tests.diagnostics import cases
from tests.reports.cases import HOSTILE, build, faulty_evidence, hostile_evidence, noted_evidence


def test_it_holds_verdict_findings_remedies_policy_and_every_check():
    report = build(faulty_evidence(), Policy(min_map50_95=0.9))
    rendered = render_markdown(report)
    assert rendered.startswith("# Runaudit: FAIL\n")
    assert "### 1. " in rendered and "lr0: 0.01\n" in rendered and "CosineAnnealingLR" in rendered
    assert "| min_map50_95 |" in rendered and "broken" in rendered
    for check in report.checks:
        assert f"| {markdown(check.cause)} | {check.outcome.replace('_', ' ')} |" in rendered
    assert "| mAP50-95 |" in rendered


def test_a_healthy_report_has_no_findings_section():
    rendered = render_markdown(build(cases.healthy()))
    assert "## Findings" not in rendered and "# Runaudit: PASS" in rendered


def test_hostile_strings_stay_text():
    rendered = render_markdown(build(hostile_evidence(), Policy(min_class_map50_95={"a|b`": 0.1})))
    assert "<script" not in rendered and "\x1b" not in rendered and "\u202e" not in rendered and "\x00" not in rendered
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", rendered)
    assert "\n# heading" not in rendered and not re.search(r"(?<!\\)://evil", rendered)
    for line in rendered.split("\n"):
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line))
            assert cells in (4, 5, 6), line
    assert "a\\|b\\`" in rendered


def test_the_data_set_is_counted_split_by_split_with_what_was_noted():
    rendered = render_markdown(build(noted_evidence()))
    section = rendered[rendered.index("## Data set") :].split("\n## ")[0]
    assert "data.yaml, 2 classes" in section
    assert "| train | 900 | 100, 40 of them without a label file | 7 | 1800 |" in section
    assert "| val | 450 | 0 | 0 | 450 |" in section
    assert "| ada (annotator) | 430 | 30, and 20 images not annotated | 1 | 500 |" in section
    assert "\n- train: labels/a.txt:1: A row has 4 values\n" in section
    assert "\n- and more, which the JSON report lists" in section
    assert "## Data set" not in render_markdown(build(cases.curves_only(cases.run())))


def test_escape_of_single_characters():
    assert markdown("a|b") == "a\\|b"
    assert markdown("<b>&") == "&lt;b&gt;&amp;"
    assert markdown("https://evil.test www.evil.test a@b.test") == "https\\://evil.test www\\.evil.test a\\@b.test"
    assert markdown("train_0_cls") == "train_0_cls"
    assert markdown("_a_ __b__ c_") == "\\_a\\_ \\_\\_b\\_\\_ c\\_"
    assert [markdown(text) for text in ("- item", "+ item", "1. item", "# head", "===")] == [
        "\\- item",
        "\\+ item",
        "1\\. item",
        "\\# head",
        "\\===",
    ]
    assert markdown("mAP50-95 of 0.5 (95 %).") == "mAP50-95 of 0.5 (95 %)."
    assert markdown("line\nbreak") == "line break"
    assert visible(HOSTILE).startswith("red | `code`")
    assert visible("\x1b[2J\x1b[Hhidden\x9b1mtext\x1b(B") == "hiddentext"


def test_a_fence_is_longer_than_what_it_holds():
    lines = code_block("a ```` b\n```\n", "python")
    assert lines[0] == "`````python" and lines[-1] == "`````"
