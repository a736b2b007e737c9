"""Cut-off deviation and usage on two experts and two seeds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import cutoff
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

INFO = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=pl.DataFrame(schema=SCHEMA))
RUNS = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": ["dense", "ec-sequence", "ec-batch", "et", "et-no-warmup", "d20-et"],
        "seed": 0,
        "title": ["Dense", "EC one", "EC", "ET", "ET cold", "ET d20"],
        "rule": ["dense", "expert_choice", "expert_choice", *["expert_threshold"] * 3],
        "pool_tokens": [None, 256, 8192, 8192, 8192, 99999],
        "experts": [None, 2, 2, 2, 2, 2],
    }
)
EXPERTS = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": "et",
        "seed": [0, 0, 1, 1],
        "step": 7,
        "layer": 1,
        "expert": [0, 1, 0, 1],
        "usage": [0.4, 0.6, 0.5, 0.5],
        "cutoff_deviation": [0.0, 0.0, None, 0.0],
    }
)


def test_every_pool_that_ran_is_named_with_its_own_size(tmp_path):
    names = ["et", "ec-8k", "ec-sequence", "et-no-warmup", "d20-et"]
    experts = pl.concat([EXPERTS.with_columns(condition=pl.lit(name)) for name in names])
    runs = pl.concat([RUNS, RUNS.tail(1).with_columns(condition=pl.lit("ec-8k"), pool_tokens=pl.lit(1024, pl.Int64))])
    cutoff.draw({"runs": runs, "experts": experts}, INFO, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv")
    pools = dict(drawn.select("condition", "pool_tokens").unique().iter_rows())
    assert pools == {"ec-sequence": 256, "ec-8k": 1024, "et": 8192}
    data = cutoff.cutoff_data(runs, experts)
    title = cutoff.pool_title(data.filter((pl.col("condition") == "ec-8k") & (pl.col("series") == "usage")))
    assert title == "EC, second pool\npool of 1k tokens\nn = 2"


def test_mean_and_sd_run_over_experts_and_seeds():
    data = cutoff.cutoff_data(RUNS, EXPERTS)
    usage = data.row(by_predicate=pl.col("series") == "usage", named=True)
    assert (usage["n"], usage["experts_averaged"], usage["mean"]) == (2, 2, pytest.approx(50.0))
    assert usage["sd"] == pytest.approx((200 / 3) ** 0.5)  # 40, 60, 50, 50 %
    assert usage["one_expert"] == pytest.approx(40.0)
    deviation = data.row(by_predicate=pl.col("series") == "cutoff_deviation", named=True)
    assert (deviation["mean"], deviation["sd"]) == (0.0, 0.0)


def test_only_one_of_the_two_rules_draws(tmp_path):
    cutoff.draw({"runs": RUNS, "experts": EXPERTS}, INFO, tmp_path / "figure")
    assert pl.read_csv(tmp_path / "figure.csv")["condition"].unique().to_list() == ["et"]


def test_without_the_two_rules_the_figure_says_so(tmp_path):
    cutoff.draw({"runs": RUNS, "experts": EXPERTS.clear()}, INFO, tmp_path / "figure")
    assert pl.read_csv(tmp_path / "figure.csv").is_empty()
