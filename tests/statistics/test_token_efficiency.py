"""Token efficiency on curves whose ratio is known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moe_replication.statistics.token_efficiency import (
    fit_power_law,
    power_laws,
    ratios_by_seed,
    token_efficiency,
    tokens_to_reach,
)

SCHEMA = {"condition": pl.String, "seed": pl.Int64, "tokens": pl.Int64, "val_loss": pl.Float64}


def _curves(*rows: tuple) -> pl.DataFrame:
    """Rows (condition, seed, {tokens: loss})."""
    long = [(name, seed, tokens, loss) for name, seed, points in rows for tokens, loss in points.items()]
    return pl.DataFrame(long, schema=SCHEMA, orient="row")


def _law(factor: float, points: int = 200, noise: float = 0.0, seed: int = 0) -> dict[int, float]:
    """L = 2.5 + 60 (factor D)^-0.25 from 10^6 to 10^9 tokens: needs `factor` times fewer tokens for any loss."""
    tokens = np.unique(np.geomspace(1e6, 1e9, points).astype(int))
    draws = np.random.default_rng(seed).normal(0.0, noise, len(tokens))
    return {int(d): 2.5 + 60 * (factor * d) ** -0.25 + e for d, e in zip(tokens, draws, strict=True)}


def test_interpolation_is_linear_in_log_tokens():
    # 100 -> 10,000 tokens, 4.0 -> 3.0: half way down is at 1,000
    assert tokens_to_reach([100, 10_000], [4.0, 3.0], 3.5) == pytest.approx(1000)
    assert tokens_to_reach([100, 10_000], [4.0, 3.0], 3.75) == pytest.approx(10**2.5)
    assert tokens_to_reach([100, 10_000], [4.0, 3.0], 3.0) == 10_000
    assert tokens_to_reach([100, 10_000], [4.0, 3.0], 2.99) is None
    assert tokens_to_reach([100, 10_000], [4.0, 3.0], 4.5) == 100


def test_a_rise_does_not_undo_what_was_reached():
    # running minimum 4, 3.5, 3.5, 3: 3.25 is half way between the third point and the fourth
    assert tokens_to_reach([10, 100, 1000, 100_000], [4.0, 3.5, 3.8, 3.0], 3.25) == pytest.approx(10_000)
    assert tokens_to_reach([10, 100, 1000, 100_000], [4.0, 3.5, 3.8, 3.0], 3.5) == 100


@given(
    losses=st.lists(st.floats(1, 5), min_size=1, max_size=8),
    targets=st.tuples(st.floats(1, 5), st.floats(1, 5)),
)
def test_a_lower_target_never_takes_fewer_tokens(losses, targets):
    tokens = [10.0 * 2**i for i in range(len(losses))]
    easy, hard = (tokens_to_reach(tokens, losses, target) for target in (max(targets), min(targets)))
    assert (hard is None) == (min(losses) > min(targets))
    if hard is not None:
        assert tokens[0] <= easy <= hard * (1 + 1e-12) <= tokens[-1] * (1 + 1e-9)


def test_a_known_ratio_is_recovered():
    curves = _curves(*((name, s, _law(factor)) for name, factor in (("et", 1.6), ("tc", 1.0)) for s in (0, 1)))
    found = token_efficiency(curves, "et", "tc")
    assert (found.n, found.censored, found.note) == (2, 0, "")
    assert (found.ratio, found.low, found.high) == pytest.approx((1.6, 1.6, 1.6), rel=1e-3)
    assert token_efficiency(curves, "tc", "et").ratio is None


def test_seeds_are_paired_and_averaged_on_the_log_scale():
    """tc ends at 3.0 after 10,000 tokens; seed 2 has no partner."""
    tc = {100: 4.0, 10_000: 3.0}
    half_way, just = {100: 4.0, 10_000: 2.0}, {100: 3.5, 10_000: 3.0}
    curves = _curves(("tc", 0, tc), ("tc", 1, tc), ("et", 0, half_way), ("et", 1, just), ("et", 2, {100: 1.0}))
    assert ratios_by_seed(curves, "et", "tc").rows() == [
        (0, 3.0, 10_000.0, pytest.approx(1000), pytest.approx(10)),
        (1, 3.0, 10_000.0, 10_000.0, 1.0),
    ]
    found = token_efficiency(curves, "et", "tc")
    # ratios 10 and 1: log mean ln(10) / 2, sd ln(10) / sqrt(2), half width t(0.975, 1) * sd / sqrt(2)
    half = 12.7062047 * math.log(10) / 2
    assert found.ratio == pytest.approx(math.sqrt(10))
    assert found.low == pytest.approx(math.exp(math.log(10) / 2 - half))
    assert found.high == pytest.approx(math.exp(math.log(10) / 2 + half))


def test_a_seed_that_never_gets_there_is_counted_and_leaves_no_mean():
    tc, et, behind = {100: 4.0, 10_000: 3.0}, {100: 4.0, 10_000: 2.0}, {100: 4.0, 10_000: 3.2}
    curves = _curves(("tc", 0, tc), ("tc", 1, tc), ("et", 0, et), ("et", 1, behind))
    assert ratios_by_seed(curves, "et", "tc")["ratio"].to_list() == [pytest.approx(10), None]
    found = token_efficiency(curves, "et", "tc")
    assert (found.n, found.censored, found.ratio, found.low, found.high) == (2, 1, None, None, None)
    assert found.note.startswith("et never reaches the final loss of tc in 1 of 2 seeds")


def test_one_seed_has_a_ratio_without_interval():
    curves = _curves(("tc", 0, {100: 4.0, 10_000: 3.0}), ("et", 0, {100: 4.0, 10_000: 2.0}))
    found = token_efficiency(curves, "et", "tc")
    assert (found.n, found.ratio, found.low, found.high) == (1, pytest.approx(10), None, None)
    assert found.note == "one seed, no interval"


def test_no_common_seed_says_so():
    curves = _curves(("tc", 0, {100: 4.0}), ("et", 1, {100: 4.0}))
    found = token_efficiency(curves, "et", "tc")
    assert (found.n, found.ratio) == (0, None)
    assert "share no seed" in found.note


def test_a_curve_against_itself_is_one_even_when_it_ends_on_a_rise():
    curve = {100: 4.0, 1000: 3.0, 10_000: 3.1}
    found = token_efficiency(_curves(("tc", 0, curve), ("twin", 0, curve)), "twin", "tc")
    assert found.ratio == 1.0


def test_steps_without_validation_and_before_the_first_token_are_passed_over():
    rows = pl.DataFrame(
        [("et", 0, 0, 9.0), ("et", 0, 10, None), ("et", 0, 100, 4.0), ("tc", 0, 0, 9.0), ("tc", 0, 1000, 4.0)],
        schema=SCHEMA,
        orient="row",
    )
    assert token_efficiency(rows, "et", "tc").ratio == pytest.approx(10)


def test_power_law_recovers_its_parameters():
    points = _law(1.0, points=40, noise=0.001)
    fit = fit_power_law(list(points), list(points.values()))
    for (value, low, high), truth in ((fit.l_inf, 2.5), (fit.a, 60.0), (fit.b, 0.25)):
        assert value == pytest.approx(truth, rel=0.1)
        assert low < value < high
        assert low < truth < high


@pytest.mark.parametrize(
    "points",
    [
        {10: 4.0, 100: 3.5, 1000: 3.2, 10_000: 3.0},
        {10**i: 3.0 for i in range(1, 9)},
        {10**i: 5.0 - 0.2 * i for i in range(1, 9)},
        {10**i: 3.0 + 0.1 * (-1) ** i for i in range(1, 9)},
        {10**i: 2.0 + 0.1 * i for i in range(1, 9)},
    ],
    ids=["four points", "flat", "straight in log tokens", "noise", "rising"],
)
def test_a_curve_that_is_no_power_law_is_not_identified(points):
    assert fit_power_law(list(points), list(points.values())) is None


def test_power_laws_over_seeds():
    laws = [("et", seed, _law(1.0, points=30, noise=0.002, seed=seed)) for seed in (0, 1, 2)]
    table = power_laws(_curves(*laws, ("tc", 0, {10: 4.0, 100: 3.0})))
    assert table.select("condition", "seed", "n").rows() == [
        ("et", 0, 1), ("et", 1, 1), ("et", 2, 1), ("et", None, 3), ("tc", 0, 1), ("tc", None, 0),
    ]  # fmt: skip
    over = table.row(3, named=True)
    each = table.filter(pl.col("seed").is_not_null(), condition="et")
    assert over["b"] == pytest.approx(each["b"].mean())
    assert over["a"] == pytest.approx(math.exp(each["a"].log().mean()))
    assert over["b_low"] < over["b"] < over["b_high"]
    assert over["note"] is None
    assert table["note"].to_list()[-2:] == ["not identified", "not identified"]
    assert table["b"].to_list()[-2:] == [None, None]
