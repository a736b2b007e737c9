"""How many fewer tokens one condition needs for another's loss (paper A: "1.6x fewer tokens", Figure 1).

Read off the validation curves of full-length runs, as the paper's bar is: a run whose learning rate had decayed by
then would need fewer tokens still. The power law is a description beside the ratio, never a verdict.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import optimize, stats

from moe_replication.statistics.intervals import LEVEL, mean_interval

SEEDS = {
    "seed": pl.Int64,
    "loss": pl.Float64,
    "baseline_tokens": pl.Float64,
    "reference_tokens": pl.Float64,
    "ratio": pl.Float64,
}
PARAMETERS = ("l_inf", "a", "b")
POWER_LAWS = {
    "condition": pl.String,
    "seed": pl.Int64,
    "n": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in PARAMETERS for end in ("", "_low", "_high")},
    "note": pl.String,
}
NOT_IDENTIFIED = "not identified"
# The headline compares ET with TC + aux loss at d20; d12 has the same pair.
EFFICIENCY_BASELINES = {"et": "tc-aux", "d20-et": "d20-tc-aux"}


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """Baseline's tokens over the reference's at equal loss; above 1 when the reference needs fewer.

    `ratio` is the geometric mean over n paired seeds, low and high its 95 % t interval on the log scale (None at
    n = 1). All three are None when a seed of the reference never reaches the loss: see `note`.
    """

    n: int
    censored: int
    ratio: float | None
    low: float | None
    high: float | None
    note: str


def token_efficiency(curves: pl.DataFrame, reference: str, baseline: str) -> Efficiency:
    """The ratio over all seeds that both conditions have; `curves` as for `ratios_by_seed`."""
    seeds = ratios_by_seed(curves, reference, baseline)
    censored = seeds["ratio"].null_count()
    result = {"n": seeds.height, "censored": censored, "ratio": None, "low": None, "high": None}
    if seeds.is_empty():
        return Efficiency(**result, note=f"{reference} and {baseline} share no seed with a validation curve")
    if censored:
        note = (
            f"{reference} never reaches the final loss of {baseline} in {censored} of {seeds.height} seeds; "
            "a mean over the others would favour it, so there is none"
        )
        return Efficiency(**result, note=note)
    logs = mean_interval(seeds["ratio"].log().to_list())
    low, high = (None if end is None else math.exp(end) for end in (logs.low, logs.high))
    note = "one seed, no interval" if low is None else ""
    return Efficiency(**result | {"ratio": math.exp(logs.mean), "low": low, "high": high}, note=note)


def ratios_by_seed(curves: pl.DataFrame, reference: str, baseline: str) -> pl.DataFrame:
    """One row per seed of both: loss, tokens of either to reach it, and their ratio; null where never reached.

    `curves` has columns condition, seed, tokens, val_loss. The loss is the lowest of the baseline's curve and its
    tokens are those at which it first had it, so that a curve against itself gives exactly 1.
    """
    rows = []
    first, second = _curves_by_seed(curves, reference), _curves_by_seed(curves, baseline)
    for seed in sorted(first.keys() & second.keys()):
        loss = float(second[seed][1].min())
        needed, spent = (tokens_to_reach(*curve[seed], loss) for curve in (first, second))
        rows.append((seed, loss, spent, needed, None if needed is None else spent / needed))
    return pl.DataFrame(rows, schema=SEEDS, orient="row")


def tokens_to_reach(tokens: Sequence[float], losses: Sequence[float], target: float) -> float | None:
    """Tokens at which the running minimum of a curve comes down to `target`; None when it never does.

    Linear in log tokens between two points. A curve that starts at or below the target counts from its first
    point, which is more than it needed.
    """
    lowest = np.minimum.accumulate(np.asarray(losses, dtype=np.float64))
    reached = np.flatnonzero(lowest <= target)
    if len(reached) == 0:
        return None
    after = int(reached[0])
    if after == 0 or lowest[after] == target:
        return float(tokens[after])
    share = (lowest[after - 1] - target) / (lowest[after - 1] - lowest[after])
    return float(tokens[after - 1] * (tokens[after] / tokens[after - 1]) ** share)


def power_laws(curves: pl.DataFrame) -> pl.DataFrame:
    """Fit L = l_inf + a * D^-b to every run of every condition: one row per seed, and one over seeds (seed null).

    Intervals have 95 %: a seed's from the covariance of its fit (errors along a curve are not independent, so it is
    too narrow), the condition's from the t distribution over the n seeds identified (of a on the log scale).
    """
    rows = []
    for condition in curves["condition"].unique().sort():
        fits = {seed: fit_power_law(*curve) for seed, curve in _curves_by_seed(curves, condition).items()}
        rows += [{"condition": condition, "seed": seed, "n": 1} | _fit_row(fit) for seed, fit in fits.items()]
        if fits:
            rows.append({"condition": condition, "seed": None} | _over_seeds(list(fits.values())))
    return pl.DataFrame(rows, schema=POWER_LAWS)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """L = l_inf + a * D^-b with 95 % intervals (low, high) from the covariance of the fit."""

    l_inf: tuple[float, float, float]
    a: tuple[float, float, float]
    b: tuple[float, float, float]


def fit_power_law(tokens: Sequence[float], losses: Sequence[float]) -> PowerLaw | None:
    """Least-squares fit with l_inf, a, b >= 0; None where the curve does not identify it.

    That is fewer than five points, a flat curve, no convergence, a parameter at its bound, or an exponent whose
    interval holds zero.
    """
    tokens, losses = np.asarray(tokens, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if len(tokens) < 5 or losses.min() == losses.max():
        return None
    # fitted around the curve's middle, where scale and exponent are least entangled
    middle = float(np.exp(np.log(tokens).mean()))
    height = float(losses.max() - losses.min())
    start = [max(0.0, float(losses.min()) - height / 2), math.log(height), 0.5]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", optimize.OptimizeWarning)
            found, covariance = optimize.curve_fit(
                lambda d, l_inf, log_c, b: l_inf + np.exp(log_c - b * np.log(d / middle)),
                tokens,
                losses,
                p0=start,
                bounds=([0.0, -np.inf, 0.0], np.inf),
            )
    except (RuntimeError, ValueError, optimize.OptimizeWarning):
        return None
    l_inf, _, b = found
    along = np.array([0.0, 1.0, math.log(middle)])  # log a = log c + b * log middle
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(tokens) - 3)) * np.sqrt(
        [covariance[0, 0], along @ covariance @ along, covariance[2, 2]]
    )
    if not np.isfinite(half).all() or l_inf <= 1e-9 or b - half[2] <= 0:
        return None
    log_a = float(along @ found)
    return PowerLaw(
        l_inf=(float(l_inf), float(l_inf - half[0]), float(l_inf + half[0])),
        a=tuple(math.exp(value) for value in (log_a, log_a - half[1], log_a + half[1])),
        b=(float(b), float(b - half[2]), float(b + half[2])),
    )


def _fit_row(fit: PowerLaw | None) -> dict:
    if fit is None:
        return {"note": NOT_IDENTIFIED}
    ends = ("", "_low", "_high")
    values = {name: getattr(fit, name) for name in PARAMETERS}
    return {f"{name}{end}": value for name in PARAMETERS for end, value in zip(ends, values[name], strict=True)}


def _over_seeds(fits: list[PowerLaw | None]) -> dict:
    known = [fit for fit in fits if fit is not None]
    if not known:
        return {"n": 0, "note": NOT_IDENTIFIED}
    row = {"n": len(known)}
    for name in PARAMETERS:
        values = [getattr(fit, name)[0] for fit in known]
        interval = mean_interval([math.log(value) for value in values] if name == "a" else values)
        back = math.exp if name == "a" else float
        ends = (interval.mean, interval.low, interval.high)
        row |= {
            f"{name}{end}": None if value is None else back(value)
            for end, value in zip(("", "_low", "_high"), ends, strict=True)
        }
    missing = len(fits) - len(known)
    return row | ({"note": f"{NOT_IDENTIFIED} in {missing} of {len(fits)} seeds"} if missing else {})


def _curves_by_seed(curves: pl.DataFrame, condition: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Seed -> tokens and validation losses in order; before the first token there is no log to interpolate in."""
    rows = curves.filter(pl.col("condition") == condition, pl.col("tokens") > 0).drop_nulls("val_loss")
    return {
        seed: (part["tokens"].cast(pl.Float64).to_numpy(), part["val_loss"].to_numpy())
        for (seed,), part in rows.sort("tokens").group_by("seed", maintain_order=True)
    }
