"""The questions of paper B over runs, on tables small enough for hand calculation."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from scipy import stats

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.run_tests import COLUMNS, run_tests

ANALYSIS = analysis_settings(Path(__file__).parents[2])


def _tables(rows: list[tuple]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """rows: (condition, data set, E, dead at the peak, dead at the end, anything else of the run); one run each."""
    runs, curves = [], []
    for seed, (condition, dataset, control, peak, final, *rest) in enumerate(rows):
        key = {"paper": "expert-ecology", "condition": condition, "seed": seed}
        runs.append(
            key | {"dataset": dataset, "control_number": control, "dead_experts": final, "dead_experts_peak": peak,
                   "experts": 16, "tiers": [8, 4, 4], "rows": ["V1"], "task": "vision"} | dict(*rest)
        )  # fmt: skip
        curves += [key | {"epoch": epoch, "dead_experts": dead} for epoch, dead in ((1.0, peak), (2.0, final))]
    return pl.DataFrame(runs, infer_schema_length=None), pl.DataFrame(curves)


def _row(found: pl.DataFrame, test: str, data: str | None = None) -> dict:
    part = found.filter(pl.col("test").str.starts_with(test))
    return (part if data is None else part.filter(pl.col("data") == data)).row(0, named=True)


ROWS = [
    ("low", "digits-10", 0.3, 4.0, 3.0),
    ("low", "digits-10", 0.3, 3.0, 3.0),
    ("low", "digits-10", 0.3, 2.0, 2.0),
    ("high", "digits-10", 0.6, 2.0, 0.0),
    ("high", "digits-10", 0.6, 1.0, 0.0),
    ("edge", "digits-10", 0.15 / (0.1 + 0.2), 0.0, 0.0),
    ("hard", "digits-200", 0.6, 9.0, 9.0),
]
LEFT_OUT = [
    ("none", "digits-10", None, 9.0, 9.0),
    ("cross-et", "digits-10", 0.3, 9.0, 9.0, {"rows": ["CROSS"]}),
    ("cross-et", "digits-10", 0.3, 9.0, 9.0, {"rows": ["CROSS"]}),
    ("v8", "digits-200", 0.3, 9.0, 9.0, {"tiers": [16, 8, 8]}),
]


def test_every_question_by_hand():
    found = run_tests(*_tables(ROWS + LEFT_OUT), ANALYSIS)
    assert found.schema == COLUMNS
    permutation = _row(found, "exact permutation, runs")
    # one of 20 splits is as extreme on each side; E = .5 counts as above, also where it is .5 but for rounding
    assert (permutation["n"], permutation["n_against"]) == (3, 3)
    assert permutation["effect"] == pytest.approx(-8 / 3)
    assert permutation["p"] == permutation["p_minimum"] == pytest.approx(0.1)
    assert permutation["note"] == "one side only, left out: digits-200"
    conditions = _row(found, "exact permutation, conditions")
    # means 0 and 0 against 8/3: one of three splits is that far off
    assert (conditions["n"], conditions["n_against"]) == (2, 1)
    assert conditions["effect"] == pytest.approx(-8 / 3)
    assert conditions["p"] == pytest.approx(1 / 3)
    fisher = _row(found, "Fisher")
    assert fisher["p"] == pytest.approx(stats.fisher_exact([[0, 3], [3, 0]]).pvalue)
    assert fisher["effect"] == -1.0
    clean = _row(found, "Clopper", "digits-10")
    assert (clean["effect"], clean["ci_low"]) == (0.0, 0.0)
    assert clean["ci_high"] == pytest.approx(1 - 0.025 ** (1 / 3))
    assert _row(found, "Clopper", "digits-200")["effect"] == 1.0


def test_revival_counts_runs_in_which_an_expert_was_ever_dead():
    row = _row(run_tests(*_tables(ROWS), ANALYSIS), "exact sign test", "digits-10")
    # revived by 1, 0, 0, 2, 1, and never dead in the sixth: three of five runs with at least one back
    assert (row["n"], row["effect"]) == (5, pytest.approx(4 / 5))
    assert row["p"] == pytest.approx(stats.binomtest(3, 5).pvalue)
    assert row["note"] == "at least one came back in 3 of 5 runs"


def test_mixed_model_finds_the_direction():
    levels = enumerate((0.2, 0.3, 0.4, 0.6, 0.8, 1.2))
    rows = [(f"c{c}", "digits-10", e, 1.0, float(e < 0.5 or k == 0)) for c, e in levels for k in range(4)]
    row = _row(run_tests(*_tables(rows), ANALYSIS), "mixed logistic")
    assert row["n"] == 24
    assert row["ci_high"] < 0
    assert row["note"].startswith("data sets fixed, 6 conditions random, sd ")


def test_mixed_model_keeps_e_of_zero_and_says_what_it_leaves_out():
    zero = ("zero", "digits-10", 0.0, 3.0, 3.0)
    row = _row(run_tests(*_tables([*ROWS, zero, *LEFT_OUT]), ANALYSIS), "mixed logistic")
    assert row["n"] == len(ROWS) + 1
    assert "; E = 0 as 0.15 in 1 run(s); " in row["note"]
    assert "left out: 2 under other rules, 1 of other tiers, 1 without E" in row["note"]


def test_mixed_model_needs_e_to_vary_within_a_data_set():
    rows = [("a", "digits-10", 0.3, 1.0, 1.0), ("b", "digits-100", 0.6, 1.0, 0.0)]
    found = run_tests(*_tables(rows), ANALYSIS)
    assert found.filter(pl.col("test").str.starts_with("mixed")).is_empty()
    assert not found.is_empty()


def test_without_runs_there_is_an_empty_table():
    runs, curves = _tables([("none", "digits-10", None, 9.0, 9.0)])
    assert run_tests(runs, curves, ANALYSIS).schema == COLUMNS
