"""The columns of the tables that a probe and CORE write."""

from __future__ import annotations

import polars as pl

TEXT, REAL, WHOLE = pl.String, pl.Float64, pl.Int64
BIN = {"bin": WHOLE, "low": REAL, "high": REAL, "centre": REAL}
SCHEMAS: dict[str, dict] = {
    "fanout": {"mode": TEXT, "axis": TEXT, "layer": WHOLE, **BIN, "fanout": REAL, "tokens": WHOLE},
    "consistency": {
        "step_a": WHOLE, "step_b": WHOLE, "fraction_a": REAL, "fraction_b": REAL, "metric": TEXT, "value": REAL,
    },
    "specialization": {"domain": TEXT, "layer": WHOLE, "expert": WHOLE, "ratio": REAL, "tokens": WHOLE},
    "histograms": {"quantity": TEXT, "layer": WHOLE, "low": REAL, "high": REAL, "count": WHOLE},
    "cutoffs": {
        "layer": WHOLE, "expert": WHOLE, "cutoff": REAL, "logit_mean": REAL, "logit_std": REAL, "gate_mean": REAL,
    },
    "shift": {
        "domain": TEXT, "batch": TEXT, "batch_tokens": WHOLE, "loss": REAL, "usage_mean": REAL, "usage_low": REAL,
        "usage_high": REAL, "load_max_over_mean": REAL, "load_worst": REAL, "zero_expert_share": REAL, "tokens": WHOLE,
    },
    "zero_tokens": {"domain": TEXT, "layer": WHOLE, **BIN, "share": REAL, "tokens": WHOLE},
    "token_map": {
        "domain": TEXT, "sample": WHOLE, "position": WHOLE, "text": TEXT, "loss": REAL, "layer": WHOLE,
        "fanout": REAL, "experts": pl.List(WHOLE),
    },
    "documents": {
        "domain": TEXT, "documents": WHOLE, "tokens": WHOLE, "loss": REAL, "ci_low": REAL, "ci_high": REAL,
    },
}  # fmt: skip
SCAN_SCHEMAS: dict[str, dict] = {
    "temperature": {
        "temperature": REAL, "accuracy": REAL, "loss": REAL, "active_experts": REAL, "hard_sample_gradient": REAL,
        "gate_entropy": REAL, "usage": pl.List(REAL), "tier_shares": pl.List(REAL),
        "mass": pl.List(REAL), "active_by_mass": REAL, "mass_tier_shares": pl.List(REAL),
    },
}  # fmt: skip
CORE_COLUMNS = {
    "task": TEXT, "kind": TEXT, "shots": WHOLE, "examples": WHOLE, "accuracy": REAL, "centered": REAL, "cropped": REAL,
}  # fmt: skip


def probe_table(name: str, rows: list[dict]) -> pl.DataFrame:
    """Rows as a table with the columns of its schema, also where there are none."""
    return pl.DataFrame(rows, schema=(SCHEMAS | SCAN_SCHEMAS)[name])
