"""Collected tables of paper B with every condition: smooth made-up censuses. They are fixtures, never results."""

from __future__ import annotations

import numpy as np
import polars as pl

from moe_replication.config.matrix import Condition
from moe_replication.config.project import Project
from moe_replication.ecology.control_number import control_number
from moe_replication.statistics.probe_tables import SCAN_SCHEMAS

SEEDS, EPOCHS = range(3), range(1, 6)
TAXONOMY = ("pure_core", "broad_core", "weak_core", "edge", "noise")


def paper_b_tables(project: Project) -> dict[str, pl.DataFrame]:
    """runs, curves, experts of every condition of paper B, and the scan of v1 and v6; three seeds."""
    runs, curves, experts, scans = [], [], [], []
    for number, condition in enumerate(project.papers["expert-ecology"].conditions.values()):
        for seed in SEEDS:
            made = _run(condition, seed, np.random.default_rng([number, seed]))
            runs.append(made[0])
            curves += made[1]
            experts += made[2]
            scans += _scan(made[0]) if condition.name in ("v1", "v6") else []
    tables = {"runs": runs, "curves": curves, "experts": experts}
    found = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()}
    labels = dict.fromkeys(("paper", "condition", "title", "rule"), pl.String) | {"seed": pl.Int64}
    return found | {"probe-temperature": pl.DataFrame(scans, schema=labels | SCAN_SCHEMAS["temperature"])}


def _run(condition: Condition, seed: int, generator: np.random.Generator) -> tuple[dict, list[dict], list[dict]]:
    config, ecology = condition.config, condition.config.ecology
    names = ("temperature", "entropy_weight", "oracle_weight", "balance_weight")
    factors = {name: getattr(ecology, name) for name in names}
    vision, experts = config.task == "vision", config.moe.experts
    final = int(generator.integers(0, 5)) if ecology.balance_weight else experts - 4
    identity = {"paper": "expert-ecology", "condition": condition.name, "seed": seed}
    curve = []
    for epoch in EPOCHS:
        dead = min(experts - 1, final + 2 * (len(EPOCHS) - epoch))
        curve.append(
            identity | {"step": 10 * epoch, "epoch": float(epoch)} | _census(dead, config.moe.tiers, vision, epoch)
        )
    run = identity | factors | curve[-1] | {
        "title": condition.title, "rows": list(condition.rows), "task": config.task, "dataset": config.data.set,
        "rule": config.routing.rule, "experts": experts, "tiers": list(config.moe.tiers),
        "ortho_weight": ecology.ortho_weight, "control_number": control_number(*factors.values()),
        "dead_experts_peak": curve[0]["dead_experts"], "steps": 50, "epochs": float(len(EPOCHS)),
        "perplexity": None if vision else 30.0 + generator.normal(),
    }  # fmt: skip
    table = [
        identity | {"step": row["step"], "epoch": row["epoch"], "layer": 0, "expert": expert, "tier": tier,
                    "usage": 0.001 if expert < row["dead_experts"] else 1 / (experts - row["dead_experts"]),
                    "accuracy": 0.5 if vision else None, "taxonomy": "edge" if vision else None}
        for row in curve
        for expert, tier in enumerate(config.moe.tier_of_expert)
    ]  # fmt: skip
    return run, curve, table


def _census(dead: int, tiers: tuple[int, ...], vision: bool, epoch: int) -> dict:
    experts = sum(tiers)
    row = {
        "dead_experts": float(dead), "dead_experts_assigned": float(max(dead - 1, 0)),
        "dead_experts_tenth_percent": float(max(dead - 2, 0)), "dead_experts_fair_share": float(dead),
        "silent_experts": 0.0, "active_experts": float(experts - dead), "usage_entropy": 0.95 - 0.03 * dead,
        "train_loss": 2.0 / epoch,
    } | {f"tier_share_{tier}": count / experts for tier, count in enumerate(tiers)}  # fmt: skip
    if not vision:
        return row | {"val_loss": 3.0 + 0.1 * (epoch - 3) ** 2}
    alive = {f"taxonomy_{name}": float(count) for name, count in zip(TAXONOMY, _split(experts - dead), strict=True)}
    accuracy = {"test_accuracy": 0.1 * epoch, "test_loss": 2.0 + 0.1 * (epoch - 3) ** 2, "hard_sample_gradient": 2.0}
    return row | alive | {"taxonomy_dead": float(dead)} | accuracy


def _split(count: int) -> list[int]:
    return [count // 5 + (place < count % 5) for place in range(5)]


def _scan(run: dict) -> list[dict]:
    labels = {name: run[name] for name in ("paper", "condition", "seed", "title", "rule")}
    return [
        labels | {"temperature": t, "accuracy": 0.4 + 0.01 * t, "loss": 2.0, "active_experts": 12.0,
                  "hard_sample_gradient": 2.0 + 0.1 * t, "gate_entropy": 0.2 * t, "usage": [1 / 16] * 16,
                  "tier_shares": [0.5, 0.25, 0.25], "mass": [1 / 16] * 16, "active_by_mass": 11.0 + t // 5,
                  "mass_tier_shares": [0.5 - 0.01 * t, 0.25 + 0.01 * t, 0.25]}
        for t in (0.1, 1.0, 5.0)
    ]  # fmt: skip
