"""The page of a paper's results: order, pictures, captions, verdicts, and the paper's numbers beside ours."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from made_scorecards import card
from moe_replication.config import Project, load_project
from moe_replication.errors import BadInput
from moe_replication.files import write_json, write_text
from moe_replication.report.paper_results import grouped, item_of, results_page, title_of
from moe_replication.report.pictures import PAGE_BYTES
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM

ROOT = Path(__file__).parents[2]
PAPER = "expert-threshold"
SHOWN = ("a-table01", "a-fig06-pool-size", "a-confound")
RESULTS = Path("results/smoke")


def claim(name: str, verdict: str, figures: list[str], **known: object) -> dict:
    """A judged claim as scorecard.json has it, as far as the page looks at it."""
    return {
        "id": name, "paper": PAPER, "kind": SAME_CLAIM, "verdict": verdict, "claim": f"Claim of {name}.",
        "place": "Table 1", "sentence": f"Sentence of {name}.", "evidence": "", "figures": figures,
        "conditions": ["et", "tc"], "metric": "usage_std",
    } | known  # fmt: skip


CLAIMS = [
    claim("in-table", "reproduced", ["a-table01"], evidence="p = 0.01."),
    claim("in-both", "contradicted", ["a-table01", "a-confound"], kind=PAPER_CELL),
    claim("untested", "untestable", ["a-confound"]),
    claim("losses", "inconclusive", ["a-confound"], metric="val_loss", conditions=["dense", "tc"]),
    claim("nowhere", "inconclusive", []),
    claim("of-paper-b", "reproduced", ["a-table01"], paper="expert-ecology"),
]


def write_card(root: Path, *claims: dict, **changes: object) -> None:
    write_json(root / RESULTS / "scorecard.json", card(*(claims or CLAIMS), **changes))


@pytest.fixture
def project(tmp_path) -> Project:
    """Three figures of paper A with their files, its verdicts, and means of two conditions."""
    loaded = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "et", "v1"], "seeds": [0, 1]})
    paper = loaded.papers[PAPER]
    paper = dataclasses.replace(paper, figures={name: paper.figures[name] for name in SHOWN})
    for part in ("config", "workflow"):
        (tmp_path / part).symlink_to(ROOT / part)
    for name in SHOWN:
        files = tmp_path / "figures/smoke" / name
        write_text(files.with_suffix(".csv"), "condition,seed,value\net,0,3.1\ntc,0,3.2\n")
        Image.new("RGB", (1400, 600), "white").save(files.with_suffix(".png"))
    write_text(tmp_path / "figures/smoke/a-table01.md", "| model | loss |\n| --- | --- |\n| TC <b> | 3.2 |\n")
    write_card(tmp_path, scale_note="A handful of steps")
    rows = [(PAPER, "tc", "val_loss", 2, 5.125, 5.0, 5.25), (PAPER, "et", "val_loss", 1, 5.5, None, None)]
    columns = ["paper", "condition", "metric", "n", "mean", "ci_low", "ci_high"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(tmp_path / RESULTS / "summary.parquet")
    pl.DataFrame(schema=dict.fromkeys(("paper", "condition"), pl.String) | {"epoch": pl.Float64}).write_parquet(
        tmp_path / RESULTS / "curves.parquet"
    )
    return dataclasses.replace(loaded, root=tmp_path, papers={PAPER: paper})


@pytest.fixture
def page(project) -> str:
    return results_page(project, PAPER, project.root / RESULTS)


def section(page: str, name: str) -> str:
    """What stands between the start of a figure's section and that of the next."""
    return page.partition(f'<section id="{name}">')[2].partition("<section")[0]


