from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import ANALYSIS_FILE, analysis_digest, analysis_settings
from moe_replication.config.claims import claim_digest, load_claims
from moe_replication.errors import BadInput
from moe_replication.files import sha256_json
from moe_replication.statistics.claims import VERDICTS
from moe_replication.statistics.collect import REGISTERED, collect
from moe_replication.statistics.scorecard import edited, write_scorecard

ROOT = Path(__file__).parents[2]
ANALYSIS = analysis_settings(ROOT)
REQUIRED = {
    "id", "paper", "scale", "place", "kind", "comparison", "test", "family", "verdict", "effect", "ci_low", "ci_high",
    "interval", "logarithmic", "sd", "sd_unit", "n", "n_needed", "n_needed_of", "n_needed_paper", "p", "p_corrected",
    "p_paper", "power", "power_at", "power_reason", "detectable", "paper_value", "sentence", "claim", "evidence",
    "figures",
}  # fmt: skip


@pytest.fixture
def claims():
    return load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")


@pytest.fixture
def results(collected_results):
    schema = {"paper": pl.String, "condition": pl.String, "seed": pl.Int64}
    pl.DataFrame(schema=schema).write_parquet(collected_results / "probe-metrics.parquet")
    return collected_results


def at_smoke(claims):
    return [claim | {"scales": ["smoke"]} for claim in claims]


def test_scorecard_json_has_the_agreed_shape(results, claims):
    written = write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS, "a note on the scale")
    card = json.loads((results / "scorecard.json").read_text())
    assert card == written
    keys = {"claims_sha256", "claims_edited", "totals", "sections", "tests", "warnings", "trained", "claims"}
    assert {"scale", "scale_note", *keys} == set(card)
    assert (card["scale"], card["scale_note"], card["warnings"]) == ("smoke", "a note on the scale", [])
    assert card["claims_sha256"] == sha256_json(at_smoke(claims))
    assert [entry["id"] for entry in card["claims"]] == [claim["id"] for claim in claims]
    for entry in card["claims"]:
        assert set(entry) >= REQUIRED
        assert entry["scale"] == "smoke"
        assert (entry["power"] is None) == (entry["power_reason"] is not None)
        assert (entry["ci_low"] is None) == (entry["interval"] is None)
        assert (entry["n_needed_of"] is not None) == (entry["verdict"] == "inconclusive")


def test_totals_count_every_claim_once_and_never_mix_kinds(results, claims):
    card = write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    assert sum(card["totals"].values()) == len(claims)
    places = [(section["kind"], section["paper"]) for section in card["sections"]]
    ours, cell = "same claim at our scale", "the paper's cell"
    assert places == [(kind, f"expert-{paper}") for kind in (ours, cell) for paper in ("threshold", "ecology")]
    for verdict in VERDICTS:
        assert sum(section["totals"][verdict] for section in card["sections"]) == card["totals"][verdict]
    cells = [claim for claim in claims if claim["comparison"] in ("value", "difference")]
    assert sum(sum(s["totals"].values()) for s in card["sections"] if s["kind"] == cell) == len(cells)


def test_the_fixture_tree_gets_the_verdicts_it_was_built_for(results, claims):
    card = write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    verdicts = {entry["id"]: entry["verdict"] for entry in card["claims"]}
    assert verdicts["a-ec-small-pool-gap"] == "reproduced"
    assert verdicts["b-guarantee-hard-task"] == "contradicted"
    assert verdicts["b-v1-no-dead"] == "inconclusive"
    assert verdicts["b-v6-entropy-not-needed"] == verdicts["a-gap-et-tc-d20"] == "not_run"


def test_claims_of_other_scales_are_untestable(results, claims):
    card = write_scorecard(results, claims, "smoke", ANALYSIS)
    assert card["totals"]["untestable"] == len(claims)


def test_conditions_with_runs_are_listed(results, claims):
    trained = write_scorecard(results, claims, "smoke", ANALYSIS)["trained"]
    assert "v1" in trained["expert-ecology"]
    assert "v6-no-entropy" not in trained["expert-ecology"]


def test_pooled_versions_are_a_warning(results, claims, write_run):
    root = results.parents[1]
    write_run(root, "expert-ecology", "v1", 0, record={"training_code": "ffffffffffff"})
    collect(sorted((results / "runs").glob("*/*/seed-*")), results)
    card = write_scorecard(results, claims, "smoke", ANALYSIS)
    assert card["warnings"] == [
        "expert-ecology: runs of several versions are pooled; see mixed_versions in runs.parquet"
    ]


