"""The iso-E plot on a made-up matrix: dots, bands and tests by level."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from figures.ecology_worlds import matrix
from moe_replication.figures import iso_e, style


@pytest.fixture
def quick(info):
    """The shipped definitions with fewer permutations."""
    return replace(info, analysis=replace(info.analysis, resamples=200))


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    """Dead experts where B = 0, whatever E is; one more in seed 2."""
    return matrix(lambda row, draw: 4.0 * (row["balance_weight"] == 0) + draw.integers(2), others=())


def test_levels_hold_their_tuples_and_only_row_iso(runs, quick):
    data = iso_e.iso_data(runs, quick.paper_values, quick.analysis)
    assert data["level"].unique().sort().to_list() == [0.3, 0.545, 1.0]
    assert not data["condition"].drop_nulls().str.starts_with("grid").any()
    counts = data.filter(pl.col("metric") == "dead_experts")["kind"].value_counts().sort("kind")
    assert counts.rows() == [("level", 3), ("paper", 1), ("run", 36), ("tuple", 12)]


def test_disagreement_of_tuples_is_found_and_agreement_is_not(quick):
    # One tuple of four apart in five seeds: by chance once in 4^4 permutations.
    apart = matrix(lambda row, draw: 4.0 * (row["balance_weight"] == 0) + draw.integers(2), seeds=5, others=())
    found = iso_e.iso_data(apart, quick.paper_values, quick.analysis).filter(pl.col("kind") == "level")
    assert (found["eta_squared"] > 0.8).all()
    assert (found["p"] < 0.03).all()
    alike = matrix(lambda row, draw: 3.0 * (row["control_number"] < 0.5), others=())
    found = iso_e.iso_data(alike, quick.paper_values, quick.analysis).filter(pl.col("kind") == "level")
    assert found["p"].unique().to_list() == [1.0]
    assert found["eta_squared"].null_count() == found.height


def test_a_panel_shows_every_run_the_band_and_the_papers_value(runs, quick):
    data = iso_e.iso_data(runs, quick.paper_values, quick.analysis)
    here = data.filter((pl.col("metric") == "dead_experts") & (pl.col("level") == 0.545))
    with style.styled():
        _, axes = style.panels(width=3, height=3)
        iso_e.level_panel(axes[0, 0], here, style.BLUE)
    dots = [line for line in axes[0, 0].lines if line.get_marker() == "o" and line.get_markerfacecolor() != "none"]
    shown = sorted(value for line in dots for value in line.get_ydata())
    assert shown == sorted(here.filter(pl.col("kind") == "run")["value"])
    labels = [text.get_text() for text in axes[0, 0].get_xticklabels()]
    assert labels == ["4, .075, .55, 0", "2, .15, .15, .4", "1, .3, .15, .4", "2, .3, .7, .4"]
    dotted = [line for line in axes[0, 0].lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == [0.0]  # the paper: no dead expert on CIFAR-10 at E = .545
    level = here.row(by_predicate=pl.col("kind") == "level", named=True)
    band = axes[0, 0].patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((level["ci_low"], level["ci_high"]))
    assert f"η² = {level['eta_squared']:.2f}" in axes[0, 0].get_title(loc="left")


def test_one_seed_cannot_compare_and_says_so(quick):
    single = matrix(lambda row, draw: draw.integers(3), seeds=1, others=())
    found = iso_e.iso_data(single, quick.paper_values, quick.analysis).filter(pl.col("kind") == "level")
    assert found["p"].null_count() == found.height == 6
    assert iso_e._agreement(found.row(0, named=True)).endswith("too few runs to compare tuples")


def test_data_sets_have_rows_of_their_own(tmp_path, runs, quick):
    first = runs.filter(pl.col("condition").str.starts_with("iso-e0.30"))
    both = pl.concat([runs, first.with_columns(dataset=pl.lit("cifar100"))])
    iso_e.draw({"runs": both}, quick, tmp_path / "figure")
    data = pl.read_csv(tmp_path / "figure.csv")
    levels = data.filter(pl.col("kind") == "level").select("dataset", "level").unique().sort("dataset", "level").rows()
    assert levels == [("CIFAR-10", 0.3), ("CIFAR-10", 0.545), ("CIFAR-10", 1.0), ("CIFAR-100", 0.3)]


def test_a_scale_without_row_iso_gets_a_sentence(tmp_path, runs, quick):
    iso_e.draw({"runs": runs.filter(pl.col("condition").str.starts_with("grid"))}, quick, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
    iso_e.draw({"runs": pl.DataFrame({"paper": ["expert-threshold"], "condition": ["et"]})}, quick, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
