"""Figures of quantities over training: bands, warm-up, gap, bias, normalisation, capacity."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.figures import bias, capacity, gap, normalization, style, warmup
from moe_replication.figures.curves import show_late, spread, step_bands, warmup_end

MODULES = (bias, capacity, gap, normalization, warmup)
LABELS = {"paper": "expert-threshold", "condition": "et"}
RUNS = pl.DataFrame({**LABELS, "seed": [0, 1], "title": "ET", "rule": "expert_threshold"})


def _curves(**columns: list) -> pl.DataFrame:
    return pl.DataFrame({**LABELS, "seed": [0, 0, 1, 1], "step": [0, 10, 0, 10], **columns})


def test_bands_average_over_seeds_and_leave_out_what_was_not_recorded():
    curves = _curves(saturation=[0.1, 0.2, 0.3, 0.6])
    bands = step_bands(RUNS, curves, ["et"], ["saturation", "starvation"])
    assert bands.select("series", "step", "n", "mean").rows() == [
        ("saturation", 0, 2, pytest.approx(0.2)),
        ("saturation", 10, 2, pytest.approx(0.4)),
    ]
    assert step_bands(RUNS, curves, ["tc"], ["saturation"]).is_empty()


def test_the_warm_up_ends_at_the_first_step_after_it():
    assert warmup_end(_curves(warming_up=[1.0, 0.0, 1.0, 0.0]), ["et"]) == 10
    assert warmup_end(_curves(warming_up=[0.0, 0.0, 0.0, 0.0]), ["et"]) is None
    assert warmup_end(_curves(), ["et"]) is None


def test_markers_are_few_and_do_not_coincide():
    assert spread(5, 0) == (0, 1)
    assert spread(80, 0) == (0, 10)
    assert len({spread(80, number) for number in range(4)}) == 4


def test_a_short_curve_is_shown_whole():
    rows = pl.DataFrame({"step": range(12), "mean": [float(12 - step) for step in range(12)]})
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        assert not show_late(axes[0, 0], rows.head(3), "step")
        assert show_late(axes[0, 0], rows, "step", below=0.0)
    assert axes[0, 0].get_ylim()[0] == 1.0
    assert axes[0, 0].get_xlim()[0] == pytest.approx(11 / 3)


def test_the_gap_of_the_paper_is_table_1_minus_figure_6(paper_a_tables, paper_values):
    data = gap.gap_data(paper_a_tables["runs"], paper_a_tables["curves"], paper_values)
    paper = dict(data.filter(pl.col("series") == "paper").select("condition", "mean").iter_rows())
    assert paper == {"ec-sequence": pytest.approx(0.036), "ec-batch": pytest.approx(0.003)}
    own = data.filter((pl.col("series") == "mean") & (pl.col("condition") == "ec-sequence"))
    assert own["n"].to_list() == [3]


def test_the_bias_figure_takes_the_first_layer_and_averages_experts_then_seeds():
    experts = pl.DataFrame(
        {
            **LABELS, "seed": [0, 0, 1, 1, 0], "step": 5, "layer": [0, 0, 0, 0, 1], "expert": [0, 1, 0, 1, 0],
            "cutoff": [0.0, 1.0, 2.0, 4.0, 99.0], "bias": None,
        }
    )  # fmt: skip
    data = bias.bias_data(RUNS, experts)
    assert data["layer"].unique().to_list() == [0]
    assert data.filter(pl.col("expert").is_null()).select("n", "mean").rows() == [(2, 1.75)]
    assert data.drop_nulls("expert").select("expert", "mean").rows() == [(0, 0.0), (1, 1.0)]


def test_loss_free_shows_its_bias():
    experts = pl.DataFrame(
        {**LABELS, "condition": "tc-loss-free", "seed": 0, "step": 5, "layer": 0, "expert": [0], "cutoff": None,
         "bias": [0.3]}
    )  # fmt: skip
    assert bias.bias_data(RUNS, experts)["mean"].to_list() == [0.3, 0.3]


def test_normalisation_is_compared_by_seed():
    """Seed 0: 3.1 - 3.0, seed 1: 3.5 - 3.2; the mean is 0.2."""
    plain = _curves(val_loss=[None, 3.0, None, 3.2])
    divided = _curves(val_loss=[None, 3.1, None, 3.5]).with_columns(condition=pl.lit("et-normalized"))
    band = normalization.difference_band(pl.concat([plain, divided]))
    assert band.select("step", "n", "mean").rows() == [(10, 2, pytest.approx(0.2))]


def test_capacity_is_in_percent():
    data = capacity.capacity_data(RUNS, _curves(saturation=[0.1, 0.2, 0.3, 0.6]))
    assert data.filter(pl.col("step") == 0)["mean"].to_list() == [pytest.approx(20.0)]


@pytest.mark.parametrize("module", MODULES)
def test_a_scale_without_the_conditions_gets_a_sentence(tmp_path, info, paper_a_tables, module):
    tables = {name: table.filter(pl.col("condition") == "dense") for name, table in paper_a_tables.items()}
    module.draw(tables, info, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("module", [warmup, capacity])
def test_columns_that_no_run_recorded_leave_a_sentence_in_their_panel(tmp_path, info, paper_a_tables, module):
    columns = ("raw_usage_mean", "cutoff_mean", "warming_up")
    tables = paper_a_tables | {"curves": paper_a_tables["curves"].drop(columns)}
    module.draw(tables, info, tmp_path / "figure")
    assert "raw_usage_mean" not in pl.read_csv(tmp_path / "figure.csv")["series"]
