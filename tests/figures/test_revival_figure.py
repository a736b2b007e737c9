"""Dead experts and tiers over epochs, on three short runs whose numbers are known."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import revival, style
from moe_replication.figures.epochs import POINT, over_epochs
from moe_replication.figures.style import FigureInfo


def run(condition: str, seed: int, dead: list[float], *, tiers=(8, 4, 4), **columns) -> dict[str, pl.DataFrame]:
    """Tables of one run with a census at epochs 1, 2, ..."""
    names = {"paper": "expert-ecology", "condition": condition, "seed": seed}
    epochs = [float(epoch) for epoch in range(1, len(dead) + 1)]
    settings = {"experts": sum(tiers), "tiers": [list(tiers)], "dataset": "digits-200"}
    curve = pl.DataFrame({"epoch": epochs, "dead_experts": dead, **columns})
    labels = [pl.lit(value, pl.Int64 if name == "seed" else pl.String).alias(name) for name, value in names.items()]
    return {"runs": pl.DataFrame({**names, **settings}), "curves": curve.select(*labels, pl.all())}


def stacked(*runs: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Tables of several runs."""
    return {name: pl.concat([one[name] for one in runs], how="diagonal") for name in ("runs", "curves")}


BALANCE = stacked(
    run("v6", 0, [12.0, 8.0]),
    run("v6", 1, [10.0, 4.0]),
    run("v6-no-balance", 0, [12.0, 12.0]),
    run("v7-e1.0", 0, [5.0, 5.0]),
)


def _values(paper_values: pl.DataFrame, *rows: dict) -> pl.DataFrame:
    made = [{"paper": "expert-ecology", "label": "x", "place": "B", **row} for row in rows]
    return pl.DataFrame(made, schema=paper_values.schema)


def test_seeds_and_their_mean_over_complete_sets():
    """Seed 1 stops after epoch 1, so the mean of two seeds does too."""
    rows = pl.DataFrame(
        {"condition": "v6", "seed": [0, 0, 1], "epoch": [1.0, 2.0, 1.0], "dead_experts": [4.0, 2.0, 8.0]}
    )
    data = over_epochs(rows, ["dead_experts"])
    assert dict(data.schema) == POINT
    assert data.filter(pl.col("kind") == "seed").select("seed", "epoch", "value").rows() == [
        (0, 1.0, 4.0), (0, 2.0, 2.0), (1, 1.0, 8.0),
    ]  # fmt: skip
    (mean,) = data.filter(pl.col("kind") == "mean").iter_rows(named=True)
    assert (mean["epoch"], mean["n"], mean["value"], mean["seed"]) == (1.0, 2, 6.0, None)
    assert mean["ci_high"] - 6.0 == pytest.approx(12.7062 * 2.0, rel=1e-4)


def test_a_panel_needs_its_condition_and_shows_what_it_is_against(info):
    data = revival.revival_data(BALANCE["runs"], BALANCE["curves"], info.paper_values)
    assert data["condition"].unique().sort().to_list() == ["v6", "v6-no-balance"]
    assert "paper" not in data["kind"]  # two epochs do not reach the paper's epoch 10


def test_the_papers_points_are_shown_up_to_the_last_epoch(paper_values):
    values = _values(
        paper_values,
        {"metric": "dead_experts_by_epoch", "condition": "v6", "epoch": 2, "value": 4.0},
        {"metric": "dead_experts_by_epoch", "condition": "v6", "epoch": 3, "value": 1.0},
        {"metric": "dead_experts_peak", "condition": "v6", "value": 13.0},
        {"metric": "dead_experts_by_epoch", "condition": "v6-no-balance", "epoch": 9, "value": 0.0},
        {"metric": "dead_experts_peak", "condition": "v6-no-balance", "value": 14.0},
    )
    data = revival.revival_data(BALANCE["runs"], BALANCE["curves"], values)
    paper = data.filter(pl.col("kind") == "paper").select("series", "condition", "epoch", "value").rows()
    assert paper == [("dead_experts_by_epoch", "v6", 2.0, 4.0), ("dead_experts_peak", "v6", None, 13.0)]
    with style.styled():
        _, axes = style.panels(width=3, height=2)
        revival.revival_panel(axes[0, 0], data, "v6-no-balance", "digits-200")
    lines = axes[0, 0].lines
    point = next(line for line in lines if line.get_markerfacecolor() == "none")
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([2.0], [4.0])
    assert [list(line.get_ydata()) for line in lines if line.get_linestyle() == ":"] == [[13.0, 13.0]]
    seeds = [list(line.get_ydata()) for line in lines if line.get_linewidth() == 0.5]
    assert sorted(seeds) == [[10.0, 4.0], [12.0, 8.0], [12.0, 12.0]]
    assert axes[0, 0].get_title("left") == "v6-no-balance, n = 1\nagainst v6, n = 2 (digits-200)"


