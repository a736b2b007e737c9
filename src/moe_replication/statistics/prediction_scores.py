"""Scores of predicted probabilities of a yes-or-no outcome, and their bootstrap intervals over clusters of runs."""

from __future__ import annotations

import numpy as np
from scipy import stats

CALIBRATION_BINS = 5  # part of the score's definition: a test set of a few dozen runs leaves several runs in each
TAILS = (0.025, 0.975)


def concordance(outcome: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(runs with the outcome, runs without): 1 where the first is predicted higher, 1/2 where both are equal."""
    higher, lower = predicted[outcome][:, None], predicted[~outcome][None, :]
    return (higher > lower) + 0.5 * (higher == lower)


def auc(outcome: np.ndarray, predicted: np.ndarray) -> float | None:
    """Chance that a run with the outcome is predicted above one without, ties half; None with one outcome only."""
    pairs = concordance(outcome, predicted)
    return float(pairs.mean()) if pairs.size else None


def roc(outcome: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(points, 2): false and true positive rate at every cut-off, from (0, 0) to (1, 1); needs both outcomes."""
    cuts = np.concatenate([[np.inf], np.unique(predicted)[::-1]])
    called = predicted[None, :] >= cuts[:, None]
    return np.stack([called[:, ~outcome].mean(axis=1), called[:, outcome].mean(axis=1)], axis=1)


def squared_errors(outcome: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Per run; their mean is the Brier score (1950)."""
    return (predicted - outcome) ** 2


def calibration_error(outcome: np.ndarray, predicted: np.ndarray) -> float:
    """Expected calibration error: |mean predicted - share observed| over bins of about equal count, weighted by count.

    Bins go by rank, so equal predictions stay together and fewer distinct ones than bins make fewer bins.
    """
    share = (stats.rankdata(predicted) - 0.5) / len(predicted)
    bins = np.minimum((share * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=predicted - outcome, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(predicted))


def cluster_draws(clusters: int, samples: int, seed: int) -> np.ndarray:
    """(samples, clusters): how often each cluster is drawn when as many are drawn with replacement as there are."""
    return np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=samples)


def mean_bounds(values: np.ndarray, cluster: np.ndarray, draws: np.ndarray) -> tuple[float | None, float | None]:
    """95 % percentile interval of the mean over runs; `cluster` numbers each run's; (None, None) for one cluster."""
    count = draws.shape[1]
    sums, sizes = np.bincount(cluster, weights=values, minlength=count), np.bincount(cluster, minlength=count)
    return _bounds(draws @ sums / (draws @ sizes), count)


def auc_bounds(
    outcome: np.ndarray, predicted: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> tuple[float | None, float | None]:
    """95 % percentile interval of the AUC; draws with one outcome only have none and are left out."""
    count = draws.shape[1]
    member = np.eye(count)[cluster]
    between = member[outcome].T @ concordance(outcome, predicted) @ member[~outcome]
    won = np.einsum("sa,ab,sb->s", draws, between, draws)
    pairs = (draws @ member[outcome].sum(axis=0)) * (draws @ member[~outcome].sum(axis=0))
    return _bounds(won[pairs > 0] / pairs[pairs > 0], count)


def _bounds(estimates: np.ndarray, clusters: int) -> tuple[float | None, float | None]:
    if clusters < 2 or len(estimates) == 0:
        return None, None
    low, high = np.quantile(estimates, TAILS)
    return float(low), float(high)
