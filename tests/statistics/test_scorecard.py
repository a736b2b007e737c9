from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.config.claims import load_claims
from moe_replication.errors import BadInput
from moe_replication.files import sha256_json
from moe_replication.statistics.collect import collect
from moe_replication.statistics.scorecard import as_html, as_markdown, write_scorecard

ROOT = Path(__file__).parents[2]
ANALYSIS = analysis_settings(ROOT)
REQUIRED = {
    "id", "paper", "place", "verdict", "effect", "ci_low", "ci_high", "n", "p", "p_corrected", "paper_value",
    "sentence", "claim", "evidence", "figures",
}  # fmt: skip


@pytest.fixture
def claims():
    return load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")


@pytest.fixture
def results(finished_results):
    folder = finished_results / "results/smoke"
    collect(sorted((folder / "runs").glob("*/*/seed-*")), folder)
    no_probes(folder)
    return folder


def no_probes(folder):
    schema = {"paper": pl.String, "condition": pl.String, "seed": pl.Int64}
    pl.DataFrame(schema=schema).write_parquet(folder / "probe-metrics.parquet")


def at_smoke(claims):
    return [claim | {"scales": ["smoke"]} for claim in claims]


def test_scorecard_json_has_the_agreed_shape(results, claims):
    write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS, "a note on the scale")
    card = json.loads((results / "scorecard.json").read_text())
    assert {"scale", "scale_note", "claims_sha256", "claims", "totals", "warnings"} == set(card)
    assert (card["scale"], card["scale_note"], card["warnings"]) == ("smoke", "a note on the scale", [])
    assert card["claims_sha256"] == sha256_json(at_smoke(claims))
    assert [entry["id"] for entry in card["claims"]] == [claim["id"] for claim in claims]
    assert all(set(entry) >= REQUIRED for entry in card["claims"])
    assert sum(card["totals"].values()) == len(claims)


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


def test_markdown_separates_our_scale_from_the_papers_cells(results, claims):
    text = as_markdown(write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS))
    ours, cells = text.index("The same claim at our scale"), text.index("The paper's cell")
    assert ours < text.index("a-et-below-tc") < cells < text.index("(a-cell-tc)")
    assert "cannot reach alpha = 0.05 at n = 3" in text
    assert "[a-fig06-pool-size](../../figures/smoke/a-fig06-pool-size.png)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") - line.count("\\|") == 9 for line in table)


class Page(HTMLParser):
    """Collects links, badges, visible text and tags; complains about unbalanced tables."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.words.append(data)


def test_html_is_self_contained_and_says_verdicts_in_words(results, claims):
    card = write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    text = (results / "scorecard.html").read_text()
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert set(page.links) == {f"../../figures/smoke/{name}.png" for claim in claims for name in claim["figures"]}
    assert page.words.count("contradicted") == 1 + card["totals"]["contradicted"]
    assert "color-scheme: light dark" in text
    assert page.tags.count("tr") == len(claims) + 4


def test_html_escapes_what_yaml_says(results, claims):
    claim = at_smoke(claims)[0] | {"statement": "a <script>alert(1)</script> & b"}
    text = as_html(write_scorecard(results, [claim], "smoke", ANALYSIS, "<i>note</i>"))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; b" in text
    assert "&lt;i&gt;note&lt;/i&gt;" in text


def test_pooled_versions_are_said_on_the_page(results, claims, write_run):
    root = results.parents[1]
    write_run(root, "expert-ecology", "v1", 0, record={"training_code": "ffffffffffff"})
    collect(sorted((results / "runs").glob("*/*/seed-*")), results)
    card = write_scorecard(results, claims, "smoke", ANALYSIS)
    assert card["warnings"] == [
        "expert-ecology: runs of several versions are pooled; see mixed_versions in runs.parquet"
    ]
    assert "runs of several versions are pooled" in as_html(card)
    assert "runs of several versions are pooled" in as_markdown(card)


def test_a_truncated_table_is_named_and_no_scorecard_is_left(results, claims):
    path = results / "runs.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"runs\.parquet: not a readable parquet"):
        write_scorecard(results, claims, "smoke", ANALYSIS)
    assert not (results / "scorecard.json").exists()


def test_two_calls_write_the_same_bytes(results, claims):
    names = ("scorecard.json", "scorecard.md", "scorecard.html")
    write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    first = [(results / name).read_bytes() for name in names]
    write_scorecard(results, at_smoke(claims), "smoke", ANALYSIS)
    assert first == [(results / name).read_bytes() for name in names]