@pytest.mark.parametrize("table", ["runs", "registered-claims"])
def test_a_truncated_table_is_named_and_no_scorecard_is_left(results, claims, table):
    path = results / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=rf"{table}\.parquet: not a readable parquet"):
        write_scorecard(results, claims, "smoke", ANALYSIS)
    assert not (results / "scorecard.json").exists()


def test_two_calls_write_the_same_bytes(results, claims):
    write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    first = (results / "scorecard.json").read_bytes()
    write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    assert first == (results / "scorecard.json").read_bytes()


def test_claims_as_they_were_at_training_are_not_edited(results, claims):
    assert write_scorecard(results, claims, "smoke", ANALYSIS)["claims_edited"] == []


def test_a_claim_that_is_edited_after_the_runs_is_named(results, claims):
    edit = {"margin": 0.5}
    later = [claim | edit if claim["id"] == "b-v1-no-dead" else claim for claim in claims]
    runs = len(list((results / "runs/expert-ecology").glob("*/seed-*")))
    assert write_scorecard(results, later, "smoke", ANALYSIS)["claims_edited"] == [
        {"id": "b-v1-no-dead", "paper": "expert-ecology", "change": "changed", "runs": runs, "without": 0, "of": runs}
    ]


def test_definitions_that_are_edited_after_the_runs_are_named(results, claims):
    later = dataclasses.replace(ANALYSIS, starved_share=0.2)
    edits = write_scorecard(results, claims, "smoke", later)["claims_edited"]
    assert [(edit["id"], edit["change"]) for edit in edits] == [("config/analysis.yaml", "changed")] * 2
    assert {edit["paper"] for edit in edits} == {"expert-threshold", "expert-ecology"}


def test_tests_and_families_are_counted_by_paper(results, claims):
    card = write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    for found in card["tests"]:
        tested = [e for e in card["claims"] if e["paper"] == found["paper"] and e["p"] is not None]
        assert (found["tests"], found["families"]) == (len(tested), len({entry["family"] for entry in tested}))
        assert all(entry["p_paper"] >= entry["p_corrected"] for entry in tested)
        assert found["over_paper"] <= found["settled"] < found["tests"]


def edits(today, registered, runs=5):
    """(id, change, runs, without) of claims {id: text} today, where (id, text, n) says what n of the runs knew."""
    claims = [{"paper": "p", "id": name, "statement": text} for name, text in today.items()]
    rows = [("p", name, claim_digest({"paper": "p", "id": name, "statement": text}), n) for name, text, n in registered]
    rows += [(paper, ANALYSIS_FILE, analysis_digest(ANALYSIS), n) for paper, n in (("p", runs), ("q", 1))]
    table = pl.DataFrame(rows, schema=REGISTERED, orient="row")
    found = edited(claims, ANALYSIS, pl.DataFrame({"paper": ["p"] * runs + ["q"]}), table)
    assert all((edit["paper"], edit["of"]) == ("p", runs) for edit in found)
    return [(edit["id"], edit["change"], edit["runs"], edit["without"]) for edit in found]


def test_edits_are_counted_in_runs():
    """Of five runs two knew an older text; all of them knew it otherwise; nobody knew it."""
    assert edits({"c": "new"}, [("c", "new", 5)]) == []
    assert edits({"c": "new"}, [("c", "old", 2), ("c", "new", 3)]) == [("c", "changed", 2, 0)]
    assert edits({"c": "new"}, [("c", "old", 1), ("c", "older", 4)]) == [("c", "changed", 5, 0)]
    assert edits({"c": "new"}, []) == [("c", "added", 5, 0)]


def test_a_claim_added_between_runs_and_one_removed():
    assert edits({"c": "new"}, [("c", "new", 3)]) == [("c", "added", 2, 0)]
    assert edits({"c": "new"}, [("c", "new", 1), ("c", "old", 1)]) == [("c", "added and changed", 1, 3)]
    assert edits({}, [("c", "old", 2), ("c", "older", 1)]) == [("c", "removed", 3, 0)]


def test_another_figure_is_no_edit():
    claim = {"paper": "p", "id": "c", "statement": "s", "figures": ["a"]}
    rows = [("p", "c", claim_digest(claim), 1), ("p", ANALYSIS_FILE, analysis_digest(ANALYSIS), 1)]
    table = pl.DataFrame(rows, schema=REGISTERED, orient="row")
    assert edited([claim | {"figures": ["b"]}], ANALYSIS, pl.DataFrame({"paper": ["p"]}), table) == []
