"""Token ratios by seed and power laws of paper A's curves, on curves whose numbers are known."""

from __future__ import annotations

import math

import polars as pl
import pytest

from moe_replication.figures import efficiency, style
from moe_replication.figures.efficiency import compared, efficiency_bar, efficiency_rows
from moe_replication.figures.paper_values import SCHEMA
from moe_replication.statistics.token_efficiency import NOT_IDENTIFIED


def _curve(condition: str, seed: int, tokens: list[int], losses: list[float]) -> pl.DataFrame:
    names = {"paper": "expert-threshold", "condition": condition, "seed": seed}
    return pl.DataFrame({**names, "tokens": tokens, "val_loss": losses})


# TC with aux loss has its lowest loss, 3, at 400 tokens; ET has it at 200 (seed 0) and 100 (seed 1).
PAIR = pl.concat(
    [
        *(_curve("tc-aux", seed, [100, 400], [4.0, 3.0]) for seed in (0, 1)),
        _curve("et", 0, [100, 200, 400], [4.0, 3.0, 2.8]),
        _curve("et", 1, [100, 200, 400], [3.0, 2.9, 2.8]),
    ]
)


def _power_law(condition: str, seed: int, b: float) -> pl.DataFrame:
    tokens = [1000 * 2**step for step in range(8)]
    return _curve(condition, seed, tokens, [2.0 + 50 * count**-b for count in tokens])


def test_the_baseline_is_that_of_the_claims():
    names = pl.DataFrame({"condition": ["et", "tc", "tc-aux"]})
    assert compared(names, "d12") == ("et", "tc-aux")
    assert compared(names.filter(pl.col("condition") != "tc-aux"), "d12") is None
    assert compared(names, "d20") is None


def test_the_bar_spans_the_tokens_saved(paper_values):
    """ET has TC's lowest loss of 3 at 200 of 400 tokens: twice fewer."""
    curves = PAIR.filter(pl.col("seed") == 0)
    row = efficiency_rows(curves, ["d12"]).row(0, named=True)
    assert (row["series"], row["n"], row["mean"], row["ci_low"]) == ("token_ratio", 1, pytest.approx(2.0), None)
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        efficiency_bar(axes[0, 0], curves, "d12", paper_values)
    arrow, sentence = axes[0, 0].texts
    assert (arrow.xy[0], arrow.xyann[0]) == (pytest.approx(200.0), 400.0)
    assert sentence.get_text() == "ET to TC aux's loss:\n2.00x fewer tokens\nn = 1\n(paper, d20: 1.6x)"


def test_no_bar_where_the_loss_is_never_reached(paper_values):
    curves = pl.concat([_curve("tc-aux", 0, [100], [3.0]), _curve("et", 0, [100], [3.5])])
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        efficiency_bar(axes[0, 0], curves, "d12", paper_values)
    assert "reached in 0 of 1 seeds" in axes[0, 0].texts[0].get_text()
    assert len(axes[0, 0].texts) == 1


def test_ratios_have_a_geometric_mean():
    """2 and 4: sqrt(8), and t(0.975, 1) * sd / sqrt(2) = 12.706 * ln(2) / 2 on the log scale."""
    data = efficiency.ratio_data(PAIR)
    assert data.filter(pl.col("series") == "seed").select("seed", "ratio", "loss").rows() == [
        (0, pytest.approx(2.0), 3.0),
        (1, pytest.approx(4.0), 3.0),
    ]
    mean = data.filter(pl.col("series") == "mean").row(0, named=True)
    assert (mean["n"], mean["ratio"]) == (2, pytest.approx(math.sqrt(8)))
    assert math.log(mean["ratio_high"] / mean["ratio"]) == pytest.approx(12.7062 * math.log(2) / 2, abs=1e-3)


def test_a_seed_that_never_has_the_loss_leaves_no_mean():
    curves = pl.concat([PAIR, _curve("tc-aux", 2, [100, 400], [4.0, 1.0]), _curve("et", 2, [400], [2.8])])
    data = efficiency.ratio_data(curves)
    assert data.filter(pl.col("seed") == 2)["ratio"].to_list() == [None]
    mean = data.filter(pl.col("series") == "mean").row(0, named=True)
    assert mean["ratio"] is None
    assert "never reaches" in mean["note"]
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        efficiency.ratio_panel(axes[0, 0], data, pl.DataFrame(schema=SCHEMA))
    assert "never reached\nin 1 of them" in axes[0, 0].get_xticklabels()[0].get_text()


def test_exponents_and_floors_are_those_of_the_curves(tmp_path, info):
    curves = pl.concat([_power_law("et", seed, b) for seed, b in enumerate((0.3, 0.5))])
    efficiency.draw({"curves": pl.concat([curves, _power_law("tc-loss-free", 0, 0.4)])}, info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv", infer_schema_length=None)
    assert drawn.columns == list(efficiency.OUT)
    seeds = drawn.filter((pl.col("condition") == "et") & pl.col("seed").is_not_null())
    assert seeds["b"].to_list() == pytest.approx([0.3, 0.5], abs=1e-4)
    mean = drawn.filter((pl.col("condition") == "et") & pl.col("seed").is_null()).row(0, named=True)
    assert (mean["n"], mean["b"], mean["l_inf"]) == (2, pytest.approx(0.4, abs=1e-4), pytest.approx(2.0, abs=1e-3))


def test_what_is_not_identified_is_said():
    data = efficiency.efficiency_data(PAIR)
    laws = data.filter(pl.col("series") == "power_law")
    assert set(laws["note"]) == {NOT_IDENTIFIED}
    with style.styled():
        _, axes = style.panels(width=2, height=2)
        efficiency.law_panel(axes[0, 0], laws, "b", ["tc-aux", "et"])
    assert [text.get_text() for text in axes[0, 0].texts] == [NOT_IDENTIFIED] * 2


def test_the_paper_has_one_ratio(tmp_path, info, paper_a_tables):
    efficiency.draw(paper_a_tables, info, tmp_path / "figure")
    drawn = pl.read_csv(tmp_path / "figure.csv", infer_schema_length=None)
    pairs = drawn.filter(pl.col("series") == "mean").select("condition", "baseline").rows()
    assert pairs == [("et", "tc-aux"), ("d20-et", "d20-tc-aux")]
    assert drawn.filter(pl.col("series") == "power_law")["condition"].n_unique() > 30


def test_without_curves_the_figure_says_so(tmp_path, info):
    efficiency.draw({"curves": PAIR.clear()}, info, tmp_path / "empty")
    assert (tmp_path / "empty.csv").read_text() == ",".join(efficiency.OUT) + "\n"
