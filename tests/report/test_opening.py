"""The report's first view and its sections: the scorecard first, only papers that run, totals never mixed."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from made_scorecards import A, B, card, entry, mixed_card
from moe_replication.config import load_project
from moe_replication.report.opening import opening
from moe_replication.report.sections import page_names, sections
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM

ROOT = Path(__file__).parents[2]
OURS, CELL = SAME_CLAIM, PAPER_CELL


def judged(*entries: tuple[str, str, str]) -> dict:
    names = {A: "a", B: "b"}
    made = [
        entry(f"{names[paper]}-{number}", verdict, kind=kind) for number, (paper, kind, verdict) in enumerate(entries)
    ]
    return card(*made)


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
    made = judged((A, OURS, "reproduced"), (A, OURS, "reproduced"), (A, CELL, "contradicted"), (B, OURS, "not_run"))
    page = opening(project, made, Path("results/smoke"))
    # reproduced, contradicted, inconclusive, untestable, not run
    assert cells(page) == {
        "The same claim at our scale, paper A": ["2", "0", "0", "0", "0"],
        "The same claim at our scale, paper B": ["0", "0", "0", "0", "1"],
        "The paper&#x27;s cell, paper A": ["0", "1", "0", "0", "0"],
    }
    assert re.findall(r"</span>&nbsp;(\d)", page) == ["2", "1", "0", "0", "1"]


def test_paper_that_does_not_run_is_not_shown():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["v1"]})
    page = opening(project, judged((A, OURS, "untestable"), (B, OURS, "not_run")), Path("results/smoke"))
    assert list(cells(page)) == ["The same claim at our scale, paper B"]
    assert re.findall(r"</span>&nbsp;(\d)", page) == ["0", "0", "0", "0", "1"]
    assert "results-paper-a" not in page


def test_claims_edited_after_training_are_said_at_once():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "v1"]})
    edit = {"id": "a-first", "paper": A, "change": "changed", "runs": 2, "without": 0, "of": 9}
    said = "1 claim was edited after runs were trained; the scorecard names them."
    assert said in opening(project, mixed_card(claims_edited=[edit]), Path("results/smoke"))
    assert "edited" not in opening(project, mixed_card(), Path("results/smoke"))


@pytest.mark.parametrize(("conditions", "letters"), [(["tc", "v1"], "ab"), (["v1"], "b")])
def test_figures_that_a_page_asks_for_are_those_of_the_papers_that_run(conditions, letters):
    project = load_project(ROOT, {"scale": "smoke", "conditions": conditions})
    page = opening(project, judged(), Path("results/smoke"))
    script = html.unescape(re.search(r'<style onload="([^"]+)">', page)[1])
    pages = {letter: f"results/smoke/pages/results-paper-{letter}.html" for letter in letters}
    assert f"const pages = {json.dumps(pages)};" in script


def test_first_link_opens_the_scorecard_and_folders_open_their_list():
    project = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "v1"]})
    page = opening(project, judged(), Path("results/smoke"))
    links = [html.unescape(link) for link in re.findall(r'<li><a href="([^"]+)">', page)]
    assert len(links) == 8
    assert 'contentPath: results["results/smoke/scorecard.html"].data_uri' in links[0]
    assert links[3] == 'javascript:void app.showCategory("4 Figures")'
