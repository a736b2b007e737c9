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


def test_gap_is_code_minus_math_in_points():
    table = pl.concat([_ratios([0.2, 0.05], [0.1, 0.08]), _ratios([0.1, 0.1], [0.1, 0.1], seed=1)])
    gaps = specialization.domain_gap(specialization.ratio_data(table, ("et",)))
    assert gaps["gap"].to_list() == pytest.approx([10.0, -3.0, 0.0, 0.0])


def test_the_grid_prints_the_distance_that_claims_judge(tmp_path, info):
    """0.1 and 0.3: mean 0.2, half-width t(0.975, 1) * sd / sqrt(2) = 12.706 * 0.1."""
    tables = probe_tables(("et",), seeds=2, layers=(0, 1))
    metrics = tables["probe-metrics"].with_columns(specialization_code_math=pl.Series([0.1, 0.3]))
    specialization.draw_grid(tables | {"probe-metrics": metrics}, info, tmp_path / "grid")
    drawn = pl.read_csv(tmp_path / "grid.csv")
    assert dict(drawn.select("seed", "distance").unique().iter_rows()) == {0: 0.1, 1: 0.3}
    assert specialization.distance_text([0.1, 0.3]) == "distance 0.200 ± 1.271 (n = 2)"
    assert specialization.distance_text([0.25]) == "distance 0.250 (n = 1)"


def test_a_run_without_the_metric_says_so(tmp_path, info):
    tables = probe_tables(("et",), seeds=1, layers=(0,))
    tables["probe-metrics"] = tables["probe-metrics"].drop("specialization_code_math")
    specialization.draw_grid(tables, info, tmp_path / "grid")
    assert pl.read_csv(tmp_path / "grid.csv")["distance"].is_null().all()
    assert specialization.distance_text([]) == "distance not measured"


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


@pytest.mark.parametrize(
    ("draw", "columns"),
    [(specialization.draw_ratio, specialization.OUT), (specialization.draw_grid, specialization.GRID_OUT)],
)
def test_without_probes_a_figure_says_so(tmp_path, info, draw, columns):
    draw(no_probes(), info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(columns) + "\n"
