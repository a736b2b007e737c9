"""The held-out comparison of E with its rivals: scores by hand, and worlds whose cause is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.errors import BadInput
from moe_replication.statistics import held_out as ho
from moe_replication.statistics import prediction_scores as ps

SETTINGS = replace(analysis_settings(Path(__file__).parents[2]), resamples=200)
OUTCOME = np.array([True, True, False, False, False])
PREDICTED = np.array([0.9, 0.4, 0.4, 0.2, 0.8])


def world(dead, *, sets=("CIFAR-10", "CIFAR-100"), entropy=(0.05, 0.15, 0.45), balance=(0.1, 0.4, 1.6)) -> pl.DataFrame:
    """A grid over T, H, O and B with two seeds; `dead(row, generator)` gives the dead experts of a run."""
    rows = []
    for number, (name, t, h, o, b) in enumerate(product(sets, (1.0, 2.0), entropy, (0.05, 0.3), balance)):
        row = {"dataset": name, "rows": ["GRID"] if name == "CIFAR-10" else ["V3"], "condition": f"c{number:03}"}
        row |= {"temperature": t, "entropy_weight": h, "oracle_weight": o, "balance_weight": b}
        row["control_number"] = t * h / (o + b)
        for seed in range(2):
            found = dead(row, np.random.default_rng([number, seed]))
            rows.append(row | {"seed": seed, "dead_experts": float(found)})
    return pl.DataFrame(rows)


def of(result: ho.HeldOut, test_set: str) -> dict[str, dict]:
    return {row["predictor"]: row for row in result.scores.filter(pl.col("test_set") == test_set).iter_rows(named=True)}


@pytest.fixture(scope="module")
def e_decides() -> ho.HeldOut:
    """Dead experts exactly where E < 0.5, but for one run in twenty."""
    return ho.held_out(world(lambda row, draw: (row["control_number"] < 0.5) != (draw.random() < 0.05)), SETTINGS)


@pytest.fixture(scope="module")
def b_decides() -> ho.HeldOut:
    """Dead experts exactly where B < 0.2, which raises E."""
    return ho.held_out(world(lambda row, draw: row["balance_weight"] < 0.2), SETTINGS)


def test_auc_by_hand():
    # Pairs (with, without): 0.9 above all three; 0.4 ties with 0.4, is above 0.2, below 0.8.
    assert ps.auc(OUTCOME, PREDICTED) == pytest.approx((3 + 1.5) / 6)
    assert ps.auc(np.array([True, True]), np.array([0.1, 0.9])) is None


def test_brier_by_hand():
    assert ps.squared_errors(OUTCOME, PREDICTED).mean() == pytest.approx((0.01 + 0.36 + 0.16 + 0.04 + 0.64) / 5)


def test_roc_passes_the_cut_offs_from_high_to_low():
    expected = [(0, 0), (0, 1 / 2), (1 / 3, 1 / 2), (2 / 3, 1), (1, 1)]
    assert ps.roc(OUTCOME, PREDICTED) == pytest.approx(np.array(expected))


def test_area_under_the_roc_is_the_auc():
    points = ps.roc(OUTCOME, PREDICTED)
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(ps.auc(OUTCOME, PREDICTED))


def test_calibration_error_by_hand():
    # Two distinct predictions are two bins, (4 + 6) runs: 0.25 for a share of 0.5, then 0.75 for a share of 0.5.
    predicted = np.repeat([0.25, 0.75], [4, 6])
    outcome = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 0], dtype=bool)
    assert ps.calibration_error(outcome, predicted) == pytest.approx(0.25)
    order = np.random.default_rng(0).permutation(10)
    assert ps.calibration_error(outcome[order], predicted[order]) == pytest.approx(0.25)


def test_bootstrap_draws_clusters_with_all_their_runs():
    # Clusters of means 0 and 1: resampled means are 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    cluster = np.array([0, 0, 0, 1, 1, 1])
    draws = ps.cluster_draws(2, 4000, 0)
    means = draws @ np.array([0, 3]) / (draws @ np.array([3, 3]))
    assert np.unique(means).tolist() == [0, 0.5, 1]
    assert np.mean(means == 0.5) == pytest.approx(0.5, abs=0.03)
    assert ps.mean_bounds(np.repeat([0.0, 1.0], 3), cluster, draws) == (0.0, 1.0)
    assert ps.mean_bounds(np.ones(3), np.zeros(3, dtype=int), ps.cluster_draws(1, 10, 0)) == (None, None)


def test_auc_bounds_agree_with_resampled_runs():
    cluster = np.array([0, 1, 1, 2, 3])
    draws = ps.cluster_draws(4, 300, 1)
    slow = []
    for counts in draws:
        chosen = np.repeat(np.arange(5), counts[cluster])
        value = ps.auc(OUTCOME[chosen], PREDICTED[chosen])
        slow += [] if value is None else [value]
    assert len(slow) < 300
    assert ps.auc_bounds(OUTCOME, PREDICTED, cluster, draws) == pytest.approx(np.quantile(slow, [0.025, 0.975]))


def test_halves_share_no_condition_and_both_have_low_and_high_e(e_decides):
    rows = e_decides.predictions.filter((pl.col("predictor") == ho.RULE) & (pl.col("dataset") == "CIFAR-10"))
    fit, test = (rows.filter(pl.col("half") == half) for half in ("fit", "test"))
    assert not set(fit["condition"]) & set(test["condition"])
    assert fit["condition"].n_unique() == test["condition"].n_unique() == 18
    for half in (fit, test):
        low = half.filter(pl.col("control_number") < 0.5)["condition"].n_unique()
        assert low == pytest.approx(rows.filter(pl.col("control_number") < 0.5)["condition"].n_unique() / 2, abs=0.5)


def test_two_conditions_a_side_go_one_to_each_half_whatever_the_share():
    rows = pl.DataFrame({"condition": ["a", "b", "c", "d"], "control_number": [0.3, 0.4, 0.6, 0.7]})
    for share in (0.01, 0.99):
        chosen = ho.fit_conditions(rows, replace(SETTINGS, holdout_share=share))
        assert len(chosen) == 2
        assert len(set(chosen) & {"a", "b"}) == 1


def test_only_rows_that_move_the_weights_are_split_or_scored_on_the_first_set():
    runs = world(lambda row, draw: draw.integers(2))
    other = runs.filter(pl.col("condition") == "c000").with_columns(condition=pl.lit("v2"), rows=pl.lit(["V2"]))
    found = ho.held_out(pl.concat([runs, other]), SETTINGS)
    assert "v2" not in found.predictions["condition"].to_list()


def test_the_rule_wins_where_e_decides(e_decides):
    for test_set in ("CIFAR-10", "CIFAR-100"):
        found = of(e_decides, test_set)
        assert min(found, key=lambda name: found[name]["brier"]) == ho.RULE
        assert found[ho.RULE]["brier"] < 0.1
        assert found[ho.LOG_E]["auc"] > max(found[f"log {name}"]["auc"] for name in "THOB")
        for name in ("log T", "log H", "log O", "log B", ho.CONSTANT):
            assert found[name]["brier_minus_rule_low"] > 0
            assert found[name]["brier_minus_log_e_low"] > 0


def test_the_rule_loses_where_b_alone_decides(b_decides):
    found = of(b_decides, "CIFAR-100")
    assert found["log B"]["auc"] == 1.0
    assert found[ho.RULE]["auc"] < 0.5
    assert found["log B"]["brier_minus_rule_high"] < 0
    assert found["log B"]["brier_minus_log_e_high"] < 0


def test_the_rules_scores_are_those_of_its_yes_and_no(b_decides):
    rows = b_decides.predictions.filter((pl.col("predictor") == ho.RULE) & (pl.col("dataset") == "CIFAR-100"))
    wrong = rows.filter((pl.col("control_number") < 0.5) != pl.col("any_dead")).height / rows.height
    found = of(b_decides, "CIFAR-100")[ho.RULE]
    assert found["brier"] == pytest.approx(wrong)
    assert found["brier_minus_rule"] == found["brier_minus_rule_low"] == found["brier_minus_rule_high"] == 0
    assert found["calibration_in_the_large"] == pytest.approx(rows["predicted"].mean() - rows["any_dead"].mean())
    assert (found["runs"], found["conditions"], found["dead_share"]) == (72, 36, pytest.approx(1 / 3))


def test_the_constant_is_the_share_of_the_fit_half_and_ranks_nothing(e_decides):
    rows = e_decides.predictions.filter(pl.col("predictor") == ho.CONSTANT)
    share = rows.filter(pl.col("half") == "fit")["any_dead"].mean()
    assert rows["predicted"].unique().to_list() == [share]
    assert of(e_decides, "CIFAR-100")[ho.CONSTANT]["auc"] == 0.5


def test_the_fit_solves_the_penalised_equations(e_decides):
    """At the optimum X'(p - y) + ridge w = 0 and sum(p - y) = 0, X standardised."""
    fit = e_decides.predictions.filter((pl.col("predictor") == ho.RULE) & (pl.col("half") == "fit"))
    predicted = ho.logistic(fit, fit, ho.FACTORS, ridge=3.0)
    x = np.stack([np.log(fit[name].to_numpy()) for name in ho.FACTORS], axis=1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    design = np.column_stack([np.ones(len(x)), x])
    weights = np.linalg.lstsq(design, np.log(predicted / (1 - predicted)), rcond=None)[0]
    gap = predicted - fit["any_dead"].to_numpy()
    assert design.T @ gap + 3.0 * np.array([0, *weights[1:]]) == pytest.approx(np.zeros(5), abs=1e-4)


def test_zero_weights_take_half_the_smallest_positive_value_of_the_fit_set():
    fit = pl.Series("balance_weight", [0.0, 0.1, 0.4])
    rows = pl.Series("balance_weight", [0.0, 0.01, 0.2])
    assert ho.logs(fit, rows) == pytest.approx(np.log([0.05, 0.05, 0.2]))


def test_zero_weights_and_factors_that_never_move_are_fitted():
    runs = world(lambda row, draw: row["entropy_weight"] == 0, entropy=(0.0, 0.15), balance=(0.4,))
    found = of(ho.held_out(runs, SETTINGS), "CIFAR-100")
    assert found["log H"]["auc"] == found["all four logs"]["auc"] == 1.0
    assert found["log B"]["auc"] == 0.5
    assert found["log B"]["brier"] == pytest.approx(found[ho.CONSTANT]["brier"])


def test_runs_without_e_are_left_out_and_counted_and_never_given_a_side():
    runs = world(lambda row, draw: draw.integers(2))
    last = pl.col("condition") == pl.col("condition").max()
    holes = runs.with_columns(
        pl.when(last).then(pl.lit(None)).otherwise(pl.col("control_number")).alias("control_number")
    )
    found = ho.held_out(holes, SETTINGS)
    assert found.undefined == 2
    assert of(found, "CIFAR-100")[ho.RULE]["undefined"] == 2
    assert of(found, "CIFAR-10")[ho.RULE]["undefined"] == 0
    assert of(found, "CIFAR-100")[ho.RULE]["runs"] == 70
    with pytest.raises(BadInput, match=r"control_number is undefined in 2 of 144 runs"):
        ho.below(holes["control_number"], 0.5)
    with pytest.raises(BadInput, match=r"control_number is undefined"):
        ho.logs(runs["control_number"], holes["control_number"])


def test_rounding_of_the_sum_does_not_move_e_below_one_half():
    control = 0.15 / (0.1 + 0.2)
    assert control < 0.5  # floating point
    assert ho.below(pl.Series("control_number", [control, 0.499]), 0.5).tolist() == [False, True]


def test_sufficiency_predicts_nothing_above_and_the_fit_halfs_share_below():
    """Below E = 0.5 two of three runs are dead, at or above it one; the rule and sufficiency know the same of a run."""
    control, outcome = [0.3, 0.4, 0.499, 0.5, 0.6], [True, False, True, True, False]
    fit = pl.DataFrame({"control_number": control, "any_dead": outcome}).with_columns(
        pl.lit(1.0).alias(name) for name in ho.FACTORS
    )
    rows = fit.filter(pl.col("control_number").is_in([0.3, 0.5]))
    found = ho.predict(fit, rows, SETTINGS).filter(pl.col("predictor") == ho.SUFFICIENCY)
    assert found["predicted"].to_list() == pytest.approx([2 / 3, 0.0])
    above = fit.filter(pl.col("control_number") >= 0.5)
    fallen = ho.predict(above, rows, SETTINGS).filter(pl.col("predictor") == ho.SUFFICIENCY)
    assert (fallen["predicted"].to_list(), fallen["note"].unique().to_list()) == ([0.5, 0.5], [ho.NONE_BELOW])


def test_one_outcome_in_the_fit_set_leaves_the_constant_and_says_so():
    found = ho.held_out(world(lambda row, draw: row["dataset"] == "CIFAR-100" and draw.random() < 0.5), SETTINGS)
    rivals = of(found, "CIFAR-100")
    assert {rivals[name]["note"] for name in ho.FITS} == {ho.ONE_OUTCOME}
    assert rivals[ho.RULE]["note"] is rivals[ho.CONSTANT]["note"] is None
    assert rivals[ho.LOG_E]["brier"] == rivals[ho.CONSTANT]["brier"] == pytest.approx(rivals[ho.RULE]["dead_share"])
    alone = of(found, "CIFAR-10")
    assert alone[ho.RULE]["auc"] is alone[ho.RULE]["auc_low"] is None
    assert alone[ho.LOG_E]["brier"] == 0


def test_without_a_run_to_fit_on_nothing_is_predicted():
    found = ho.held_out(world(lambda row, draw: draw.integers(2), sets=("language",)), SETTINGS)
    assert found.scores.is_empty()
    assert found.predictions.is_empty()
    assert found.scores.columns == list(ho.SCORES)


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    runs = world(lambda row, draw: draw.integers(2))
    first = ho.held_out(runs, SETTINGS)
    second = ho.held_out(runs.sample(fraction=1.0, shuffle=True, seed=1), SETTINGS)
    assert first.scores.equals(second.scores)
    assert first.predictions.equals(second.predictions)
    other = ho.held_out(runs, replace(SETTINGS, holdout_seed=1))
    assert not first.predictions.equals(other.predictions)


def test_sets_are_scored_by_themselves_the_fitted_one_first_and_language_last():
    runs = world(lambda row, draw: draw.integers(2), sets=("language", "TinyImageNet", "CIFAR-10", "CIFAR-100"))
    found = ho.held_out(runs, SETTINGS).scores
    order = ["CIFAR-10", "CIFAR-100", "TinyImageNet", "language"]
    assert found["test_set"].unique(maintain_order=True).to_list() == order
    assert found["predictor"].to_list() == list(ho.PREDICTORS) * 4
