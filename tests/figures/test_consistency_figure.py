"""Checkpoint pairs by condition, and the paper's values beside them."""

from __future__ import annotations

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import consistency, style


def test_papers_steps_become_fractions_of_its_own_horizon(paper_values):
    table = probe_tables(("et", "ec-batch"), seeds=2)["probe-consistency"]
    data = consistency.consistency_data(table, paper_values, "weighted_jaccard")
    reported = data.filter(pl.col("source") == "paper").sort("fraction_a", "fraction_b")
    assert reported["condition"].unique().to_list() == ["et"]  # the paper has no strip of the whole batch
    assert reported["value"].to_list() == [0.658, 0.659, 0.662, 0.697, 0.740, 0.773]
    assert reported["fraction_a"][0] == pytest.approx(5000 / 19073)
    assert data.filter(pl.col("source") == "run").height == 2 * 2 * 6


def test_every_condition_of_the_papers_figures_has_six_pairs(paper_values):
    for metric, first in (("weighted_jaccard", 0.607), ("joint_jsd", 0.193)):
        rows = paper_values.filter(pl.col("metric") == metric)
        counts = dict(rows.group_by("condition").len().iter_rows())
        assert counts == {"tc": 6, "ec-sequence": 6, "ec-64k": 6, "et": 6}
        small = rows.filter((pl.col("condition") == "ec-sequence") & (pl.col("step_b") == 10_000))
        assert small["value"].to_list() == [first]


def test_papers_markers_stand_beside_the_pair_of_the_same_fractions(paper_values):
    table = probe_tables(("et",), seeds=3)["probe-consistency"]
    data = consistency.consistency_data(table, paper_values, "joint_jsd")
    pairs = consistency.checkpoint_pairs(data.filter(pl.col("source") == "run"))
    assert len(pairs) == 6
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        consistency.strip_panel(axes[0, 0], data, pairs)
    open_markers = [line for line in axes[0, 0].lines if line.get_markerfacecolor() == "none"]
    assert [(round(line.get_xdata()[0]), line.get_ydata()[0]) for line in open_markers] == list(
        enumerate([0.196, 0.197, 0.197, 0.166, 0.145, 0.120])
    )


def test_pairs_that_the_paper_does_not_have_get_no_marker(paper_values):
    table = probe_tables(("et",), seeds=1)["probe-consistency"].with_columns(pl.col("fraction_a") * 0.8)
    data = consistency.consistency_data(table, paper_values, "joint_jsd")
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        consistency.strip_panel(axes[0, 0], data, consistency.checkpoint_pairs(data.filter(pl.col("source") == "run")))
    assert not [line for line in axes[0, 0].lines if line.get_markerfacecolor() == "none"]


def test_close_fractions_of_two_runs_are_one_pair():
    own = pl.DataFrame({"fraction_a": [0.26, 0.262, 0.26], "fraction_b": [0.52, 0.524, 1.0]})
    assert consistency.checkpoint_pairs(own) == [(0.26, 0.52), (0.26, 1.0)]


@pytest.mark.parametrize("draw", [consistency.draw_jaccard, consistency.draw_jsd])
def test_drawn_with_and_without_snapshots(tmp_path, info, draw):
    draw(probe_tables(("tc", "et"), seeds=1, layers=(0,)), info, tmp_path / "figure")
    assert set(pl.read_csv(tmp_path / "figure.csv")["source"]) == {"run", "paper"}
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(consistency.OUT) + "\n"
