"""Dead experts, usage and tier shares of paper B on frames small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import deaths, ecology, style
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

REPORTED = pl.DataFrame(
    [
        {
            "paper": "expert-ecology",
            "metric": "dead_experts",
            "dataset": "TinyImageNet",
            "control_number": 0.545,
        }
        | {"value": 7.0, "label": "7/16", "place": "B, V6"},
        {"paper": "expert-ecology", "metric": "dead_experts", "dataset": "CIFAR-10", "control_number": 0.545}
        | {"value": 0.0, "label": "0", "place": "B, V1"},
    ],
    schema=SCHEMA,
)
INFO = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=REPORTED)
RUNS = pl.DataFrame(
    {
        "paper": "expert-ecology",
        "condition": ["v6", "v6", "x1-flat", "v7-e1.0", "v0", "low", "l1"],
        "seed": [0, 1, 0, 0, 0, 0, 0],
        "title": None,
        "task": ["vision"] * 6 + ["language"],
        "dataset": ["digits-200"] * 6 + ["embedded"],
        "experts": 16,
        "control_number": [6 / 11, 6 / 11, 6 / 11, 1.0, None, 0.3, 6 / 11],
        "dead_experts": [4.0, 6.0, 3.0, 2.0, 9.0, 8.0, 0.0],
    }
)


def _experts(usage: list[float], *, condition="v1", seed=0, epoch=1.0, layer=0, tiers=(0, 0, 1)) -> pl.DataFrame:
    return pl.DataFrame({"expert": range(len(usage)), "usage": usage, "tier": tiers}).with_columns(
        paper=pl.lit("expert-ecology"),
        condition=pl.lit(condition),
        seed=pl.lit(seed),
        epoch=pl.lit(epoch),
        layer=pl.lit(layer),
    )


def test_stand_ins_join_the_papers_set_and_only_its_cells():
    data = deaths.dead_data(RUNS, REPORTED)
    assert data["dataset"].unique().sort().to_list() == ["TinyImageNet", "language"]
    reported = data.filter(pl.col("source") == "paper")
    assert reported.select("dataset", "dead_experts", "label").rows() == [("TinyImageNet", 7.0, "7/16")]


def test_slots_put_undefined_first_and_pool_equal_e():
    assert deaths.control_slots([6 / 11, 0.545, None, 0.0, 0.3]) == [None, 0.0, 0.3, 0.545]


def test_every_run_is_visible_on_its_side_of_the_threshold():
    data = deaths.dead_data(RUNS, REPORTED)
    tiny = data.filter(pl.col("dataset") == "TinyImageNet")
    slots = deaths.control_slots(data["control_number"].to_list())
    with style.styled():
        _, axes = style.panels(width=4, height=3)
        deaths.dead_panel(axes[0, 0], tiny, slots)
    marker = style.DATASET_LOOKS["TinyImageNet"].marker
    dots = [line for line in axes[0, 0].lines if line.get_marker() == marker]
    own = [line for line in dots if line.get_markerfacecolor() != "none"]
    points = [point for line in own for point in zip(line.get_xdata(), line.get_ydata(), strict=True)]
    assert sorted(y for _, y in points) == [2.0, 3.0, 4.0, 6.0, 8.0, 9.0]
    assert len({round(float(x), 6) for x, _ in points}) == 6
    threshold = next(line for line in axes[0, 0].lines if line.get_linestyle() == ":").get_xdata()[0]
    assert {y for x, y in points if x < threshold} == {8.0, 9.0}  # E = 0.3 and E undefined
    assert [text.get_text() for text in axes[0, 0].get_xticklabels()] == ["undefined", "0.3", "0.545", "1"]
    paper = next(line for line in dots if line.get_markerfacecolor() == "none")
    assert list(np.atleast_1d(paper.get_ydata())) == [7.0]


def test_dead_experts_csv_holds_runs_and_reported_cells(tmp_path):
    deaths.draw({"runs": RUNS}, INFO, tmp_path / "dead")
    table = pl.read_csv(tmp_path / "dead.csv")
    assert table["source"].value_counts().sort("source").rows() == [("paper", 1), ("run", 7)]
    assert table.filter(pl.col("source") == "paper")["place"].to_list() == ["B, V6"]


def test_usage_is_of_the_first_seed_and_averaged_over_layers():
    experts = pl.concat(
        [
            _experts([0.2, 0.3, 0.5], layer=0),
            _experts([0.4, 0.1, 0.5], layer=1),
            _experts([0.0, 0.0, 1.0], seed=1),
        ]
    )
    data = ecology.usage_data(experts)
    assert data["usage"].to_list() == pytest.approx([0.3, 0.2, 0.5])
    assert data["seed"].unique().to_list() == [0]


def test_unlisted_conditions_are_shown_when_no_listed_one_was_run():
    data = ecology.usage_data(_experts([0.2, 0.3, 0.5], condition="mine"))
    assert data["condition"].unique().to_list() == ["mine"]


def test_colours_break_at_the_dead_line():
    colours = ecology.usage_colours()
    norm = ecology.LogNorm(vmin=0.001, vmax=1.0)
    below, above = (np.array(colours(norm(share))[:3]) for share in (0.0098, 0.0102))
    assert np.abs(below - above).max() > 0.2
    orange, blue = colours(norm(0.002)), colours(norm(0.2))
    assert orange[0] > orange[2]
    assert blue[2] > blue[0]


def test_tier_shares_sum_over_experts_and_average_over_layers_and_seeds():
    experts = pl.concat(
        [
            _experts([0.2, 0.3, 0.5], layer=0),
            _experts([0.1, 0.2, 0.7], layer=1),
            _experts([0.4, 0.4, 0.2], seed=1, layer=0),
            _experts([0.4, 0.4, 0.2], seed=1, layer=1),
        ]
    )
    first, second = ecology.share_data(experts).sort("tier").iter_rows(named=True)
    assert (first["n"], first["experts"], second["experts"]) == (2, 2, 1)
    assert first["mean"] == pytest.approx((0.4 + 0.8) / 2)
    assert first["mean"] + second["mean"] == pytest.approx(1.0)
    assert first["ci_high"] - first["mean"] == pytest.approx(12.7062 * 0.2, rel=1e-4)


def test_flat_experts_have_no_tier_shares(tmp_path):
    flat = _experts([0.2, 0.3, 0.5], condition="x1-flat", tiers=(0, 0, 0))
    ecology.draw_shares({"experts": flat}, INFO, tmp_path / "shares")
    assert pl.read_csv(tmp_path / "shares.csv").is_empty()


def test_one_seed_one_epoch_and_untiered_rows_draw(tmp_path):
    one = _experts([0.2, 0.3, 0.5])
    ecology.draw_usage({"experts": one.with_columns(tier=pl.lit(None, pl.Int64))}, INFO, tmp_path / "usage")
    ecology.draw_shares({"experts": one}, INFO, tmp_path / "shares")
    assert pl.read_csv(tmp_path / "usage.csv").height == 3
    assert pl.read_csv(tmp_path / "shares.csv")["n"].to_list() == [1, 1]


@pytest.mark.parametrize(
    ("draw", "table"),
    [(deaths.draw, "runs"), (ecology.draw_usage, "experts"), (ecology.draw_shares, "experts")],
)
def test_a_scale_without_paper_b_gets_a_text_panel(tmp_path, draw, table):
    other = pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})
    draw({table: other}, INFO, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