def rows(section: str) -> list[list[str]]:
    """Cells of the table of the paper's numbers, without tags."""
    table = section.partition("The paper beside ours")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", table)
    return [
        [re.sub(r"<[^>]+>", " ", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", line)] for line in lines
    ]


def test_tables_and_figures_come_in_the_papers_order_and_ours_last():
    names = ["a-confound", "a-fig01-loss-curves", "a-table02", "a-appendix-a-leakage", "a-table-pools", "a-table08"]
    assert grouped(names) == {
        "Tables": ["a-table02", "a-table08"],
        "Figures": ["a-fig01-loss-curves"],
        "Appendices": ["a-appendix-a-leakage"],
        "Further tables and figures, not the paper's": ["a-confound", "a-table-pools"],
    }


def test_unnumbered_figures_are_one_group_without_a_heading():
    assert grouped(["b-iso-e", "b-table-tests"]) == {"": ["b-iso-e", "b-table-tests"]}


@pytest.mark.parametrize(
    ("name", "item", "title"),
    [
        ("a-table01", "Table 1", "Table 1"),
        ("a-fig04b-expert-ratio", "Figure 4b", "Figure 4b: expert ratio"),
        ("a-fig10-warmup", "Figure 10", "Figure 10: warmup"),
        ("a-appendix-a-leakage", "Appendix A", "Appendix A: leakage"),
        ("a-table-core-tasks", None, "Table: CORE tasks"),
        ("b-dead-vs-e", None, "Dead vs E"),
    ],
)
def test_a_figure_is_called_what_the_paper_calls_it(name, item, title):
    assert (item_of(name), title_of(name)) == (item, title)


def test_sections_stand_in_order_and_each_is_linked_from_the_contents(page):
    assert re.findall(r'<section id="([^"]+)">', page) == list(SHOWN)
    assert re.findall(r'<li><a href="#([^"]+)">', page) == list(SHOWN)


def test_picture_is_embedded_with_its_size_caption_and_a_text_in_its_place(page):
    shown = section(page, "a-fig06-pool-size")
    assert re.search(r'<img src="data:image/webp;base64,[^"]+" width="1400" height="600" alt="[^"]{40,}">', shown)
    caption = re.search(r"<figcaption>(.*?)</figcaption>", shown, re.DOTALL)[1]
    assert "Paper A, Table 1 and Figure 6, at scale" in caption
    assert ">smoke<" in caption
    assert "{" not in caption
    assert (
        '<a href="../../../figures/smoke/a-fig06-pool-size.csv" data-file="figures/smoke/a-fig06-pool-size.csv">'
        in shown
    )
    assert re.findall(r"<img(?![^>]* alt=)", page) == []


def test_caption_ends_with_n_as_the_csv_behind_the_figure_has_it(project):
    table = "kind,condition,seed,n,value\nseed,et,0,,3.1\nseed,et,1,,3.2\nseed,tc,0,,3.2\npaper,dense,7,9,2.9\n"
    write_text(project.root / "figures/smoke/a-confound.csv", table)
    write_text(project.root / "figures/smoke/a-table01.csv", "condition,n,mean\net,3,3.1\ntc,0,\n")
    write_text(project.root / "figures/smoke/a-fig06-pool-size.csv", "condition,seed,value\n")
    page = results_page(project, PAPER, project.root / RESULTS)
    captions = dict(re.findall(r'<section id="([^"]+)">.*?<figcaption>(.*?)</figcaption>', page, re.DOTALL))
    assert captions["a-confound"].endswith("<p>n = 1 to 2 seeds; conditions et, tc (a-confound.csv).</p>")
    assert captions["a-table01"].endswith("<p>n = 3; condition et (a-table01.csv).</p>")
    assert "a-fig06-pool-size.csv" not in captions["a-fig06-pool-size"]


def test_table_is_shown_as_a_table_whose_text_is_no_markup(page):
    shown = section(page, "a-table01")
    assert "<img" not in shown
    assert "<th>model</th>" in shown
    assert "<td>TC &lt;b&gt;</td>" in shown


def test_verdicts_stand_at_their_figures_with_sentence_and_evidence(page):
    table, own = section(page, "a-table01"), section(page, "a-confound")
    assert re.findall(r'class="badge (\w+)"', table) == ["reproduced", "contradicted"]
    assert "Sentence of in-table.<br><small>p = 0.01.</small>" in table
    assert table.count('<span class="kind">The paper&#x27;s cell</span>') == 1
    assert "of-paper-b" not in page
    judged, _, folded = own.partition("<details><summary>Claims without a verdict here: 1</summary>")
    assert re.findall(r'class="badge (\w+)"', judged) == ["contradicted", "inconclusive"]
    assert re.findall(r'class="badge (\w+)"', folded) == ["untestable"]
    assert "badge" not in section(page, "a-fig06-pool-size")


def test_claims_without_a_picture_come_last_and_totals_first(page):
    assert "nowhere" in page.partition("<h2>Claims without a picture</h2>")[2]
    totals = page.partition("<nav")[0]
    cells = [re.findall(r'<td class="number">(\d*)</td>', line) for line in re.findall(r"<tr>.*</tr>", totals)]
    # reproduced, contradicted, inconclusive, untestable, not run; our scale, then the paper's cell
    assert cells[1:] == [["1", "", "2", "1", ""], ["", "1", "", "", ""]]


def test_papers_numbers_stand_beside_our_means_with_interval_and_n(page):
    # Table 1 of the paper: TC 2.893, ET 2.844; dense has no mean of ours here.
    assert [row[1:6] for row in rows(section(page, "a-table01"))] == [
        ["val_loss", "2.893", "A, Table 1", "5.125 [5, 5.25]  end of training", "2"],
        ["val_loss", "2.844", "A, Table 1", "5.5  end of training", "1"],
    ]
    assert "at scale smoke orders and signs compare, absolute values do not" in section(page, "a-table01")


def test_figure_without_a_number_has_the_values_that_its_claims_speak_of(page):
    assert [row[1:4] for row in rows(section(page, "a-confound"))] == [["val_loss", "2.893", "A, Table 1"]]
    assert rows(section(page, "a-fig06-pool-size")) == []


def test_claims_edited_after_training_are_marked(project, page):
    edit = {"id": "in-table", "paper": PAPER, "change": "changed", "runs": 2, "without": 0, "of": 4}
    write_card(project.root, claims_edited=[edit, edit | {"id": "in-both", "paper": "expert-ecology"}])
    marked = results_page(project, PAPER, project.root / RESULTS)
    assert marked.count("changed: 2 of 4 runs were trained when it said something else") == 1
    assert "Sentence of in-table" in marked.partition("changed: 2 of 4")[2].partition("</li>")[0]
    assert "changed: " not in page


def test_words_of_a_claim_are_no_markup(project):
    spoiled = [claim("bad", "reproduced", ["a-table01"], sentence="<script>alert(1)</script>")]
    write_card(project.root, *spoiled, warnings=["<i>mixed</i>"])
    page = results_page(project, PAPER, project.root / RESULTS)
    assert "<script>alert" not in page
    assert "&lt;i&gt;mixed" in page


@pytest.mark.parametrize("file", ["a-confound.png", "a-table01.md", "a-fig06-pool-size.csv"])
def test_missing_file_of_a_figure_is_named(project, file):
    (project.root / "figures/smoke" / file).unlink()
    with pytest.raises(BadInput, match=rf"{re.escape(file)}: no such file.*draw"):
        results_page(project, PAPER, project.root / RESULTS)


def test_page_fits_into_a_data_address(page):
    assert len(page.encode()) < PAGE_BYTES
