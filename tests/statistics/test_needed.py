"""What would settle an inconclusive claim: the n is the first that does, and the sentence names the verdict."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from moe_replication.statistics.finding import Finding
from moe_replication.statistics.needed import what_settles

SETTLED = range(2, 3000)


def claim(comparison, **keys):
    base = {"comparison": comparison, "direction": "less", "margin": 0.1, "paper_value": 3.0, "test": "paired_t"}
    return base | keys


def pairs(effect, sd, n=3, beyond=False):
    half = stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)
    return Finding(n=n, effect=effect, sd=sd, low=effect - half, high=effect + half, p=0.9, beyond=beyond)


def one_sided(room, sd, n, alpha):
    """Chance that a mean this far on the claimed side of the margin passes."""
    return stats.nct.sf(stats.t.ppf(1 - alpha, n - 1), n - 1, room / sd * math.sqrt(n))


def first(enough):
    """The first n from which on it holds."""
    found = next(n for n in SETTLED if enough(n))
    assert not enough(found - 1) if found > 2 else True
    return found


@pytest.mark.parametrize("effect", [0.15, -0.15])
def test_an_equivalence_beyond_its_margin_would_be_contradicted(effect):
    """0.05 beyond the margin of 0.1 at an sd of 0.05: p is doubled, and corrected over the family."""
    alone = what_settles(claim("equivalence"), pairs(effect, 0.05, beyond=True), family_size=1)
    assert alone.n == first(lambda n: one_sided(0.05, 0.05, n, 0.025) >= 0.8) == 10
    assert alone.text == ("About 10 paired seeds would settle it as contradicted at this effect and sd (80 % power).")
    found = what_settles(claim("equivalence"), pairs(effect, 0.05, beyond=True), family_size=12)
    assert found.n == first(lambda n: one_sided(0.05, 0.05, n, 0.025 / 12) >= 0.8) > 10


def test_an_equivalence_within_its_margin_would_be_reproduced():
    found = what_settles(claim("equivalence"), pairs(0.05, 0.05), family_size=1)
    assert found.text.startswith(f"About {found.n} paired seeds would settle it as reproduced")
    # the other side of the margin has no say: close to the one-sided test at 5 %
    assert found.n == pytest.approx(first(lambda n: one_sided(0.05, 0.05, n, 0.05) >= 0.8), abs=1)


@pytest.mark.parametrize("comparison", ["equivalence", "at_most"])
def test_on_the_margin_itself_no_number_settles_it(comparison):
    found = what_settles(claim(comparison), pairs(0.1, 0.05), family_size=1)
    assert (found.n, found.text) == (
        None, "No number of paired seeds up to 10,000 would settle it at this effect and sd.",
    )  # fmt: skip


@pytest.mark.parametrize(("direction", "sign"), [("less", 1), ("greater", -1)])
def test_at_most_on_both_sides_of_its_margin(direction, sign):
    far = pairs(sign * 0.15, 0.05, beyond=True)
    beyond = what_settles(claim("at_most", direction=direction), far, family_size=12)
    assert beyond.n == first(lambda n: one_sided(0.05, 0.05, n, 0.025 / 12) >= 0.8)
    assert "as contradicted" in beyond.text
    within = what_settles(claim("at_most", direction=direction), pairs(sign * 0.05, 0.05), family_size=12)
    assert within.n == first(lambda n: one_sided(0.05, 0.05, n, 0.05 / 12) >= 0.8)
    assert "as reproduced" in within.text


@pytest.mark.parametrize(("direction", "verdict"), [("greater", "reproduced"), ("less", "contradicted")])
def test_an_ordering_would_be_settled_on_the_side_it_is_on(direction, verdict):
    found = what_settles(claim("ordering", direction=direction), pairs(0.025, 0.05), family_size=1)
    # half an sd takes 34 pairs
    assert (found.n, found.of) == (34, "paired seeds")
    assert f"About 34 paired seeds would settle it as {verdict}" in found.text


def test_an_ordering_at_exactly_zero():
    assert what_settles(claim("ordering"), pairs(0.0, 0.05), family_size=1).n is None


@pytest.mark.parametrize(("mean", "verdict"), [(3.02, "reproduced"), (2.98, "reproduced"), (3.2, "contradicted")])
def test_a_cell_takes_the_first_n_whose_prediction_interval_clears_the_margin(mean, verdict):
    """Spread 0.03: half widths of 0.09 and more, down to 1.96 * 0.03 = 0.0588."""
    found = what_settles(claim("value", test="prediction_interval"), pairs(mean, 0.03, 2), family_size=1)
    room = abs(abs(mean - 3.0) - 0.1)
    assert found.n == first(lambda n: stats.t.ppf(0.975, n - 1) * 0.03 * math.sqrt(1 + 1 / n) < room)
    assert found.text == f"{found.n} runs would settle it as {verdict} at this mean and sd."


def test_no_number_of_runs_narrows_a_prediction_interval_below_the_spread():
    """1.96 * 0.06 = 0.1176 on either side is more than the margin of 0.1."""
    found = what_settles(claim("difference", test="prediction_interval"), pairs(3.0, 0.06), family_size=1)
    assert found.n is None
    assert found.text == (
        "No number of paired seeds would settle it at this mean and sd: a prediction interval is never narrower than "
        "±1.96 sd = ±0.1176, the spread of single values, which the margin cuts."
    )


def test_equal_differences_of_an_ordering_rest_on_the_sign_flip_test():
    found = what_settles(claim("ordering"), Finding(n=3, effect=-0.2, sd=0.0, p=1.0), family_size=1)
    # 2 / 2^6 < 5 %
    assert (found.n, found.text) == (6, "6 paired seeds like these, all equal, would settle it as reproduced.")


@pytest.mark.parametrize("comparison", ["equivalence", "at_most"])
def test_equal_values_of_other_metrics_are_never_enough(comparison):
    found = what_settles(claim(comparison), Finding(n=3, effect=0.0, sd=0.0, p=1.0), family_size=1)
    assert (found.n, found.of) == (None, "paired seeds")
    assert found.text.startswith("No number of paired seeds like these, all equal, would settle it:")


def test_counts_need_as_many_as_both_tests_do():
    """(1 + s/15)^66 averaged over tenths of s is above 20, that of 65 is not; a single 1 among five takes more."""
    count = claim("at_most", margin=1)
    equal = Finding(n=5, effect=0.0, sd=0.0, p=0.8, values=(0.0,) * 5, limits=(-16, 16))
    assert what_settles(count, equal, family_size=1).n == 66
    spread = Finding(n=5, effect=0.2, sd=0.447, p=0.8, values=(0.0, 0.0, 0.0, 0.0, 1.0), limits=(-16, 16))
    needed = what_settles(count, spread, family_size=1)
    assert needed.n > 66
    assert needed.text.startswith(f"About {needed.n} paired seeds would settle it as reproduced")


def test_one_value_has_no_spread():
    found = what_settles(claim("ordering"), Finding(n=1, effect=0.1), family_size=1)
    assert (found.n, found.text) == (None, "One value has no spread: run at least two seeds.")
