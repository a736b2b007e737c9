"""Loss curves and final losses of paper A on frames small enough to check by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.figures import loss, style
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

NOTHING = pl.DataFrame(schema=SCHEMA)


def _runs(*rows: tuple) -> pl.DataFrame:
    names = ("condition", "seed", "title", "rule", "pool_tokens", "val_loss", "train_loss")
    types = dict(zip(names, (pl.String, pl.Int64, pl.String, pl.String, pl.Int64, pl.Float64, pl.Float64), strict=True))
    return pl.DataFrame(rows, schema=types, orient="row").with_columns(paper=pl.lit("expert-threshold"))


RUNS = _runs(
    ("dense", 0, "Dense", "dense", None, 3.4, 3.4),
    ("dense", 1, "Dense", "dense", None, 3.6, 3.6),
    ("ec-sequence", 0, "EC one", "expert_choice", 256, 3.3, 3.2),
    ("ec-batch", 0, "EC batch", "expert_choice", 8192, 3.1, 3.1),
    ("et", 0, "ET", "expert_threshold", 8192, 3.0, 3.0),
    ("et", 1, "ET", "expert_threshold", 8192, 3.2, 3.1),
)
CURVES = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": ["dense"] * 4,
        "seed": [0, 0, 1, 1],
        "tokens": [100, 200, 100, 200],
        "train_loss": [5.0, 4.0, 6.0, 5.0],
        "val_loss": [None, 4.0, None, 5.0],
    }
)
REPORTED = pl.DataFrame(
    [
        {
            "paper": "expert-threshold", "condition": condition, "metric": metric, "value": value,
            "pool_tokens": pool, "place": place,
        }
        for condition, metric, value, pool, place in (
        ("et", "val_loss", 2.844, None, "A, Table 1"),
        ("et", "core", 19.876, None, "A, Table 1"),
        ("et", "val_loss", 2.9, None, "A, Table 8"),
        ("d20-et", "val_loss", 2.62, None, "A, Table 2"),
        ("ec-64k", "val_loss", 2.841, 65536, "A, Table 1"),
        ("ec-64k", "train_loss", 2.836, 65536, "A, Figure 6"),
        ("d20-et", "token_ratio", 1.6, None, "A, headline, Figure 1"),
        )
    ],
    schema=SCHEMA,
)  # fmt: skip
NO_PROBES = pl.DataFrame(schema={"paper": pl.String, "condition": pl.String, "seed": pl.Int64})


def test_curves_average_over_seeds_where_all_measured():
    data = loss.curve_data(RUNS, CURVES)
    validation = data.filter(pl.col("series") == "validation")
    assert validation.select("tokens", "n", "mean").rows() == [(200, 2, 4.5)]
    half = 12.7062 * (0.5**0.5) / 2**0.5  # t(0.975, 1) * sd / sqrt(2)
    assert validation["ci_high"][0] == pytest.approx(4.5 + half, abs=1e-3)


def test_difference_to_dense_pairs_by_seed():
    """Seed 0: 3.9 - 4.0, seed 1: 4.8 - 5.0; the mean is -0.15 although the unpaired spread is 0.9."""
    others = CURVES.with_columns(condition=pl.lit("et"), val_loss=pl.Series([None, 3.9, None, 4.8]))
    data = loss.curve_data(RUNS, pl.concat([CURVES, others])).filter(pl.col("series") == "difference")
    assert data["condition"].unique().to_list() == ["et"]
    assert data["mean"].to_list() == pytest.approx([-0.15])
    half = 12.7062 * (0.1 / 2**0.5) / 2**0.5
    assert data["ci_low"][0] == pytest.approx(-0.15 - half, abs=1e-3)


def test_training_loss_is_smoothed_within_each_run():
    data = loss.curve_data(RUNS, CURVES)
    training = data.filter(pl.col("series") == "training")
    assert training["mean"].to_list() == [5.5, 4.5]  # span 1 on two rows: nothing to smooth

    long = pl.DataFrame({"paper": "expert-threshold", "condition": "et", "seed": 0, "tokens": range(100)}).with_columns(
        train_loss=pl.col("tokens") % 2 + 1.0, val_loss=pl.lit(None, pl.Float64)
    )
    smooth = loss.curve_data(RUNS, long)["mean"]
    assert smooth[0] == 1.0
    assert smooth[50:].max() - smooth[50:].min() < 0.35  # raw values swing by 1


def test_paper_values_join_only_at_the_papers_own_scale():
    assert (
        "paper"
        not in loss.final_data(RUNS, FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=REPORTED))["source"]
    )
    data = loss.final_data(RUNS, FigureInfo(analysis=ANALYSIS, scale="paper", paper_values=REPORTED))
    reported = data.filter(pl.col("source") == "paper").select(
        "panel", "condition", "pool_tokens", "val_loss", "train_loss", "core"
    )
    assert reported.sort("panel").rows() == [
        ("condition", "et", None, 2.844, None, 19.876),
        ("pool", "ec-64k", 65536, 2.841, 2.836, None),
    ]


def test_conditions_are_ordered_by_mean_with_their_number_of_seeds():
    with style.styled():
        _, axes = style.panels(width=4, height=3)
        data = loss.final_data(RUNS, FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=NOTHING))
        loss.condition_panel(axes[0, 0], data.filter(pl.col("panel") == "condition"), {})
    labels = [text.get_text() for text in axes[0, 0].get_yticklabels()]
    assert labels == ["Dense (n = 2)", "EC one (n = 1)", "ET (n = 2)", "EC batch (n = 1)"]


def test_pool_panel_joins_pools_and_bands_the_threshold_rule():
    with style.styled():
        _, axes = style.panels(width=4, height=3)
        data = loss.final_data(RUNS, FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=NOTHING))
        loss.pool_panel(axes[0, 0], data.filter(pl.col("panel") == "pool"), ("train_loss", "val_loss"), "loss")
    lines = {line.get_label(): line for line in axes[0, 0].lines}
    assert list(lines["EC validation (n = 1)"].get_ydata()) == [3.3, 3.1]
    assert set(lines["ET validation (n = 2)"].get_ydata()) == {3.1}
    assert axes[0, 0].get_xscale() == "log"


@pytest.mark.parametrize("draw", [loss.draw_curves, loss.draw_pool])
def test_a_scale_without_paper_a_gets_a_text_panel(tmp_path, draw):
    tables = {"runs": RUNS.clear(), "curves": CURVES.clear(), "probe-metrics": NO_PROBES}
    draw(tables, FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=NOTHING), tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1
    assert (tmp_path / "figure.pdf").is_file()


def test_one_seed_and_one_condition_draw(tmp_path):
    info = FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=NOTHING)
    runs = RUNS.filter(pl.col("condition") == "et").head(1)
    loss.draw_pool({"runs": runs, "probe-metrics": NO_PROBES}, info, tmp_path / "pool")
    one = CURVES.filter(pl.col("seed") == 0)
    loss.draw_curves({"runs": RUNS, "curves": one}, info, tmp_path / "curves")
    assert pl.read_csv(tmp_path / "curves.csv")["n"].to_list() == [1, 1, 1]
    assert pl.read_csv(tmp_path / "pool.csv").filter(pl.col("panel") == "condition").height == 1


def test_each_size_is_compared_with_its_own_dense_model():
    """d20: 2.9 - 3.0; without a d20 dense run the large model has no difference, whatever the small one's."""
    large = pl.DataFrame(
        {
            "paper": "expert-threshold",
            "condition": ["d20-dense", "d20-et", "et-normalized"],
            "seed": 0,
            "tokens": 200,
            "train_loss": [3.0, 2.9, 9.9],
            "val_loss": [3.0, 2.9, 9.9],
        }
    )
    data = loss.curve_data(RUNS, pl.concat([CURVES, large], how="diagonal_relaxed"))
    assert "et-normalized" not in data["condition"]
    difference = data.filter(pl.col("series") == "difference").select("size", "condition", "mean")
    assert difference.rows() == [("d20", "d20-et", pytest.approx(-0.1))]


def test_core_joins_by_seed_and_is_null_where_it_was_not_run():
    metrics = NO_PROBES.vstack(pl.DataFrame({"paper": "expert-threshold", "condition": "et", "seed": [1]}))
    runs = loss.with_core(RUNS, metrics.with_columns(core=pl.lit(12.5)))
    assert runs.filter(pl.col("condition") == "et")["core"].to_list() == [None, 12.5]
    assert loss.with_core(RUNS, NO_PROBES)["core"].is_null().all()


def test_only_the_four_pools_stand_on_the_pool_axis():
    others = _runs(("ec-concat", 0, "EC concat", "expert_choice", 8192, 3.0, 3.0))
    data = loss.final_data(pl.concat([RUNS, others]), FigureInfo(analysis=ANALYSIS, scale="demo", paper_values=NOTHING))
    assert "ec-concat" not in data["condition"]
