"""Densities of router logits, their outlines, and the cut-offs over them."""

from __future__ import annotations

import math

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import histograms, style


def _tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    names = pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"], "seed": [0], "title": ["ET"]})
    names = names.with_columns(rule=pl.lit("expert_threshold"))
    bins = pl.DataFrame({"low": [0.0, 1.0], "high": [0.5, 1.5], "count": [1, 3]})
    bins = bins.with_columns(quantity=pl.lit("logit"), layer=pl.lit(0, pl.Int64))
    cutoffs = pl.DataFrame({"layer": [0, 0], "expert": [0, 1], "cutoff": [1.2, None]})
    return names.join(bins, how="cross"), names.join(cutoffs, how="cross")


def test_density_integrates_to_one_and_missing_cutoffs_are_left_out():
    data = histograms.histogram_data(*_tables())
    bins = data.filter(pl.col("kind") == "bin")
    assert bins["density"].to_list() == [0.5, 1.5]  # a quarter and three quarters over half a unit
    cutoffs = data.filter(pl.col("kind") == "cutoff").select("quantity", "expert", "cutoff").rows()
    assert cutoffs == [("gate", 0, pytest.approx(1 / (1 + math.exp(-1.2)))), ("logit", 0, 1.2)]


def test_gates_are_a_distribution_of_their_own():
    logits, cutoffs = _tables()
    gates = logits.with_columns(quantity=pl.lit("gate"), count=pl.Series([6, 2]))
    data = histograms.histogram_data(pl.concat([logits, gates]), cutoffs).filter(pl.col("kind") == "bin")
    assert dict(data.group_by("quantity").agg("density").iter_rows()) == {"logit": [0.5, 1.5], "gate": [1.5, 0.5]}


def test_outline_falls_to_zero_between_bins_that_are_not_neighbours():
    bins = histograms.histogram_data(*_tables()).filter(pl.col("kind") == "bin")
    x, y = histograms.outline(bins)
    assert x.tolist() == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5]
    assert y.tolist() == [0, 0.5, 0.5, 0, 0, 1.5, 1.5, 0]


def test_window_leaves_a_thousandth_out_but_no_cutoff():
    tables = _tables()
    wide = pl.concat(
        [tables[0].with_columns(pl.col("count") * 1000), tables[0].head(1).with_columns(low=-9.0, high=-8.5)]
    )
    data = histograms.histogram_data(wide, tables[1].with_columns(cutoff=pl.lit(4.0)))
    assert histograms.logit_window(data.filter(pl.col("quantity") == "logit")) == (0.0, 4.0)


def test_logits_and_gates_of_the_conditions_draw(tmp_path, info):
    histograms.draw(probe_tables(("tc", "et"), seeds=2, layers=(0, 1)), info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv", infer_schema_length=None)
    assert drawn["condition"].unique().to_list() == ["et"]
    bins = drawn.filter(pl.col("kind") == "bin")
    mass = bins.group_by("quantity", "seed", "layer").agg((pl.col("density") * (pl.col("high") - pl.col("low"))).sum())
    assert mass["density"].to_list() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize("layers", [(0,), (0, 1, 2, 3, 4)])
def test_gates_lie_below_logits_on_an_axis_of_their_own(layers):
    tables = probe_tables(("et",), seeds=1, layers=layers)
    data = histograms.histogram_data(tables["probe-histograms"], tables["probe-cutoffs"])
    with style.styled():
        _, axes = style.panels(width=7, height=3, rows=2, columns=4)
        own = data.filter(pl.col("quantity") == "gate")
        histograms.quantity_panels(axes, own, "gate", layers, ["et"])
    assert [ax.get_title(loc="left") for ax in axes.flat if ax.axison] == [f"MoE layer {layer}" for layer in layers]
    assert {ax.get_xlim() for ax in axes.flat if ax.axison} == {(0.0, 1.0)}


def test_a_run_without_cutoffs_draws(tmp_path, info):
    tables = probe_tables(("et",), seeds=1, layers=(0,))
    histograms.draw(tables | {"probe-cutoffs": tables["probe-cutoffs"].clear()}, info, tmp_path / "figure")
    assert set(pl.read_csv(tmp_path / "figure.csv")["kind"]) == {"bin"}


def test_without_probes_the_figure_says_so(tmp_path, info):
    histograms.draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(histograms.OUT) + "\n"
