"""Appendix A's figure on two pools of a sequence of eight tokens."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import leakage, style
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

INFO = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=pl.DataFrame(schema=SCHEMA))
RUNS = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": ["dense", "ec-sequence", "ec-sequence", "ec-batch", "et"],
        "seed": [0, 0, 1, 0, 0],
        "title": ["Dense", "EC one", "EC one", "EC", "ET"],
        "rule": ["dense", "expert_choice", "expert_choice", "expert_choice", "expert_threshold"],
        "pool_tokens": [None, 8, 8, 64, 64],
        "experts": [None, 4, 4, 4, 4],
        "top_k": [None, 1, 1, 1, 1],
    }
)


def test_every_pool_that_was_run_has_its_bits_once():
    data = leakage.leakage_data(RUNS)
    used = data.filter(pl.col("condition").is_not_null()).sort("condition", "quantity")
    assert used.select("condition", "quantity").rows() == [
        (condition, quantity)
        for condition in ("ec-batch", "ec-sequence")
        for quantity in ("ideal", "lower_bound", "threshold")
    ]
    one = used.filter(condition="ec-sequence", quantity="ideal").row(0, named=True)
    # k = 2 of 8 tokens: C(8, 2) = 28; 4 experts over 8 tokens
    assert (one["pool_tokens"], one["bits_per_expert"]) == (8, pytest.approx(math.log2(28)))
    assert one["bits_per_token"] == pytest.approx(math.log2(28) / 2)


def test_lines_reach_a_factor_of_four_beyond_the_pools_but_leave_every_expert_a_token():
    data = leakage.leakage_data(RUNS).filter(pl.col("condition").is_null(), quantity="ideal")
    assert data["pool_tokens"].to_list() == [4, 8, 16, 32, 64, 128, 256]


def test_two_fan_outs_are_told_apart(tmp_path):
    two = RUNS.filter(condition="ec-batch").with_columns(condition=pl.lit("ec-no-shared"), top_k=pl.lit(2, pl.Int64))
    data = leakage.leakage_data(pl.concat([RUNS, two]))
    assert data.filter(condition="ec-no-shared")["top_k"].unique().to_list() == [2]
    with style.styled():
        _, axes = style.panels(width=4, height=3)
        leakage.bits_panel(axes[0, 0], data, "bits_per_token")
        labels = [handle.get_label() for handle in leakage._legend(data)]
    assert labels[-2:] == ["1 of 4 experts a token", "2 of 4 experts a token"]
    assert len([line for line in axes[0, 0].lines if line.get_marker() == "None"]) == 6


@pytest.mark.parametrize("runs", [RUNS.filter(rule="dense"), RUNS.clear(), RUNS.drop("top_k")])
def test_without_expert_choice_the_figure_says_so(tmp_path, runs):
    leakage.draw({"runs": runs}, INFO, tmp_path / "figure")
    assert pl.read_csv(tmp_path / "figure.csv").is_empty()
    assert (tmp_path / "figure.pdf").is_file()


def test_it_draws(tmp_path):
    leakage.draw({"runs": RUNS}, INFO, tmp_path / "figure")
    assert pl.read_csv(tmp_path / "figure.csv").columns == list(leakage.OUT)
    assert (tmp_path / "figure.png").stat().st_size > 1000
