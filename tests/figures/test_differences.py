"""Values and paired differences on two conditions and three seeds, and the figures made of them."""

from __future__ import annotations

import math

import polars as pl
import pytest

from moe_replication.figures import baselines, confound, rates, sensitivity, sizes, style
from moe_replication.figures.differences import (
    difference_panel,
    final_differences,
    final_interactions,
    final_values,
    value_panel,
)

RUNS = pl.DataFrame(
    {
        "paper": "expert-threshold",
        "condition": ["et", "et", "et", "et-fallback", "et-fallback"],
        "seed": [0, 1, 2, 1, 2],
        "title": ["ET", "ET", "ET", "ET, fallback", "ET, fallback"],
        "rule": "expert_threshold",
        "val_loss": [3.0, 3.1, 3.4, 3.0, 3.2],
    }
)


def test_final_values_hold_every_seed_and_the_mean():
    data = final_values(RUNS, ["et-fallback", "et", "dense"])
    assert data["condition"].unique(maintain_order=True).to_list() == ["et-fallback", "et"]
    mean = data.row(by_predicate=(pl.col("kind") == "mean") & (pl.col("condition") == "et-fallback"), named=True)
    half = 12.7062 * math.sqrt(0.02) / math.sqrt(2)  # t(0.975, 1) * sd / sqrt(2)
    assert (mean["n"], mean["value"]) == (2, pytest.approx(3.1))
    assert mean["ci_high"] == pytest.approx(3.1 + half, abs=1e-3)


def test_differences_pair_by_seed():
    """Seeds 1 and 2 only: -0.1 and -0.2."""
    row = final_differences(RUNS, [("et-fallback", "et"), ("dense", "et")]).row(0, named=True)
    assert (row["condition"], row["baseline"], row["n"]) == ("et-fallback", "et", 2)
    assert row["value"] == pytest.approx(-0.15)
    assert row["ci_low"] == pytest.approx(-0.15 - 12.7062 * 0.05, abs=1e-3)
    assert final_differences(RUNS, [("dense", "et")]).is_empty()


def test_every_seeds_difference_is_a_row_and_a_dot():
    data = final_differences(RUNS, [("et-fallback", "et")])
    seeds = data.filter(pl.col("kind") == "seed_difference").select("seed", "value").rows()
    assert seeds == [(1, pytest.approx(-0.1)), (2, pytest.approx(-0.2))]
    with style.styled():
        _, axes = style.panels(width=4, height=2)
        difference_panel(axes[0, 0], data, ["fallback"], [None])
    look = style.condition_look("et-fallback", "expert_threshold")
    (dots,) = (line for line in axes[0, 0].lines if line.get_marker() == look.marker)
    assert list(dots.get_xdata()) == pytest.approx([-0.1, -0.2])


def test_panels_name_their_rows_from_top_to_bottom():
    with style.styled():
        _, axes = style.panels(width=4, height=2, columns=2)
        value_panel(axes[0, 0], final_values(RUNS, ["et", "et-fallback"]).filter(pl.col("kind") == "run"), {"et": 2.8})
        differences = final_differences(RUNS, [("et-fallback", "et")])
        difference_panel(axes[0, 1], differences, ["fallback"], [None])
    assert [text.get_text() for text in axes[0, 0].get_yticklabels()] == ["ET, fallback (n = 2)", "ET (n = 3)"]
    assert 2.8 in [line.get_xdata()[0] for line in axes[0, 0].lines]
    assert [text.get_text() for text in axes[0, 1].get_yticklabels()] == ["fallback"]


def test_the_confound_compares_within_a_storage_and_as_in_the_released_code(paper_a_tables):
    data = confound.confound_data(paper_a_tables["runs"])
    pairs = data.filter(pl.col("kind") == "difference").select("storage", "condition", "baseline").rows()
    assert pairs == [
        ("Muon, per expert", "ec-batch", "tc-aux"),
        ("Muon, per expert", "et", "tc-aux"),
        ("Muon, concatenated", "ec-concat", "tc-aux-concat"),
        ("Muon, concatenated", "et-concat", "tc-aux-concat"),
        ("AdamW", "ec-adamw", "tc-aux-adamw"),
        ("AdamW", "et-adamw", "tc-aux-adamw"),
        ("as in the released code", "ec-batch", "tc-aux-concat"),
        ("as in the released code", "et", "tc-aux-concat"),
    ]


def _cells(**losses: list[float]) -> pl.DataFrame:
    rows = [(name.replace("_", "-"), seed, value) for name, values in losses.items() for seed, value in
            enumerate(values)]  # fmt: skip
    names = {"paper": pl.lit("expert-threshold"), "title": pl.col("condition"), "rule": pl.lit("expert_threshold")}
    return pl.DataFrame(rows, schema=["condition", "seed", "val_loss"], orient="row").with_columns(**names)


CELLS = _cells(et=[3.0, 3.1, 9.0], tc_aux=[3.2, 3.2], et_concat=[3.0, 3.0], tc_aux_concat=[3.1, 3.0])


def test_the_interaction_is_paired_by_seed_over_all_four():
    """Seed 0: -0.2 - (-0.1) = -0.1, seed 1: -0.1 - 0 = -0.1; seed 2 lacks three cells."""
    row = final_interactions(CELLS, [("et", "tc-aux", "et-concat", "tc-aux-concat")]).row(0, named=True)
    assert (row["kind"], row["condition"], row["baseline"], row["n"]) == ("interaction", "et", "tc-aux", 2)
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx((-0.1, -0.1, -0.1))
    assert final_interactions(CELLS, [("et", "tc-aux", "et-adamw", "tc-aux-adamw")]).is_empty()
    shown = confound.confound_data(CELLS).filter(pl.col("kind") == "interaction")
    assert shown.select("storage", "condition").rows() == [("per expert minus concatenated", "et")]


