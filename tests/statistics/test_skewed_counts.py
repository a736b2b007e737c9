"""Counts with a mean on the margin or threshold, zero in most runs and large in few: how often a verdict falls.

A rate from R samples has a standard error of sqrt(p (1 - p) / R); the tolerance is four of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.config.claims import load_claims
from moe_replication.statistics.claims import judge
from moe_replication.statistics.hypothesis_tests import ALPHA, paired_t, sign_flip_minimum
from moe_replication.statistics.margins import beyond_p, within_p

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ANALYSIS = analysis_settings(ROOT)
SAMPLES = 2000
SLACK = 4 * math.sqrt(ALPHA * (1 - ALPHA) / SAMPLES)
EXPERTS = 16
SIZES = (3, 5, 10, 72)
Draw = Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]


def rare(size: int) -> Draw:
    """`size` dead experts or none, with any mean."""
    return lambda generator, shape, mean: size * (generator.random(shape) < mean / size).astype(float)


def mixed(generator: np.random.Generator, shape: tuple[int, ...], mean: float) -> np.ndarray:
    """None or one, and all 16 now and then, which has half of the mean."""
    values = (generator.random(shape) < mean / 2).astype(float)
    return np.where(generator.random(shape) < mean / 2 / (EXPERTS - mean / 2), EXPERTS, values)


def overdispersed(generator: np.random.Generator, shape: tuple[int, ...], mean: float) -> np.ndarray:
    """Poisson counts around means of a gamma distribution of shape 1/4."""
    return np.minimum(EXPERTS, generator.poisson(generator.gamma(0.25, 4 * mean, shape)))


COUNTS = {"3": rare(3), "5": rare(5), "8": rare(8), "16": rare(16), "mixed": mixed, "gamma": overdispersed}
MARGINS = [
    {"comparison": "at_most", "direction": "less", "margin": 1},
    {"comparison": "at_most", "direction": "greater", "margin": 1},
    {"comparison": "equivalence", "margin": 1},
]
RANGE = (-EXPERTS, EXPERTS)


def drawn(name: str, n: int, mean: float) -> np.ndarray:
    return COUNTS[name](np.random.default_rng([n, len(name), EXPERTS]), (SAMPLES, n), mean)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("claim", MARGINS, ids=["at_most", "at_least", "equivalence"])
def test_neither_side_of_a_margin_is_declared_too_often(claim, name, n):
    """The second condition has none, so that the difference is the count itself, or its negative."""
    sign = -1 if claim.get("direction") == "greater" else 1
    differences = sign * drawn(name, n, 1.0)
    assert np.mean(within_p(claim, differences, RANGE) < ALPHA) <= ALPHA + SLACK
    assert np.mean(beyond_p(claim, differences, RANGE) < ALPHA) <= ALPHA + SLACK


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", COUNTS)
def test_a_rare_collapse_of_the_second_condition_is_no_contradiction(name, n):
    """Two dead in every run of the first, so that the difference is two, and far less now and then; its mean is one."""
    assert np.mean(beyond_p(MARGINS[0], 2 - drawn(name, n, 1.0), RANGE) < ALPHA) <= ALPHA + SLACK


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_a_threshold_is_declared_passed_no_more_than_5_percent_of_the_time(threshold, name, n):
    distances = drawn(name, n, threshold) - threshold
    limits = (-threshold, EXPERTS - threshold)
    assert np.mean(within_p({"comparison": "threshold"}, distances, limits) < ALPHA) <= ALPHA + SLACK


@pytest.mark.parametrize(("name", "n"), [("3", 5), ("5", 5), ("8", 5), ("16", 10), ("mixed", 10)])
def test_symmetry_about_the_margin_would_be_wrong(name, n):
    """What a sign-flip test of equal values, or the t test alone, would declare: far more than 5 %."""
    differences = drawn(name, n, 1.0)
    equal = np.ptp(differences, axis=1) == 0
    by_t = within_p(MARGINS[0], differences, None) < ALPHA
    assert np.mean(by_t | (equal & (differences[:, 0] < 1) & (2.0**-n < ALPHA))) > 2 * ALPHA


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("name", COUNTS)
def test_an_ordering_of_conditions_that_do_not_differ_holds_5_percent(name, n):
    """Zero is a centre of symmetry of differences between runs that are drawn alike, however skewed those are."""
    first, second = np.moveaxis(drawn(name, 2 * n, 1.0).reshape(-1, 2, n), 1, 0)
    differences = first - second
    p_values = [
        paired_t(row) if np.ptp(row) else sign_flip_minimum(n) if row[0] else 1.0 for row in differences.tolist()
    ]
    assert np.mean(np.array(p_values) < ALPHA) <= ALPHA + SLACK


@pytest.mark.parametrize("name", ["b-v2-ortho-not-toxic", "b-v5-warm-up-optional", "b-line-balance-zero"])
def test_shipped_claims_over_five_seeds(name):
    """By `judge` at scale cpu, the first condition with five dead experts in one run of five; 100 sets of runs."""
    (claim,) = [
        claim for claim in load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")
        if claim["id"] == name
    ]  # fmt: skip
    counts = COUNTS["5"](np.random.default_rng(5), (100, 5), 1.0)
    first, second = claim["conditions"]
    found = []
    for row in counts:
        rows = [(claim["paper"], first, seed, EXPERTS, value) for seed, value in enumerate(row)]
        rows += [(claim["paper"], second, seed, EXPERTS, 0.0) for seed in range(5)]
        table = pl.DataFrame(rows, schema=["paper", "condition", "seed", "experts", claim["metric"]], orient="row")
        found.append(judge([claim], table, None, "cpu", ANALYSIS)[0]["verdict"])
    assert any(not row.any() for row in counts)
    assert found.count("reproduced") / 100 <= ALPHA
