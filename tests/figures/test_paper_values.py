"""The data file of reported values, and what is refused in it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from moe_replication.errors import BadInput
from moe_replication.figures.paper_values import SCHEMA, of_metric, read_paper_values, reported

ROOT = Path(__file__).parents[2]

# Condition -> validation loss and CORE, as printed.
TABLES = {
    "A, Table 1": {
        "dense": (3.002, 15.743), "tc": (2.893, 17.983), "tc-aux": (2.892, 15.894), "tc-loss-free": (2.898, 18.031),
        "ec-sequence": (2.910, 17.91), "ec-8k": (2.845, 18.83), "ec-64k": (2.841, 18.754), "ec-batch": (2.843, 19.94),
        "et": (2.844, 19.876),
    },
    "A, Table 2": {
        "d20-dense": (2.751, 20.43), "d20-tc-aux": (2.687, 22.31), "d20-ec": (2.621, 24.98), "d20-et": (2.620, 25.14),
    },
    "A, Table 8": {
        "ec-batch": (2.843, 19.94), "ec-no-shared": (2.862, 16.307), "et-no-warmup": (2.844, 16.867),
        "et-no-warmup-no-shared": (2.862, 18.515),
    },
}  # fmt: skip
# Pairs of steps in the order of the strips, and the strips of Figures 8 and 14.
PAIRS = [(5000, 10000), (5000, 15000), (5000, 19000), (10000, 15000), (10000, 19000), (15000, 19000)]
STRIPS = {
    ("weighted_jaccard", "A, Figure 8"): {
        "ec-sequence": [0.607, 0.446, 0.451, 0.540, 0.577, 0.618], "ec-64k": [0.683, 0.664, 0.678, 0.708, 0.752, 0.780],
        "et": [0.658, 0.659, 0.662, 0.697, 0.740, 0.773], "tc": [0.645, 0.607, 0.595, 0.745, 0.743, 0.797],
    },
    ("joint_jsd", "A, Figure 14"): {
        "ec-sequence": [0.193, 0.297, 0.264, 0.245, 0.203, 0.205], "ec-64k": [0.162, 0.181, 0.169, 0.150, 0.126, 0.110],
        "et": [0.196, 0.197, 0.197, 0.166, 0.145, 0.120], "tc": [0.216, 0.244, 0.254, 0.146, 0.148, 0.113],
    },
}  # fmt: skip
# Metric of a claim about the last pair of snapshots -> metric of the strips.
LAST_PAIR = {f"consistency_{name}_last": name for name, _ in STRIPS}


@pytest.mark.parametrize("place", TABLES)
def test_shipped_tables_are_the_papers(paper_values, place):
    rows = TABLES[place]
    assert reported(paper_values, "val_loss", place) == {name: loss for name, (loss, _) in rows.items()}
    assert reported(paper_values, "core", place) == {name: core for name, (_, core) in rows.items()}


def test_shipped_training_losses_are_the_papers(paper_values):
    losses = of_metric(paper_values, "train_loss").select("condition", "pool_tokens", "value").rows()
    assert losses == [
        ("ec-sequence", 2048, 2.874), ("ec-8k", 8192, 2.844), ("ec-64k", 65536, 2.836), ("ec-batch", 524288, 2.840),
    ]  # fmt: skip
    table_1 = of_metric(paper_values, "val_loss", "A, Table 1").drop_nulls("pool_tokens")
    assert table_1.select("condition", "pool_tokens").rows() == [row[:2] for row in losses]


@pytest.mark.parametrize(("metric", "place"), STRIPS)
def test_shipped_strips_are_the_papers(paper_values, metric, place):
    rows = of_metric(paper_values, metric, place)
    strips = {
        name: dict(zip(part.select("step_a", "step_b").rows(), part["value"], strict=True))
        for (name,), part in rows.group_by("condition")
    }
    expected = STRIPS[metric, place]
    assert strips == {name: dict(zip(PAIRS, values, strict=True)) for name, values in expected.items()}


def test_shipped_values_of_the_text_are_the_papers(paper_values):
    assert dict(paper_values.schema) == SCHEMA
    assert of_metric(paper_values, "token_ratio").select("condition", "value").rows() == [("d20-et", 1.6)]
    texts = ("normalization_loss", "saturation", "starvation", "raw_usage_low", "raw_usage_high", "training_steps")
    values = [of_metric(paper_values, name)["value"].to_list() for name in texts]
    assert values == [[0.04], [0.08], [0.03], [0.0625], [0.07], [19073]]
    dead = of_metric(paper_values, "dead_experts", "B, ")
    hard = dead.filter(pl.col("dataset") == "TinyImageNet").sort("control_number", "value")
    assert hard["value"].to_list() == [7, 25, 7]
    assert paper_values["place"].null_count() == 0


def test_shipped_courses_and_perplexities_are_the_papers(paper_values):
    courses = of_metric(paper_values, "dead_experts_by_epoch", "B, ").select("condition", "epoch", "value").rows()
    assert courses == [("v6", 10, 12), ("v6", 80, 4), ("v3-e0.545", 60, 0), ("v5-random-warmup", 80, 0)]
    peaks = of_metric(paper_values, "dead_experts_peak", "B, ").select("condition", "epoch", "value").rows()
    assert peaks == [("v3-e0.545", None, 9), ("v5-random-warmup", None, 13)]
    assert of_metric(paper_values, "tier_share_2", "B, ").select("epoch", "value").rows() == [(30, 0.009), (99, 0.091)]
    sweep = of_metric(paper_values, "perplexity", "B, L2")["value"].to_list()
    assert sweep == [35041, 33493, 35737, 33163, 37812]


def test_shipped_accuracies_are_the_papers_and_values_of_epoch_40_say_so(paper_values):
    found = of_metric(paper_values, "test_accuracy", "B, ").select("condition", "epoch", "value").rows()
    assert found == [
        ("v6", 40, 0.3341), ("v7-e1.0", 40, 0.2719), ("v8-32-experts", 40, 0.2699), ("x1-4444", None, 0.4751),
        ("x1-4444", None, 0.4729), ("x1-flat", None, 0.4754), ("x1-cifar100-4444", None, 0.6440),
        ("x1-cifar100-flat", None, 0.6588),
    ]  # fmt: skip
    named = pl.col("place").str.contains("epoch 40")
    assert paper_values.filter(named != pl.col("epoch").eq_missing(40)).is_empty()


def test_claims_of_a_value_give_the_value_that_figures_show(paper_values):
    """A cell is in both files; the same condition and metric must have one number wherever it stands."""
    last = (pl.col("step_b").is_null()) | ((pl.col("step_a") == 15000) & (pl.col("step_b") == 19000))
    shown: dict[tuple[str, str], set[float]] = {}
    for condition, metric, value in paper_values.filter(last).select("condition", "metric", "value").iter_rows():
        shown.setdefault((condition, metric), set()).add(value)
    claims = yaml.safe_load((ROOT / "config" / "claims" / "expert-threshold.yaml").read_text(encoding="utf-8"))
    found = {}
    for claim in claims:
        key = claim["conditions"][0], LAST_PAIR.get(claim["metric"], claim["metric"])
        if claim["comparison"] == "value" and key in shown:
            found[claim["id"]] = shown[key] == {claim["paper_value"]}
    assert [name for name, same in found.items() if not same] == []
    assert len(found) >= 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [{metric: m, value: 1, label: x}]", r"a\[0\]: 'place' is missing"),
        ("a: [{metric: m, value: 1, label: x, place: p, seed: 1}]", r"unknown key 'seed'"),
        ("a: [{metric: m, value: high, label: x, place: p}]", r"value 'high' is not a number"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_wrong_entries_are_named(tmp_path, text, message):
    path = tmp_path / "values.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_paper_values(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml: no such file"):
        read_paper_values(tmp_path / "none.yaml")