def test_starved_tiers_by_epoch_and_the_papers_third_tier_over_its_fair_share(info, paper_values):
    """4:4:4:4 of 16: a fair share is 1/4, a tier starves below 4 %; the paper's 0.9 % is 0.036 of the fair share."""
    shares = {f"tier_share_{tier}": values for tier, values in enumerate(([0.5, 0.4], [0.45, 0.3], [0.01, 0.05]))}
    shares["tier_share_3"] = [0.04, 0.25]
    tables = run("x1-4444", 0, [3.0, 1.0], tiers=(4, 4, 4, 4), **shares)
    values = _values(paper_values, {"metric": "tier_share_2", "condition": "x1-4444", "epoch": 2, "value": 0.009})
    data = revival.collapse_data(tables, FigureInfo(analysis=info.analysis, scale="demo", paper_values=values))
    found = {
        series: data.filter((pl.col("kind") == "seed") & (pl.col("series") == series))["value"].to_list()
        for series in revival.COLLAPSE
    }
    assert found["starved_tiers"] == [1.0, 0.0]
    assert found["smallest_relative_share"] == pytest.approx([0.04, 0.2])
    assert data.filter(pl.col("kind") == "paper")["value"].to_list() == pytest.approx([0.036])


def test_the_first_epoch_with_half_of_the_experts_dead_is_crossed_whatever_comes_after(info):
    """16 experts: seed 0 has 8 dead from epoch 2, seed 1 never has."""
    shares = {f"tier_share_{tier}": [0.6 - 0.2 * tier, 0.5, 0.4] for tier in range(3)}
    tables = stacked(run("v6", 0, [7.0, 8.0, 3.0], **shares), run("v6", 1, [7.0, 7.0, 7.0], **shares))
    data = revival.collapse_data(tables, info)
    crossed = data.filter(pl.col("kind") == "collapse")
    assert crossed.select("seed", "epoch", "series").rows() == [(0, 2.0, name) for name in sorted(revival.COLLAPSE)]
    with style.styled():
        _, axes = style.panels(width=3, height=3, rows=2)
        revival.collapse_column(axes[:, 0], data, "8:4:4, digits-200", 0.16)
    for ax, name in zip(axes[:, 0], revival.COLLAPSE, strict=True):
        (cross,) = (line for line in ax.lines if line.get_marker() == "x")
        value = crossed.filter(pl.col("series") == name)["value"][0]
        assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([2.0], [value])


def test_both_figures_draw_one_epoch_and_hold_what_is_drawn(tmp_path, info):
    shares = {"tier_share_0": [0.5], "tier_share_1": [0.3], "tier_share_2": [0.2]}
    tables = stacked(run("v6", 0, [4.0], **shares), run("v6-no-balance", 0, [9.0], **shares))
    revival.draw(tables, info, tmp_path / "revival")
    revival.draw_collapse(tables, info, tmp_path / "collapse")
    dead = pl.read_csv(tmp_path / "revival.csv").filter(pl.col("kind") == "seed")
    assert dead.select("condition", "value").rows() == [("v6", 4.0), ("v6-no-balance", 9.0)]
    tiers = pl.read_csv(tmp_path / "collapse.csv").filter(pl.col("kind") == "seed")
    assert dict(tiers.select("series", "value").rows()) == {"starved_tiers": 0.0, "smallest_relative_share": 0.8}


@pytest.mark.parametrize("draw", [revival.draw, revival.draw_collapse])
def test_a_scale_without_such_runs_gets_a_sentence(tmp_path, info, draw):
    draw(run("v1", 0, [2.0]), info, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
