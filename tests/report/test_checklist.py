from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from made_scorecards import card, entry, unjudged
from moe_replication.config import load_project
from moe_replication.config.data_sets import used_data_sets
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.report.checklist import ACL, NEURIPS, checklist_page
from moe_replication.report.citations import TOOLS
from moe_replication.report.html import escape
from moe_replication.report.origins import OTHER, origin_kind, settings_of
from moe_replication.statistics.claims import PAPER_CELL

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "demo", "cpu", "cifar", "gpu", "paper")


@pytest.fixture(scope="module")
def project():
    return load_project(ROOT, {"scale": "smoke"})


@pytest.fixture
def results(collected_results):
    write_json(collected_results / "scorecard.json", made_card())
    return collected_results


def made_card(**changes: object) -> dict:
    """Of our scale two reproduced and one untestable, of the paper's cells one contradicted."""
    entries = [entry("a-1", "reproduced"), entry("a-2", "reproduced"), unjudged("b-1", "untestable")]
    return card(*entries, entry("b-2", "contradicted", kind=PAPER_CELL), **changes)


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
    assert "The same claim at our scale: reproduced 2 untestable 1." in text
    assert "The paper&#x27;s cell: contradicted 1." in text
    assert "edited" not in text


def test_claims_edited_after_training_are_said(project, results):
    edits = [
        {"id": f"a-{n}", "paper": "expert-threshold", "change": "added", "runs": 1, "without": 0, "of": 9}
        for n in (1, 2)
    ]
    write_json(results / "scorecard.json", made_card(claims_edited=edits))
    said = "2 claims were edited after runs were trained; the scorecard names them."
    assert said in neurips(checklist_page(project, results), "1")


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
        assert {origin for origin in origins if origin_kind(origin) == OTHER} == set()


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


def test_whether_there_was_a_search_is_left_to_the_author(project, results):
    found = neurips(checklist_page(project, results), "6")
    assert '<span class="answer partly">partly</span>' in found
    known = sum(len(paper.known_conditions) for paper in project.papers.values())
    assert f"All 81 runs of 27 of the {known} conditions of the matrix are in the tables" in found
    assert "whether there was a search is for the author to say" in found
    # Paper B's rates at this scale, with their origin.
    assert "<td>expert-ecology</td><td>optimizer.encoder_lr</td>" in found


def test_sums_of_cost_say_what_is_not_in_them(project, results):
    found = neurips(checklist_page(project, results), "8")
    assert '<span class="answer partly">partly</span>' in found
    assert "in all" not in found
    for part in ("killed after a checkpoint", "preparation of data", "probes", "CORE", "figures"):
        assert part in found.partition("Not in these sums:")[2]


def test_tools_are_cited_as_in_the_citation_file(project, results):
    page = item(checklist_page(project, results), "ACL responsible NLP checklist", "B1")
    assert all(f"{name}: {escape(cite)}." in page for name, cite in TOOLS.items())
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    for name, cite in TOOLS.items():
        (work,) = (work for work in references if name in work["title"])
        assert cite.startswith(work["authors"][0]["family-names"]), name
        assert "year" not in work or str(work["year"]) in cite
        assert "doi" not in work or cite.endswith(work["doi"])


def test_every_tool_that_computes_results_is_cited():
    cited = {re.sub(r"^hugging face |[^a-z]", "", name.lower()) for name in TOOLS} | {"torch"}
    names = (
        "torch deepspeed datasets tokenizers numpy scipy statsmodels scikit-learn polars matplotlib snakemake mlflow"
    )
    pins = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert all(f"\n{name}==" in pins for name in names.split())
    assert {name.replace("-", "") for name in names.split()} <= cited
