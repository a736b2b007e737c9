"""Collected tables of paper A with every condition: smooth made-up curves. They are fixtures, never results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.config.schema import read_yaml
from moe_replication.figures.paper_values import read_paper_values
from moe_replication.figures.style import FigureInfo

ANALYSIS = analysis_settings(Path(__file__).parents[2])

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "config" / "paper_values.yaml"
POOLS = {"sequence": 256, 8192: 1024, 65536: 4096, "batch": 8192}
STEPS = range(0, 1001, 25)
EXPERTS, LAYERS = 4, 2
GAINS = {"dense": 0.0, "token_choice": -0.05, "expert_choice": -0.07, "expert_threshold": -0.065}


@pytest.fixture(scope="session")
def paper_values() -> pl.DataFrame:
    """The shipped values of the papers."""
    return read_paper_values(VALUES)


@pytest.fixture
def info(paper_values) -> FigureInfo:
    """What a figure of a small scale knows."""
    return FigureInfo(analysis=ANALYSIS, scale="cpu", paper_values=paper_values)


@pytest.fixture(scope="session")
def paper_a_tables() -> dict[str, pl.DataFrame]:
    """runs, curves, experts and probe-metrics of every condition of paper A with seeds 0, 1, 2."""
    conditions = read_yaml(ROOT / "config" / "papers" / "expert-threshold.yaml")["conditions"]
    runs, curves, experts = [], [], []
    for number, (name, row) in enumerate(conditions.items()):
        for seed in range(3):
            made = _run(name, row, np.random.default_rng([number, seed]), seed)
            runs.append(made[0])
            curves.append(made[1])
            experts.append(made[2])
    tables = {"runs": pl.DataFrame(runs, infer_schema_length=None)}
    tables |= {"curves": pl.concat(curves, how="diagonal"), "experts": pl.concat(experts, how="diagonal")}
    core = tables["runs"].select("paper", "condition", "seed", core=20 - 2 * pl.col("val_loss"))
    return tables | {"probe-metrics": core}


def _run(name: str, row: dict, generator: np.random.Generator, seed: int) -> tuple[dict, pl.DataFrame, pl.DataFrame]:
    routing = row["set"]["routing"]
    rule = routing["rule"]
    pool = POOLS[routing.get("pool", "batch")] if rule in ("expert_choice", "expert_threshold") else None
    steps = np.array(STEPS)
    final = 3.4 + GAINS[rule] + generator.normal(0, 0.005) + (0.03 if pool == 256 else 0.0)
    loss = final + 3.0 * np.exp(-steps / 150) + generator.normal(0, 0.002, len(steps))
    gap = 0.035 if pool == 256 else 0.003
    identity = {"paper": "expert-threshold", "condition": name, "seed": seed}
    run = identity | {
        "title": row["title"], "rule": rule, "pool_tokens": pool, "experts": None if rule == "dense" else 16,
        "top_k": None if rule == "dense" else routing.get("top_k", 1),
        "val_loss": loss[-1], "train_loss": loss[-1] - gap, "generalization_gap": gap + generator.normal(0, 0.001),
        "parameters_total": 900_000, "parameters_active": 300_000, "tokens": 4_096_000, "steps": 1000,
        "tokens_per_second": 5000.0, "dataset": "embedded",
    }  # fmt: skip
    warm = 0 if "no-warmup" in name else 200
    settling = np.exp(-np.maximum(steps - warm, 0) / 60) if rule == "expert_threshold" else np.zeros(len(steps))
    curve = pl.DataFrame(
        {
            "step": steps, "tokens": steps * 4096,
            "train_loss": loss - gap + generator.normal(0, 0.02, len(steps)),
            "val_loss": [value if step % 100 == 0 else None for step, value in zip(STEPS, loss, strict=True)],
            "raw_usage_mean": 0.066 - 0.03 * settling, "saturation": 0.05 + 0.02 * settling,
            "starvation": 0.01 + 0.1 * settling, "cutoff_mean": 1.5 - 1.2 * np.exp(-steps / 100),
            "warming_up": [float(rule == "expert_threshold" and step < warm) for step in STEPS],
        }
    )  # fmt: skip
    if rule == "dense":
        curve = curve.select("step", "tokens", "train_loss", "val_loss")
    grid = [(step, layer, expert) for step in STEPS for layer in range(LAYERS) for expert in range(EXPERTS)]
    experts = pl.DataFrame(grid, schema=["step", "layer", "expert"], orient="row").with_columns(
        usage=0.0625 + (0 if rule == "expert_choice" else 0.01) * pl.Series(generator.normal(size=len(grid))),
        cutoff=pl.lit(None, pl.Float64) if pool is None else 0.4 + 0.1 * pl.col("expert") + pl.col("step") / 2000,
        cutoff_deviation=pl.lit(None if pool is None else 0.0, pl.Float64),
        bias=1e-3 * pl.col("step") * pl.col("expert") if name == "tc-loss-free" else pl.lit(None, pl.Float64),
    )
    labels = [pl.lit(value).alias(key) for key, value in identity.items()]
    return run, curve.select(*labels, pl.all()), experts.select(*labels, pl.all())
