"""Final test accuracy: every run, and the paper's values at its own scale only."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from moe_replication.figures import accuracy, style


def _run(condition: str, rows: list[str], found: float, seed: int = 0) -> dict:
    run = {"paper": "expert-ecology", "condition": condition, "seed": seed, "rows": rows, "task": "vision"}
    return run | {"dataset": "tiny-imagenet", "test_accuracy": found}


RUNS = pl.DataFrame(
    [
        _run("v6", ["V6", "X2"], 0.30),
        _run("v6", ["V6", "X2"], 0.34, seed=1),
        _run("x1-4444", ["X1"], 0.47),
        _run("v2-ortho-0.20", ["V2"], 0.9),
        _run("iso-e0.30-cold", ["ISO"], 0.9),
    ]
)


def test_the_rows_compared_are_there_with_means_and_no_values_of_the_paper_at_other_scales(info):
    data = accuracy.accuracy_data(RUNS, info)
    assert data["condition"].unique().sort().to_list() == ["v6", "x1-4444"]
    assert "paper" not in data["source"]
    v6, x1 = data.filter(pl.col("source") == "mean").iter_rows(named=True)
    assert (v6["n"], v6["value"]) == (2, pytest.approx(0.32))
    assert v6["ci_high"] - v6["value"] == pytest.approx(12.7062 * 0.02, rel=1e-4)
    assert (x1["n"], x1["ci_low"]) == (1, None)


def test_the_papers_values_stand_at_its_scale_with_their_epoch(info):
    paper = accuracy.accuracy_data(RUNS, replace(info, scale="paper")).filter(pl.col("source") == "paper")
    assert paper.select("condition", "epoch", "value").rows() == [
        ("v6", 40, 0.3341), ("x1-4444", None, 0.4751), ("x1-4444", None, 0.4729),
    ]  # fmt: skip


def test_a_panel_is_in_percent_and_the_papers_values_are_open(info):
    data = accuracy.accuracy_data(RUNS, replace(info, scale="paper"))
    with style.styled():
        _, axes = style.panels(width=3, height=2)
        accuracy.panel(axes[0, 0], data)
    marked = [line for line in axes[0, 0].lines if line.get_marker() == "D"]
    open_ones = [line.get_xdata()[0] for line in marked if line.get_markerfacecolor() == "none"]
    dots = [x for line in marked if line.get_markerfacecolor() != "none" for x in line.get_xdata()]
    assert open_ones == pytest.approx([33.41, 47.51, 47.29])
    assert sorted(dots) == pytest.approx([30, 34, 47])


def test_the_figure_draws_and_says_so_where_there_is_nothing(tmp_path, info):
    accuracy.draw({"runs": RUNS}, info, tmp_path / "some")
    assert pl.read_csv(tmp_path / "some.csv").height == 5
    accuracy.draw({"runs": RUNS.filter(pl.col("condition") == "iso-e0.30-cold")}, info, tmp_path / "none")
    assert (tmp_path / "none.csv").read_text().count("\n") == 1
