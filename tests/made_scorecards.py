"""Scorecards made by hand, for tests of the pages that show them."""

from __future__ import annotations

from moe_replication.statistics.claims import PAPER_CELL, SAME_CLAIM
from moe_replication.statistics.scorecard import sections, tests_of, totals

A, B = "expert-threshold", "expert-ecology"
ORDERING = {
    "place": "Table 1",
    "claim": "ET is below TC.",
    "kind": SAME_CLAIM,
    "comparison": "ordering",
    "metric": "val_loss",
    "conditions": ["et", "tc"],
    "against": None,
    "verdict": "inconclusive",
    "effect": -0.0312,
    "ci_low": -0.071,
    "ci_high": 0.0086,
    "logarithmic": False,
    "n": 3,
    "n_needed": 7,
    "n_needed_of": "paired seeds",
    "n_needed_paper": 5,
    "p": 0.0766,
    "p_corrected": 0.1532,
    "p_paper": 0.3064,
    "family": "table-1",
    "power": 0.423,
    "power_at": "the paper's difference",
    "detectable": 0.0672,
    "paper_value": -0.049,
    "sentence": "Inconclusive: et minus tc in val_loss is -0.0312.",
    "evidence": "Paired t test: p = 0.0766.",
    "figures": ["a-fig01-loss-curves"],
}
UNKNOWN = dict.fromkeys(
    ("effect", "ci_low", "ci_high", "n_needed", "n_needed_of", "n_needed_paper", "p", "p_corrected", "p_paper",
     "power", "power_at", "detectable", "paper_value")
)  # fmt: skip


def entry(name: str, verdict: str = "inconclusive", **changes: object) -> dict:
    """A judged claim; its paper follows from the first letter of its id."""
    return ORDERING | {"id": name, "paper": A if name.startswith("a-") else B, "verdict": verdict} | changes


def unjudged(name: str, verdict: str, **changes: object) -> dict:
    """A claim without a finding."""
    return entry(name, verdict, **(UNKNOWN | {"n": 0, "sentence": f"{verdict}.", "evidence": ""} | changes))


def card(*entries: dict, **changes: object) -> dict:
    """scorecard.json with these claims, at scale smoke, with runs of et, tc and v1."""
    return {
        "scale": "smoke",
        "scale_note": "a note on the scale",
        "claims_sha256": "ab" * 32,
        "claims_edited": [],
        "totals": totals(entries),
        "sections": sections(entries),
        "tests": tests_of([UNKNOWN | entry for entry in entries]),
        "warnings": [],
        "trained": {A: ["et", "tc"], B: ["v1"]},
        "claims": list(entries),
    } | changes


def mixed_card(**changes: object) -> dict:
    """Six claims: both papers, both kinds, every verdict."""
    return card(
        entry("a-first", "reproduced", claim="Pools of one sequence leak."),
        entry("a-second"),
        unjudged("a-cell", "untestable", kind=PAPER_CELL, comparison="value", paper_value=2.844, conditions=["et"]),
        entry("b-first", "contradicted", conditions=["v1", "v6"], comparison="bound", figures=["b-dead-vs-e"]),
        unjudged("b-second", "not_run", conditions=["v6"], figures=[]),
        entry("b-cell", "reproduced", kind=PAPER_CELL, comparison="value", conditions=["v1"]),
        **changes,
    )
