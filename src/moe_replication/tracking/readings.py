"""A condition's result as text parameters: MLflow's tables show no interval beside a number, but they show text.

On its compare page, which sorts names as they are written, these stand above the settings and below E's factors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import polars as pl

from moe_replication.statistics.compare import SCORED

VALUE, VERSUS, VERDICTS = "Value", "Vs", "Verdicts"


def readings(summary: pl.DataFrame, comparisons: pl.DataFrame, claims: Iterable[dict]) -> dict[str, str]:
    """`Value/{metric}`, `Vs/{metric}` (minus the baseline), its p, and the count of verdicts of one condition."""
    found = {}
    for row in summary.filter(pl.col("metric").is_in(SCORED)).iter_rows(named=True):
        text = interval_text(row["mean"], row["ci_low"], row["ci_high"])
        found[f"{VALUE}/{row['metric']}"] = f"{text}, n = {row['n']}"
    for row in comparisons.iter_rows(named=True):
        text = interval_text(row["difference"], row["ci_low"], row["ci_high"], sign="+")
        found[f"{VERSUS}/{row['metric']}"] = f"{text} vs {row['baseline']}, n = {row['n']}"
        found[f"{VERSUS}/{row['metric']} p"] = p_text(row)
    verdicts = verdict_counts(claims)
    return found | ({VERDICTS: verdicts} if verdicts else {})


def interval_text(mean: float, low: float | None, high: float | None, sign: str = "-") -> str:
    """`mean [low, high]` to two digits of the half-width; `sign` "+" shows a plus, no interval is said so."""
    if low is None or high is None:
        return f"{mean:{sign}.4g} (no interval)"
    half = (high - low) / 2
    exponent = int(f"{half:.1e}".partition("e")[2])
    form = f"{sign}.{max(0, 1 - exponent)}f" if half else f"{sign}.4g"
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def p_text(row: dict) -> str:
    """The t test's p after Holm, the exact one, and where that cannot be smaller; of a row of comparisons.parquet."""
    parts = [] if row["p_t_holm"] is None else [f"t {row['p_t_holm']:.2g} (Holm)"]
    if row["p_sign_flip"] is not None:
        least = " (the least)" if row["p_sign_flip"] <= row["p_minimum"] else ""
        parts.append(f"exact {row['p_sign_flip']:.2g}{least}")
    return ", ".join(parts) or "none"


def verdict_counts(claims: Iterable[dict]) -> str:
    """How many claims have each verdict, as in `2 contradicted, 1 reproduced`."""
    counts = Counter(claim["verdict"] for claim in claims)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def claims_on(claims: Iterable[dict], paper: str, condition: str) -> list[dict]:
    """The claims that name a condition, on either side."""
    return [claim for claim in claims if claim["paper"] == paper and condition in claim_conditions(claim)]


def claim_conditions(claim: dict) -> list[str]:
    """Every condition that a claim compares, first side first."""
    return [*claim["conditions"], *(claim["against"] or [])]
