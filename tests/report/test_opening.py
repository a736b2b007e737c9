"""The report's first view and its sections: the scorecard first, only papers that run, totals never mixed."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.report.opening import opening
from moe_replication.report.sections import page_names, sections

ROOT = Path(__file__).parents[2]
A, B = "expert-threshold", "expert-ecology"
OURS, CELL = "same claim at our scale", "the paper's cell"


def judged(*entries: tuple[str, str, str]) -> dict:
    claims = [{"paper": paper, "kind": kind, "verdict": verdict} for paper, kind, verdict in entries]
    return {"scale": "smoke", "warnings": [], "claims": claims}


def cells(page: str) -> dict[str, list[str]]:
    """Counts of the table by the head of the line."""
    lines = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", page)
    return {head: re.findall(r'<td class="number">(\d+)</td>', line) for head, line in lines}


@pytest.mark.parametrize("letters", [{A: "a", B: "b"}, {B: "b"}])
def test_sections_sort_by_name_into_reading_order(letters):
    found = list(sections(letters).values())
    assert sorted(found) == found
    assert found[0] == "1 Scorecard"
    assert [name[2:] for name in found if "Results" in name] == [
        f"Results, paper {x.upper()}" for x in letters.values()
    ]
    assert [name[2:] for name in found][-5:] == [
        "Figures", "Discrepancies", "Environment and cost", "Checklist", "Tables",
    ]  # fmt: skip


def test_every_page_but_the_opening_has_a_section():
    letters = {A: "a", B: "b"}
    assert [name for name in page_names(letters) if name not in sections(letters)] == ["opening"]


def test_totals_are_apart_by_paper_and_kind_of_claim():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "v1"]})
    card = judged((A, OURS, "reproduced"), (A, OURS, "reproduced"), (A, CELL, "contradicted"), (B, OURS, "not_run"))
    page = opening(project, card, Path("results/smoke"))
    # reproduced, contradicted, inconclusive, untestable, not run
    assert cells(page) == {
        "Paper A, the same claim at our scale": ["2", "0", "0", "0", "0"],
        "Paper B, the same claim at our scale": ["0", "0", "0", "0", "1"],
        "Paper A, the paper's own number": ["0", "1", "0", "0", "0"],
        "Paper B, the paper's own number": ["0", "0", "0", "0", "0"],
    }
    assert re.findall(r"</span>&nbsp;(\d)", page) == ["2", "1", "0", "0", "1"]


def test_paper_that_does_not_run_is_not_shown():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["v1"]})
    page = opening(project, judged((A, OURS, "untestable"), (B, OURS, "not_run")), Path("results/smoke"))
    assert list(cells(page)) == ["Paper B, the same claim at our scale", "Paper B, the paper's own number"]
    assert re.findall(r"</span>&nbsp;(\d)", page) == ["0", "0", "0", "0", "1"]
    assert "results-paper-a" not in page


def test_first_link_opens_the_scorecard_and_folders_open_their_list():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "v1"]})
    page = opening(project, judged(), Path("results/smoke"))
    links = [html.unescape(link) for link in re.findall(r'<li><a href="([^"]+)">', page)]
    assert len(links) == 8
    assert 'contentPath: results["results/smoke/scorecard.html"].data_uri' in links[0]
    assert links[3] == 'javascript:void app.showCategory("4 Figures")'
