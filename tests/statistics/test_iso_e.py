"""Agreement of runs at equal E on samples small enough to enumerate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics import iso_e

SETTINGS = replace(analysis_settings(Path(__file__).parents[2]), resamples=4000)
GROUP, SEED = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])


def test_eta_squared_by_hand():
    # Means 2 and 5 about 3.5: between 3 * 1.5^2 * 2 = 13.5; total 6.25 + 2.25 + 0.25 + 0.25 + 2.25 + 6.25 = 17.5.
    share, _, _ = iso_e.tuple_permutation(np.arange(1.0, 7.0), GROUP, SEED, SETTINGS)
    assert share == pytest.approx(13.5 / 17.5)


def test_p_is_that_of_swaps_within_seeds():
    # Of the 2^3 swaps within seeds only none and all three reach the observed difference: p = 2/8.
    _, chance, p = iso_e.tuple_permutation(np.arange(1.0, 7.0), GROUP, SEED, SETTINGS)
    assert p == pytest.approx(0.25, abs=0.02)
    # Sums differ by 9, or by 3 in the six other patterns: between = 13.5 or 1.5.
    assert chance == pytest.approx((13.5 / 4 + 1.5 * 3 / 4) / 17.5, abs=0.02)


def test_a_seeds_own_effect_does_not_hide_the_tuples():
    values = np.array([0.0, 10, 20, 30, 40, 0.1, 10.1, 20.1, 30.1, 40.1])
    group, seed = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
    share, _, p = iso_e.tuple_permutation(values, group, seed, SETTINGS)
    assert share < 0.001
    assert p == pytest.approx(2 / 32, abs=0.015)


def test_nothing_to_compare_gives_nulls_and_equal_values_agree():
    one_run_each = iso_e.tuple_permutation(np.array([1.0, 2.0]), np.array([0, 1]), np.zeros(2), SETTINGS)
    one_tuple = iso_e.tuple_permutation(np.array([1.0, 2.0]), np.zeros(2, dtype=int), np.arange(2), SETTINGS)
    assert one_run_each == one_tuple == (None, None, None)
    assert iso_e.tuple_permutation(np.zeros(6), GROUP, SEED, SETTINGS) == (None, None, 1.0)


def test_levels_are_e_to_three_decimals_of_row_iso():
    runs = pl.DataFrame(
        {
            "dataset": "CIFAR-10",
            "condition": ["v1", "v1", "twin", "twin", "low", "line", "none"],
            "rows": [["V1", "ISO"]] * 2 + [["ISO"]] * 3 + [["LINES"], ["ISO"]],
            "seed": [0, 1, 0, 1, 0, 0, 0],
            "control_number": [6 / 11, 6 / 11, 0.545, 0.545, 0.3, 0.545, None],
            "usage_entropy": [0.9, 0.7, 0.8, 0.6, 0.5, 0.1, 0.1],
        }
    )
    chosen = iso_e.iso_runs(runs)
    assert chosen["condition"].unique().sort().to_list() == ["low", "twin", "v1"]
    low, high = iso_e.level_agreement(chosen, "usage_entropy", SETTINGS).iter_rows(named=True)
    assert (low["level"], low["tuples"], low["n"], low["mean"]) == (0.3, 1, 1, 0.5)
    assert low["ci_low"] is low["eta_squared"] is low["p"] is None
    assert (high["level"], high["tuples"], high["n"]) == (0.545, 2, 4)
    # Tuple means 0.8 and 0.7: t(0.975, 1) * sd / sqrt(2) = 12.7062 * 0.05.
    assert high["mean"] == pytest.approx(0.75)
    assert high["ci_high"] - high["mean"] == pytest.approx(12.7062 * 0.05, rel=1e-4)
    assert high["eta_squared"] == pytest.approx(0.01 / 0.05)
