from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.data_sets import used_data_sets
from moe_replication.config.overlays import read_layer
from moe_replication.config.project import Condition, Paper
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.report.checklist import ACL, NEURIPS, checklist_page
from moe_replication.report.html import escape
from moe_replication.report.origins import KINDS, counts_table, origin_kind, reconstructed_table, settings_of
from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM
from moe_replication.statistics.collect import collect

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "demo", "cpu", "cifar", "gpu", "paper")


@pytest.fixture(scope="module")
def project():
    return load_project(ROOT, {"scale": "smoke"})


@pytest.fixture
def results(finished_results):
    folder = finished_results / "results/smoke"
    collect(sorted((folder / "runs").glob("*/*/seed-*")), folder)
    claims = [
        {"kind": SAME_CLAIM, "verdict": "reproduced"},
        {"kind": SAME_CLAIM, "verdict": "reproduced"},
        {"kind": SAME_CLAIM, "verdict": "untestable"},
        {"kind": PAPER_CELL, "verdict": "contradicted"},
    ]
    totals = {"reproduced": 2, "contradicted": 1, "inconclusive": 0, "untestable": 1, "not_run": 0}
    write_json(folder / "scorecard.json", {"claims": claims, "totals": totals, "warnings": []})
    return folder


def item(page: str, head: str, number: str) -> str:
    """The row of an item of a checklist, tags and all."""
    section = page.partition(f"<h2>{head}</h2>")[2].partition("</section>")[0]
    found = re.search(rf"<tr><td><strong>{number}</strong>.*?(?=<tr><td><strong>|\Z)", section, re.DOTALL)
    assert found is not None, f"{head} {number}"
    return found[0]


def neurips(page: str, number: str) -> str:
    return item(page, "NeurIPS paper checklist", number)


def test_every_item_of_both_lists_has_an_answer(project, results):
    page = checklist_page(project, results)
    assert [number for number, _, _ in NEURIPS] == [str(number) for number in range(1, 17)]
    for head, items in (("NeurIPS paper checklist", NEURIPS), ("ACL responsible NLP checklist", ACL)):
        for number, _, _ in items:
            assert re.search(r'<span class="answer [a-z-]+">(yes|partly|not applicable|for the author)</span>',
                             item(page, head, number))  # fmt: skip


def test_what_no_record_answers_is_left_to_the_author(project, results):
    page = checklist_page(project, results)
    assert "NeurIPS paper checklist: 9, 10, 16. ACL responsible NLP checklist: A2, B3, B4, E1." in page
    assert "AI assistants" in item(page, "ACL responsible NLP checklist", "E1")


def test_seeds_are_counted_from_the_runs(project, results):
    assert "3 seeds a condition" in neurips(checklist_page(project, results), "7")
    path = results / "runs.parquet"
    runs = pl.read_parquet(path)
    runs.filter((pl.col("condition") != "et") | (pl.col("seed") == 0)).write_parquet(path)
    page = checklist_page(project, results)
    assert "1 to 3 seeds a condition" in neurips(page, "7")
    assert "Fewest seeds of a condition: 1. An exact sign-flip test of so many cannot go below p = 1." in neurips(
        page, "2"
    )


def test_claims_of_our_scale_and_the_paper_s_numbers_stay_apart(project, results):
    text = re.sub(r"<[^>]+>", "", neurips(checklist_page(project, results), "1")).replace("&nbsp;", " ")
    assert "claims at our scale: reproduced 2 untestable 1." in text
    assert "own numbers: contradicted 1." in text


def test_deterministic_and_imported_runs_are_counted(project, results):
    path = results / "runs.parquet"
    first = (pl.col("condition") == "et") & (pl.col("seed") == 0)
    changed = pl.read_parquet(path).with_columns(
        deterministic=pl.when(first).then(False).otherwise(pl.col("deterministic")), imported=first
    )
    changed.write_parquet(path)
    found = neurips(checklist_page(project, results), "4")
    assert "Deterministic mode in 80 of 81 runs. Imported from a bundle: 1." in found


def test_licences_of_the_data_that_the_scale_reads_are_listed(project, results):
    found = neurips(checklist_page(project, results), "12")
    assert all(escape(entry.licence) in found for entry in used_data_sets(project))
    assert "CIFAR" not in found, "smoke reads stand-ins"
    assert "Apache-2.0" in found


@pytest.mark.parametrize("scale", SCALES)
def test_every_set_has_its_licence_and_every_origin_its_kind_at_every_scale(scale):
    for recipe in ("paper", "released"):
        project = load_project(ROOT, {"scale": scale, "recipe": recipe})
        trained = {row.config.data.set for paper in project.papers.values() for row in paper.conditions.values()}
        assert trained <= {entry.name for entry in used_data_sets(project)}
        origins = {key[2] for paper in project.papers.values() for key in settings_of(paper)}
        assert {origin_kind(origin) for origin in origins} <= set(KINDS)


def test_probes_and_scores_of_the_large_scales_name_their_sets():
    names = [entry.name for entry in used_data_sets(load_project(ROOT, {"scale": "gpu"}))]
    assert names[-3:] == ["humaneval", "gsm8k", "core-bundle"]


def test_a_set_without_an_entry_is_refused(tmp_path):
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / part)
    path = tmp_path / "config/data_sets.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    del entries["embedded"]
    path.write_text(yaml.safe_dump(entries), encoding="utf-8")
    with pytest.raises(BadInput, match=r"config/data_sets.yaml: no entry for embedded, which runs read"):
        used_data_sets(load_project(tmp_path, {"scale": "smoke"}))


def made_paper(trees: dict[str, dict]) -> Paper:
    conditions = {
        name: Condition(name=name, title=name, rows=(), baseline=None, recipe=None, config=None,
                        tree=read_layer(tree, "ours"))
        for name, tree in trees.items()
    }  # fmt: skip
    return Paper(name="p", figures={}, known_conditions=tuple(trees), conditions=conditions)


def test_settings_are_counted_once_a_value_and_origin():
    common = {"a": {"value": 1, "origin": "R"}, "b": {"c": {"value": None, "origin": "R: <why>"}}, "d": 2}
    paper = made_paper(
        {"x": common, "y": common | {"a": {"value": 5, "origin": "paper, Table 1"}, "e": {"value": 0, "origin": "N"}}}
    )
    found = settings_of(paper)
    assert found["b.c", "null", "R: <why>"] == ["x", "y"]
    assert found["a", "1", "R"] == ["x"]
    # Two from the papers (a = 5, e), two reconstructed (a = 1, b.c), one ours (d).
    assert '<td>p</td><td class="number">2</td><td class="number">0</td><td class="number">2</td>' in (
        counts_table({"p": paper})
    )
    listed = reconstructed_table(paper)
    assert '<td><code>a</code></td><td>1</td><td>no public source</td><td class="number">1</td>' in listed
    assert '<td><code>b.c</code></td><td>null</td><td>&lt;why&gt;</td><td class="number">2</td>' in listed
    assert "<code>d</code>" not in listed
