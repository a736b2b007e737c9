"""Fan-out by position and loss: averages over seeds by hand, and what is drawn where conditions are missing."""

from __future__ import annotations

import polars as pl
import pytest

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import fanout, style


def _rows(*rows: tuple) -> pl.DataFrame:
    names = ("condition", "seed", "mode", "axis", "layer", "bin", "low", "high", "centre", "fanout", "tokens")
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return frame.with_columns(paper=pl.lit("expert-threshold"), title=pl.lit("T"), rule=pl.lit("expert_threshold"))


def test_seeds_are_averaged_and_edges_that_follow_the_losses_too():
    table = _rows(
        ("et", 0, "causal", "loss", None, 0, 0.0, 1.0, 0.4, 1.0, 10),
        ("et", 1, "causal", "loss", None, 0, 0.0, 2.0, 0.6, 3.0, 10),
        ("tc", 0, "causal", "loss", None, 0, 0.0, 1.0, 0.4, 9.0, 10),
    )
    row = fanout.fanout_data(table, ("et",)).row(0, named=True)
    assert (row["n"], row["mean"], row["high"]) == (2, 2.0, 1.5)
    assert row["centre"] == pytest.approx(0.5)
    half = 12.7062 * 2**0.5 / 2**0.5  # t(0.975, 1) * sd / sqrt(2)
    assert row["ci_high"] == pytest.approx(2 + half, abs=1e-3)


def test_first_position_lies_on_the_logarithmic_axis():
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        fanout.log_positions(axes[0, 0], 1700.0)
    assert axes[0, 0].get_xticks().tolist() == [0, 1, 4, 16, 64, 256, 1024]
    assert [axes[0, 0].xaxis.get_major_formatter()(tick) for tick in (0, 1024)] == ["0", "1k"]
    assert axes[0, 0].get_xlim()[0] < 0


def test_both_modes_of_ec_and_every_layer_are_drawn(tmp_path, info):
    tables = probe_tables(("ec-sequence", "et"), seeds=2, layers=(0, 1))
    fanout.draw(tables, info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv")
    assert set(drawn.select("condition", "mode").unique().iter_rows()) == {
        ("ec-sequence", "training"),
        ("ec-sequence", "causal"),
        ("et", "causal"),
    }
    assert drawn["layer"].unique().sort().to_list() == [None, 0, 1]
    assert drawn["n"].unique().to_list() == [2]


def test_layers_of_one_condition(tmp_path, info):
    fanout.draw_layers_et(probe_tables(("et", "ec-batch"), seeds=1, layers=(0, 1)), info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv")
    assert drawn["condition"].unique().to_list() == ["et"]
    assert drawn["axis"].unique().to_list() == ["loss"]


@pytest.mark.parametrize(
    "draw", [fanout.draw, fanout.draw_layers_ec_sequence, fanout.draw_layers_ec_batch, fanout.draw_layers_et]
)
def test_without_its_conditions_a_figure_says_so(tmp_path, info, draw):
    draw(no_probes(), info, tmp_path / "empty")
    draw(probe_tables(("tc",), seeds=1), info, tmp_path / "other")
    for name in ("empty", "other"):
        assert (tmp_path / f"{name}.csv").read_text() == ",".join(fanout.OUT) + "\n"
