"""Is E >= 0.5 a better predictor of dead experts than its rivals, on configurations and data that fitted none of them?

The outcome of a run is any dead expert at the end. The rule, dead exactly where E is below the threshold, has nothing
to fit. The paper claims sufficiency only, no dead expert at or above it: that predictor takes the share below it from
the fit half. The rivals are logistic fits. The fit half is half of the configurations of paper B's first image set; the
other half and every other data set are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.errors import BadInput
from moe_replication.statistics.prediction_scores import (
    auc,
    auc_bounds,
    calibration_error,
    cluster_draws,
    mean_bounds,
    squared_errors,
)
from moe_replication.statistics.studies import FACTORS, meets

# No settings: only these rows of the matrix, on this set, move each of T, H, O and B, as the rivals need.
FIT_SET = "CIFAR-10"
FIT_ROWS = ("ISO", "LINES", "GRID")
RULE, SUFFICIENCY, LOG_E, CONSTANT = "rule", "sufficiency", "log E", "constant"
# Rival -> the columns whose logs it is fitted on.
FITS = {
    LOG_E: ("control_number",),
    "log T": ("temperature",),
    "log H": ("entropy_weight",),
    "log O": ("oracle_weight",),
    "log B": ("balance_weight",),
    "all four logs": FACTORS,
}
PREDICTORS = (RULE, SUFFICIENCY, *FITS, CONSTANT)
ONE_OUTCOME = "one outcome in the fit set: the constant"
NONE_BELOW = "no run below the threshold in the fit set: the constant"
STILL = 1e-9  # a spread of logs below this is none

RUNS = ("dataset", "condition", "seed", "control_number", *FACTORS, "any_dead")
INTERVALS = ("auc", "brier", "brier_minus_rule", "brier_minus_log_e", "calibration_in_the_large")
SCORES = {
    "test_set": pl.String,
    "predictor": pl.String,
    "runs": pl.Int64,
    "conditions": pl.Int64,
    "dead_share": pl.Float64,
    "undefined": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in INTERVALS for end in ("", "_low", "_high")},
    "calibration_error": pl.Float64,
    "note": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """`scores` has the columns of SCORES, a row a test set and predictor; `predictions` a row a run and predictor, with
    `half` fit or test; `undefined` counts the runs left out because E is undefined, `scores` those of its test set.
    """

    scores: pl.DataFrame
    predictions: pl.DataFrame
    undefined: int


def held_out(runs: pl.DataFrame, settings: AnalysisSettings) -> HeldOut:
    """Fit, predict and score; both tables are empty without a run to fit on.

    `runs`: paper B's, with `dataset` (the paper's set whose place the data takes, or `language`), rows, condition,
    seed, control_number, the four factors and dead_experts. Intervals resample configurations with their runs and keep
    the fits as they are.
    """
    eligible = (pl.col("dataset") != FIT_SET) | pl.col("rows").list.set_intersection(list(FIT_ROWS)).list.len().gt(0)
    candidates = runs.drop_nulls("dead_experts").filter(eligible).with_columns(any_dead=pl.col("dead_experts") > 0)
    defined = candidates.drop_nulls("control_number").select(RUNS).sort("dataset", "condition", "seed")
    own = defined.filter(pl.col("dataset") == FIT_SET)
    fitted_on = pl.col("condition").is_in(fit_conditions(own, settings)) & (pl.col("dataset") == FIT_SET)
    halves = defined.with_columns(half=pl.when(fitted_on).then(pl.lit("fit")).otherwise(pl.lit("test")))
    if halves.filter(pl.col("half") == "fit").is_empty():
        halves = halves.clear()
    predictions = predict(halves.filter(pl.col("half") == "fit"), halves, settings)
    undefined = dict(candidates.filter(pl.col("control_number").is_null())["dataset"].value_counts().iter_rows())
    scores = [
        _score(name, predictions.filter((pl.col("dataset") == name) & (pl.col("half") == "test")), settings)
        for name in scored_sets(halves.filter(pl.col("half") == "test"))
    ]
    found = [row | {"undefined": undefined.get(row["test_set"], 0)} for rows in scores for row in rows]
    return HeldOut(
        scores=pl.DataFrame(found, schema=SCORES), predictions=predictions, undefined=sum(undefined.values())
    )


def scored_sets(rows: pl.DataFrame) -> list[str]:
    """The sets present, that of the fits first and language last."""
    return sorted(rows["dataset"].unique(), key=lambda name: (name != FIT_SET, name == "language", name))


def fit_conditions(rows: pl.DataFrame, settings: AnalysisSettings) -> list[str]:
    """The conditions to fit on: `holdout_share` of those below the rule's threshold and of those at or above it.

    Each side gives at least one to either half where it has two; BadInput where E is undefined.
    """
    chosen: list[str] = []
    by_name = rows.unique("condition").sort("condition")
    low = below(by_name["control_number"], settings.rule_threshold)
    for side in (True, False):
        names = by_name["condition"].filter(pl.Series(low == side)).to_list()
        count = int(settings.holdout_share * len(names) + 0.5)
        count = min(max(count, 1), len(names) - 1) if len(names) > 1 else len(names)
        generator = np.random.default_rng([settings.holdout_seed, int(side)])
        chosen += [names[index] for index in generator.permutation(len(names))[:count]]
    return sorted(chosen)


def below(control_number: pl.Series, threshold: float) -> np.ndarray:
    """Whether E is below the threshold; BadInput where it is undefined."""
    return np.array([not meets(control, threshold) for control in _known(control_number)], dtype=bool)


def logs(fit: pl.Series, rows: pl.Series) -> np.ndarray:
    """Natural log of `rows`, no lower than that of half the smallest positive value of `fit`: weights may be zero."""
    known, values = _known(fit), _known(rows)
    positive = known[known > 0]
    return np.log(np.maximum(values, positive.min() / 2 if len(positive) else 1.0))


def logistic(fit: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[str], ridge: float) -> np.ndarray:
    """P(any dead) of `rows` by the fit on the logs of `columns`, standardised over the fit set.

    It minimises the summed log loss + ridge / 2 * |w|^2 with the intercept free; `fit` holds both outcomes.
    """
    known = np.stack([logs(fit[name], fit[name]) for name in columns], axis=1)
    wanted = np.stack([logs(fit[name], rows[name]) for name in columns], axis=1)
    centre, spread = known.mean(axis=0), known.std(axis=0)
    spread[spread < STILL] = 1.0  # a factor that never moves: its weight stays 0
    model = LogisticRegression(C=1 / ridge, solver="lbfgs", tol=1e-8, max_iter=1000)
    model.fit((known - centre) / spread, fit["any_dead"].to_numpy())
    return model.predict_proba((wanted - centre) / spread)[:, 1]


def predict(fit: pl.DataFrame, rows: pl.DataFrame, settings: AnalysisSettings) -> pl.DataFrame:
    """`rows` once per predictor, with predictor, predicted and note."""
    parts = []
    for name in PREDICTORS:
        predicted, note = _predicted(name, fit, rows, settings)
        parts.append(
            rows.with_columns(predictor=pl.lit(name), predicted=pl.Series(predicted), note=pl.lit(note, pl.String))
        )
    return pl.concat(parts)


def _predicted(
    name: str, fit: pl.DataFrame, rows: pl.DataFrame, settings: AnalysisSettings
) -> tuple[np.ndarray, str | None]:
    """P(any dead) of `rows`, and what a predictor that cannot be fitted falls back on: the constant."""
    constant = np.full(rows.height, fit["any_dead"].mean(), dtype=np.float64)
    low = below(rows["control_number"], settings.rule_threshold).astype(np.float64)
    if name == RULE:
        return low, None
    if name == SUFFICIENCY:
        dead = fit["any_dead"].filter(pl.Series(below(fit["control_number"], settings.rule_threshold)))
        return (low * dead.mean(), None) if len(dead) else (constant, NONE_BELOW)
    if name == CONSTANT:
        return constant, None
    if fit["any_dead"].n_unique() < 2:
        return constant, ONE_OUTCOME
    return logistic(fit, rows, FITS[name], settings.ridge), None


def _known(values: pl.Series) -> np.ndarray:
    if missing := values.null_count():
        raise BadInput(
            f"{values.name} is undefined in {missing} of {len(values)} runs: a threshold or log needs a number;"
            " leave out the runs with O + B = 0"
        )
    return values.to_numpy().astype(np.float64)


def _score(test_set: str, predictions: pl.DataFrame, settings: AnalysisSettings) -> list[dict]:
    """One row of SCORES a predictor, over the same draws of configurations."""
    first = predictions.filter(pl.col("predictor") == RULE)
    outcome = first["any_dead"].to_numpy()
    cluster = first["condition"].rank("dense").to_numpy().astype(int) - 1
    draws = cluster_draws(int(cluster.max()) + 1, settings.resamples, settings.resample_seed)
    parts = {name: predictions.filter(pl.col("predictor") == name) for name in PREDICTORS}
    predicted = {name: part["predicted"].to_numpy() for name, part in parts.items()}
    errors = {name: squared_errors(outcome, values) for name, values in predicted.items()}
    rows = []
    for name, values in predicted.items():
        row = {"test_set": test_set, "predictor": name, "note": parts[name]["note"][0]}
        row |= {"runs": len(outcome), "conditions": draws.shape[1], "dead_share": float(outcome.mean())}
        row["auc"] = auc(outcome, values)
        row["auc_low"], row["auc_high"] = auc_bounds(outcome, values, cluster, draws)
        means = {
            "brier": errors[name],
            "brier_minus_rule": errors[name] - errors[RULE],
            "brier_minus_log_e": errors[name] - errors[LOG_E],
            "calibration_in_the_large": values - outcome,
        }
        for metric, by_run in means.items():
            row[metric] = float(by_run.mean())
            row[f"{metric}_low"], row[f"{metric}_high"] = mean_bounds(by_run, cluster, draws)
        rows.append(row | {"calibration_error": calibration_error(outcome, values)})
    return rows
