"""Results as text: digits of an interval, p values, and which claims are meant."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.statistics.compare import COMPARISONS, SUMMARY
from moe_replication.tracking.readings import claims_on, interval_text, p_text, readings, verdict_counts


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((3.2327, 3.22751, 3.23789), "3.2327 [3.2275, 3.2379]"),  # half-width 0.0052: four decimals
        ((12.667, 11.23, 14.10), "12.7 [11.2, 14.1]"),  # 1.4: one
        ((431.0, 261.0, 601.0), "431 [261, 601]"),  # 170: none
        ((1.0, 1.0, 1.0), "1 [1, 1]"),
        ((0.44283, None, None), "0.4428 (no interval)"),
    ],
)
def test_an_interval_is_written_to_two_digits_of_its_half_width(numbers, text):
    assert interval_text(*numbers) == text


def test_differences_show_their_sign():
    assert interval_text(0.02, -0.023, 0.063, sign="+") == "+0.020 [-0.023, +0.063]"


def test_an_exact_p_says_when_it_cannot_be_smaller():
    row = {"p_t_holm": 0.0712, "p_sign_flip": 0.25, "p_minimum": 0.25}
    assert p_text(row) == "t 0.071 (Holm), exact 0.25 (the least)"
    assert p_text(row | {"p_sign_flip": 0.5}) == "t 0.071 (Holm), exact 0.5"
    assert p_text(row | {"p_t_holm": None}) == "exact 0.25 (the least)"
    assert p_text(row | {"p_t_holm": None, "p_sign_flip": None}) == "none"


def _claim(name: str, verdict: str, first: list[str], against: list[str] | None = None, paper: str = "p") -> dict:
    return {"id": name, "verdict": verdict, "conditions": first, "against": against, "paper": paper}


def test_a_condition_reads_as_its_scored_metrics_its_differences_and_its_verdicts():
    row = {"metric": "val_loss", "n": 3, "mean": 3.2, "ci_low": 3.1, "ci_high": 3.3}
    summary = pl.DataFrame([row, row | {"metric": "train_loss"}], schema=SUMMARY)
    row |= {"baseline": "tc", "difference": -0.1, "ci_low": -0.15, "ci_high": -0.05, "p_t_holm": 0.04}
    comparisons = pl.DataFrame([row | {"p_sign_flip": 0.25, "p_minimum": 0.25}], schema=COMPARISONS)
    assert readings(summary, comparisons, [_claim("a", "reproduced", ["et"])]) == {
        "Value/val_loss": "3.20 [3.10, 3.30], n = 3",
        "Vs/val_loss": "-0.100 [-0.150, -0.050] vs tc, n = 3",
        "Vs/val_loss p": "t 0.04 (Holm), exact 0.25 (the least)",
        "Verdicts": "1 reproduced",
    }
    assert list(readings(summary, comparisons.clear(), [])) == ["Value/val_loss"]


def test_claims_of_a_condition_are_those_of_its_paper_that_name_it_on_either_side():
    claims = [
        _claim("first", "reproduced", ["et", "tc"]),
        _claim("second", "inconclusive", ["tc"], ["et"]),
        _claim("other paper", "reproduced", ["et"], paper="q"),
        _claim("other condition", "reproduced", ["tc"]),
    ]
    found = claims_on(claims, "p", "et")
    assert [claim["id"] for claim in found] == ["first", "second"]
    assert verdict_counts(found) == "1 inconclusive, 1 reproduced"
