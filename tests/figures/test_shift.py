"""Frozen cut-offs by domain and batch, and tokens without an expert: percent, seeds and quantiles by hand."""

from __future__ import annotations

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import shift, style

NAMES = {"paper": "expert-threshold", "condition": "et", "title": "ET", "rule": "expert_threshold"}


def test_shares_become_percent_and_experts_ends_average_over_seeds():
    table = pl.DataFrame(
        {
            "seed": [0, 1], "domain": "code", "batch": "decode", "batch_tokens": 16, "loss": [3.0, 5.0],
            "usage_mean": [0.06, 0.08], "usage_low": [0.01, 0.03], "usage_high": [0.2, 0.4], "load_worst": [4.0, 6.0],
            "zero_expert_share": [0.1, 0.1],
        }
    ).with_columns(**{key: pl.lit(value) for key, value in NAMES.items()})  # fmt: skip
    data = {row["series"]: row for row in shift.shift_data(table).iter_rows(named=True)}
    usage = data["usage_mean"]
    assert (usage["n"], usage["mean"]) == (2, pytest.approx(7.0))
    assert (usage["expert_low"], usage["expert_high"]) == (pytest.approx(2.0), pytest.approx(30.0))
    assert data["loss"]["mean"] == 4.0
    assert data["loss"]["expert_low"] is None
    assert data["zero_expert_share"]["mean"] == pytest.approx(10.0)
    assert data["zero_expert_share"]["ci_high"] == pytest.approx(10.0)


def test_prefill_and_decode_are_not_mixed():
    """An expert's largest load of 4 targets in prefill and 2 in decode, not 3 in both."""
    table = probe_tables(("et",), seeds=2)["probe-shift"]
    table = table.with_columns(load_worst=pl.when(pl.col("batch") == "prefill").then(4.0).otherwise(2.0))
    data = shift.shift_data(table).filter(pl.col("series") == "load_worst")
    assert dict(data.select("batch", "mean").unique().iter_rows()) == {"prefill": 4.0, "decode": 2.0}
    assert data["n"].unique().to_list() == [2]


def test_decode_is_solid_and_prefill_faint_beside_it():
    data = shift.shift_data(probe_tables(("et",), seeds=1)["probe-shift"])
    chosen = data.filter((pl.col("series") == "load_worst") & (pl.col("domain") == "code"))
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        shift.shift_panel(axes[0, 0], chosen, ["et"], [1, 16, 256])
    marks = {(line.get_alpha(), line.get_xdata()[0] > 0) for line in axes[0, 0].lines if line.get_xdata()[0] < 0.5}
    assert marks == {(1.0, True), (0.35, False)}


def test_domain_without_a_full_batch_is_left_out():
    table = probe_tables(("et",), seeds=2)["probe-shift"]
    empty = (pl.col("domain") == "math") & (pl.col("batch_tokens") == 256)
    numbers = ("loss", "usage_mean", "usage_low", "usage_high", "load_worst", "zero_expert_share")
    table = table.with_columns(pl.when(~empty).then(pl.col(name)).alias(name) for name in numbers)
    data = shift.shift_data(table).filter((pl.col("domain") == "math") & (pl.col("batch_tokens") == 256))
    assert data.is_empty()


def test_quantiles_are_middles_of_the_bins_by_tokens():
    table = pl.DataFrame(
        {"seed": 0, "domain": "math", "layer": None, "bin": [0, 1], "low": [0.0, 1.0], "high": [1.0, 9.0],
         "share": [0.1, 0.3], "tokens": [30, 10]},
    ).with_columns(pl.col("layer").cast(pl.Int64), **{key: pl.lit(value) for key, value in NAMES.items()})  # fmt: skip
    data = shift.zero_data(table)
    assert data["quantile"].to_list() == pytest.approx([37.5, 87.5])
    assert data["mean"].to_list() == pytest.approx([10.0, 30.0])


def test_layers_do_not_enter_the_mean_twice():
    table = probe_tables(("et",), seeds=2, layers=(0, 1))["probe-zero_tokens"]
    assert shift.zero_data(table)["n"].unique().to_list() == [2]


def test_the_domain_of_training_comes_first():
    data = pl.DataFrame({"domain": ["code", "validation", "math", "code"]})
    assert shift.domain_order(data) == ["validation", "code", "math"]


@pytest.mark.parametrize(("highest", "top"), [(0.0, 1.0), (480.0, 102.0)])
def test_percentages_show_zero_and_end_at_a_hundred(highest, top):
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        axes[0, 0].plot([0, 1], [0, highest])
        shift.percent_axis(axes[0, 0])
    assert axes[0, 0].get_ylim() == (pytest.approx(-0.04 * top), top)


@pytest.mark.parametrize(("draw", "shown"), [(shift.draw_shift, {"tc", "et"}), (shift.draw_zero_experts, {"et"})])
def test_the_conditions_that_are_there_draw(tmp_path, info, draw, shown):
    tables = probe_tables(("tc", "et", "ec-64k"), seeds=2, layers=(0,))
    for name in ("probe-shift", "probe-zero_tokens"):
        tables[name] = tables[name].filter(pl.col("domain") == "validation")
    draw(tables, info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv")
    assert set(drawn["condition"]) == shown
    assert drawn["n"].unique().to_list() == [2]


@pytest.mark.parametrize(
    ("draw", "columns"), [(shift.draw_shift, shift.SHIFT_OUT), (shift.draw_zero_experts, shift.ZERO_OUT)]
)
def test_without_probes_a_figure_says_so(tmp_path, info, draw, columns):
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(columns) + "\n"
