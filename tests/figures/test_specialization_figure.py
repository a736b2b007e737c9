"""Expert-token ratios by domain: percent, differences, and what a heat map holds."""

from __future__ import annotations

import polars as pl
import pytest
from matplotlib.colors import Normalize

from figures.probe_tables import no_probes, probe_tables
from moe_replication.figures import specialization, style


def _ratios(code: list[float], math: list[float], seed: int = 0) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"ratio": ratios}).with_row_index("expert").with_columns(domain=pl.lit(domain), tokens=100)
        for domain, ratios in (("code", code), ("math", math))
    ]
    return pl.concat(parts).with_columns(
        pl.col("expert").cast(pl.Int64), paper=pl.lit("expert-threshold"), condition=pl.lit("et"), title=pl.lit("ET"),
        rule=pl.lit("expert_threshold"), seed=pl.lit(seed, pl.Int64), layer=pl.lit(3, pl.Int64),
    )  # fmt: skip


def test_gap_is_code_minus_math_in_points_and_averaged_by_seed():
    table = pl.concat([_ratios([0.2, 0.05], [0.1, 0.08]), _ratios([0.1, 0.1], [0.1, 0.1], seed=1)])
    gaps = specialization.domain_gap(specialization.ratio_data(table, ("et",)))
    assert gaps["gap"].to_list() == pytest.approx([10.0, -3.0, 0.0, 0.0])
    assert specialization.mean_gap(gaps) == pytest.approx([6.5, 0.0])


def test_heat_map_has_layers_down_and_experts_across():
    rows = specialization.ratio_data(_ratios([0.2, 0.05], [0.1, 0.08]), ("et",)).filter(pl.col("domain") == "code")
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        mesh = specialization.heat_map(axes[0, 0], rows, "ratio", Normalize(0, 20), "Blues")
    assert mesh.get_array().reshape(1, 2).tolist() == [[pytest.approx(20.0), pytest.approx(5.0)]]
    assert [tick.get_text() for tick in axes[0, 0].get_yticklabels()] == ["3"]


def test_maps_show_the_first_seed_and_the_csv_of_the_grid_every_seed(tmp_path, info):
    tables = probe_tables(("et",), seeds=2, layers=(0, 1))
    specialization.draw_ratio(tables, info, tmp_path / "ratio")
    assert pl.read_csv(tmp_path / "ratio.csv")["seed"].unique().to_list() == [0]
    specialization.draw_grid(tables, info, tmp_path / "grid")
    drawn = pl.read_csv(tmp_path / "grid.csv")
    assert drawn["seed"].n_unique() == 2
    assert set(drawn["domain"]) == {"code", "math"}


def test_one_domain_alone_draws_no_difference(tmp_path, info):
    tables = probe_tables(("et",), seeds=1, layers=(0,))
    only = tables | {"probe-specialization": tables["probe-specialization"].filter(pl.col("domain") == "code")}
    specialization.draw_ratio(only, info, tmp_path / "ratio")
    assert set(pl.read_csv(tmp_path / "ratio.csv")["domain"]) == {"code"}
    specialization.draw_grid(only, info, tmp_path / "grid")
    assert pl.read_csv(tmp_path / "grid.csv").is_empty()


@pytest.mark.parametrize("draw", [specialization.draw_ratio, specialization.draw_grid])
def test_without_probes_a_figure_says_so(tmp_path, info, draw):
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(specialization.OUT) + "\n"