def test_the_papers_differences_stand_only_beside_the_released_codes_storage():
    paper = {"tc-aux": 2.892, "et": 2.844}
    with style.styled():
        _, axes = style.panels(width=4, height=2)
        confound.difference_panel(axes[0, 0], confound.confound_data(CELLS), paper)
    open_markers = [line for line in axes[0, 0].lines if line.get_markerfacecolor() == "none"]
    (line,) = open_markers
    assert line.get_ydata()[0] == pytest.approx(-0.048)
    assert round(line.get_xdata()[0]) == list(confound.GROUPS).index("as in the\nreleased code")


def test_the_confound_draws_without_the_concatenated_cells(tmp_path, info):
    runs = CELLS.with_columns(pl.col("condition").replace({"et-concat": "et-adamw", "tc-aux-concat": "tc-aux-adamw"}))
    confound.draw({"runs": runs}, info, tmp_path / "figure")
    assert set(pl.read_csv(tmp_path / "figure.csv", infer_schema_length=None)["storage"]) == {
        "Muon, per expert",
        "AdamW",
    }


def test_the_default_is_no_difference_to_itself(paper_a_tables):
    data = sensitivity.sensitivity_data(paper_a_tables["runs"])
    rows = data.filter(pl.col("kind") == "difference")
    assert rows.height == 6
    assert "et" not in rows["condition"]
    assert rows.filter(pl.col("condition") == "et-warmup-8000")["setting_value"].to_list() == ["8,000"]


def test_baselines_carry_their_cost(paper_a_tables):
    data = baselines.baseline_data(paper_a_tables["runs"])
    assert data["parameters_active"].null_count() == 0
    assert set(data.filter(pl.col("kind") == "difference")["baseline"]) == {"et"}


def test_sizes_pair_rules_within_a_size(tmp_path, info):
    """Losses by hand: at d6 ET is 0.2 below TC aux in both seeds, at d12 0.1 and 0.3."""
    losses = {
        "d6-tc-aux": (4.0, 4.1), "d6-et": (3.8, 3.9), "tc-aux": (3.5, 3.6), "et": (3.4, 3.3), "ec-batch": (3.5, 3.4),
    }  # fmt: skip
    template = RUNS.head(1)
    runs = pl.concat(
        template.with_columns(
            condition=pl.lit(name), title=pl.lit(name), seed=pl.lit(seed, pl.Int64), val_loss=pl.lit(loss),
            parameters_active=pl.lit(1000.0), tokens=pl.lit(10.0),
        )
        for name, pair in losses.items()
        for seed, loss in enumerate(pair)
    )  # fmt: skip
    data = sizes.size_data(runs)
    gaps = data.filter(pl.col("kind") == "difference").select("size", "gap", "value", "n").rows()
    expected = {("d6", "ET - TC aux"): -0.2, ("d12", "EC - TC aux"): -0.1, ("d12", "ET - TC aux"): -0.2,
                ("d12", "ET - EC"): -0.1}  # fmt: skip
    assert {(size, gap): value for size, gap, value, _ in gaps} == pytest.approx(expected)
    assert {n for *_, n in gaps} == {2}
    sizes.draw({"runs": runs}, info, tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_rates_are_told_apart_by_their_condition(tmp_path, info):
    template = RUNS.head(1)
    names = {"et": (3.0, 3.2), "et-rates-half": (3.3, 3.5), "dense-rates-double": (4.0, 4.0)}
    runs = pl.concat(
        template.with_columns(condition=pl.lit(name), seed=pl.lit(seed, pl.Int64), val_loss=pl.lit(loss))
        for name, pair in names.items()
        for seed, loss in enumerate(pair)
    )
    means = rates.rate_data(runs).filter(pl.col("kind") == "mean").select("of", "factor", "value").rows()
    assert means == [("dense", 2.0, 4.0), ("et", 0.5, pytest.approx(3.4)), ("et", 1.0, pytest.approx(3.1))]
    rates.draw({"runs": runs}, info, tmp_path / "figure")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_papers_gaps_by_hand(info):
    found = sizes.paper_gaps(info.paper_values)
    assert found["ET - TC aux"]["d20"] == pytest.approx(2.620 - 2.687)
    assert "d6" not in found["ET - TC aux"]


@pytest.mark.parametrize("module", [confound, sensitivity, baselines, sizes, rates])
def test_without_the_variants_there_is_a_sentence(tmp_path, info, module):
    module.draw({"runs": RUNS.filter(pl.col("condition") == "et")}, info, tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_text().count("\n") == 1


@pytest.mark.parametrize("module", [sensitivity, baselines])
def test_one_seed_and_one_variant_draw(tmp_path, info, module):
    runs = RUNS.filter(pl.col("seed") == 1).with_columns(pl.col("condition").replace("et-fallback", "et-beta-0.99"))
    runs = pl.concat([runs, runs.tail(1).with_columns(condition=pl.lit("et-fallback"))])
    module.draw({"runs": runs}, info, tmp_path / "figure")
    data = pl.read_csv(tmp_path / "figure.csv", infer_schema_length=None)
    assert data.filter(pl.col("kind") == "difference")["ci_low"].to_list() == [None]
