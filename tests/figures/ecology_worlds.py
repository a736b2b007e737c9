"""Made-up runs of paper B's matrix: equal E from different factors, a grid, and other data. Fixtures, never results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

# (T, H, O, B) by level of E.
ISO = {
    "0.30": [(2, 0.15, 0.15, 0.85), (2, 0.0825, 0.15, 0.4), (1, 0.165, 0.15, 0.4), (2, 0.15, 1.0, 0.0)],
    "0.545": [(2, 0.15, 0.15, 0.4), (2, 0.3, 0.7, 0.4), (1, 0.3, 0.15, 0.4), (4, 0.075, 0.55, 0.0)],
    "1.0": [(2, 0.15, 0.15, 0.15), (2, 0.275, 0.15, 0.4), (4, 0.1375, 0.15, 0.4), (2, 0.15, 0.3, 0.0)],
}
GRID = [(2, 0.15, 0.15, 0.3 / control - 0.15) for control in (0.4, 0.45, 0.5, 0.55, 0.6)]
OTHERS = {"digits-100": "vision", "digits-200": "vision", "embedded": "language"}

Dead = Callable[[dict, np.random.Generator], float]


def matrix(dead: Dead, *, seeds: int = 3, others: tuple[str, ...] = tuple(OTHERS)) -> pl.DataFrame:
    """runs.parquet of rows ISO and GRID on digits-10 and of three conditions on each of `others`."""
    rows = []
    for level, tuples in ISO.items():
        rows += [_runs(f"iso-e{level}-{n}", ["ISO"], "digits-10", t, dead, seeds) for n, t in enumerate(tuples)]
    rows += [_runs(f"grid-{n}", ["GRID"], "digits-10", t, dead, seeds) for n, t in enumerate(GRID)]
    for dataset in others:
        for level, tuples in ISO.items():
            rows.append(_runs(f"{dataset}-e{level}", ["V3"], dataset, tuples[0], dead, seeds))
    return pl.DataFrame([run for runs in rows for run in runs], infer_schema_length=None)


def _runs(name: str, ids: list[str], dataset: str, factors: tuple, dead: Dead, seeds: int) -> list[dict]:
    t, h, o, b = (float(value) for value in factors)
    settings = {"paper": "expert-ecology", "condition": name, "title": name, "rows": ids, "dataset": dataset}
    settings |= {"task": OTHERS.get(dataset, "vision"), "experts": 16, "control_number": t * h / (o + b)}
    settings |= {"temperature": t, "entropy_weight": h, "oracle_weight": o, "balance_weight": b}
    found = []
    for seed in range(seeds):
        draw = np.random.default_rng([seed, *name.encode()])
        count = float(dead(settings, draw))
        found.append(settings | {"seed": seed, "dead_experts": count, "usage_entropy": 0.95 - 0.03 * count})
    return found
