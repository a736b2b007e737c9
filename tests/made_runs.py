"""Run records for tests: plausible numbers from a seeded generator. They are fixtures, never results."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import polars as pl

from moe_replication.config.analysis import ANALYSIS_FILE, analysis_digest, analysis_settings
from moe_replication.config.claims import claim_digest, load_claims
from moe_replication.files import write_json, write_text

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
STEPS = (0, 5, 10, 15, 20)
ONE_START = {
    "restarts": 0, "starts": 1, "stopped": 0, "diverged": 0, "failed": 0, "killed": 0, "other_settings": 0,
}  # fmt: skip
TIERS = (8, 4, 4)
LOSSES = ("task", "entropy", "oracle", "balance", "ortho", "divergence")
TAXONOMY = ("pure_core", "broad_core", "weak_core", "edge", "noise", "dead")

SETTINGS = (
    "rule", "top_k", "pool_tokens", "temperature", "entropy_weight", "oracle_weight", "balance_weight", "ortho_weight",
    "control_number", "experts", "dataset", "tiers", "storage", "expert_optimizer", "recipe",
)  # fmt: skip
A_CURVE = (
    "usage_mean", "usage_std", "cutoff_mean", "cutoff_std", "saturation", "starvation", "fanout_mean",
    "load_max_over_mean",
)  # fmt: skip
EXPERT_SCHEMA = {
    "step": pl.Int64, "epoch": pl.Float64, **dict.fromkeys(("layer", "expert", "tier"), pl.Int64),
    **dict.fromkeys(("usage", "cutoff", "cutoff_deviation", "bias", "accuracy"), pl.Float64), "taxonomy": pl.String,
}  # fmt: skip

# condition: (title, rule, pool in tokens, centre of val_loss)
PAPER_A = {
    "dense": ("Dense", "dense", None, 3.43),
    "tc": ("TC", "token_choice", None, 3.385),
    "tc-aux": ("TC, aux loss", "token_choice", 4096, 3.38),
    "tc-loss-free": ("TC, loss-free", "token_choice", 8192, 3.388),
    "ec-sequence": ("EC, pool of one sequence", "expert_choice", 256, 3.41),
    "ec-batch": ("EC, pool of the batch", "expert_choice", 8192, 3.389),
    "et": ("ET, beta = 0.999, warm-up", "expert_threshold", 8192, 3.39),
}
# condition: (rows, dataset, temperature, entropy_weight, balance_weight, ortho_weight, centre of dead count)
PAPER_B = {
    "v1": (["V1", "V2"], "digits-10", 2.0, 0.15, 0.40, 0.0, 0),
    "v2-ortho-0.20": (["V2"], "digits-10", 2.0, 0.15, 0.40, 0.2, 0),
    "v3-e0.30": (["V3"], "digits-100", 2.0, 0.15, 0.85, 0.0, 1),
    "v3-e0.545": (["V3", "V4", "V5"], "digits-100", 2.0, 0.15, 0.40, 0.0, 1),
    "v4-ortho-0.20": (["V4"], "digits-100", 2.0, 0.15, 0.40, 0.2, 2),
    "v5-random-warmup": (["V5"], "digits-100", 2.0, 0.15, 0.40, 0.0, 1),
    "v5-annealing": (["V5"], "digits-100", 2.0, 0.15, 0.40, 0.0, 1),
    "v5-both": (["V5"], "digits-100", 2.0, 0.15, 0.40, 0.0, 1),
    "v6": (["V6"], "digits-200", 2.0, 0.15, 0.40, 0.0, 4),
    "v6-no-balance": (["V6"], "digits-200", 2.0, 0.15, 0.0, 0.0, 10),
    "v7-e1.0": (["V7"], "digits-200", 2.0, 0.275, 0.40, 0.0, 4),
    "v8-32-experts": (["V8"], "digits-200", 2.0, 0.15, 0.40, 0.0, 14),
    "l1": (["L1", "L2"], "embedded", 2.0, 0.15, 0.40, 0.0, 0),
    "l2-ortho-0.20": (["L2"], "embedded", 2.0, 0.15, 0.40, 0.2, 0),
    "l3-e0.30": (["L3"], "embedded", 2.0, 0.15, 0.85, 0.0, 1),
    "l3-e0.545": (["L3"], "embedded", 2.0, 0.15, 0.40, 0.0, 1),
    "l3-e1.0": (["L3"], "embedded", 2.0, 0.275, 0.40, 0.0, 1),
    "l4": (["L4"], "embedded", 2.0, 0.15, 0.40, 0.0, 0),
    "x1-4444": (["X1"], "digits-200", 2.0, 0.15, 0.40, 0.0, 4),
    "x1-flat": (["X1"], "digits-200", 2.0, 0.15, 0.40, 0.0, 4),
}
B_TIERS = {"v8-32-experts": (16, 8, 8), "x1-4444": (4, 4, 4, 4), "x1-flat": (16,)}
ORACLE_WEIGHT = 0.15


def write_run(
    root: Path,
    paper: str,
    condition: str,
    seed: int,
    *,
    scale: str = "smoke",
    metrics: dict | None = None,
    settings: dict | None = None,
    record: dict | None = None,
) -> Path:
    """One run directory below `root`.

    `metrics` and `settings` replace or add values of run.json, `record` replaces its top-level entries.
    """
    folder = Path(root) / "results" / scale / "runs" / paper / condition / f"seed-{seed}"
    generator = np.random.default_rng([ord(letter) for letter in paper + condition] + [seed])
    make = _threshold_run if paper == "expert-threshold" else _ecology_run
    content, curve, experts = make(condition, generator)
    content |= {
        "format": 2,
        "run": {"scale": scale, "paper": paper, "condition": condition, "seed": seed,
                "run_key": f"{generator.integers(2**62):016x}"},
        "training_code": "0123456789ab", "lock_sha256": "ab" * 32, "data_sha256": "cd" * 32, "imported": False,
    }  # fmt: skip
    content["metrics"] |= metrics or {}
    content["settings"] |= settings or {}
    content |= record or {}
    config = {"paper": paper, "condition": condition, "seed": seed, "routing": content["settings"]}
    write_json(folder / "config.json", {"config": config, "origins": {"routing.experts": "paper: Section 4"}})
    curve.write_parquet(folder / "curve.parquet")
    experts.write_parquet(folder / "experts.parquet")
    seconds = round(float(generator.uniform(2, 3)), 3)
    speed = content["counts"]["tokens"] / seconds
    write_json(folder / "cost.json", {"wall_seconds": seconds, "tokens_per_second": speed, **ONE_START})
    write_json(folder / "environment.json", _environment(paper, content["lock_sha256"]))
    write_text(folder / "log.txt", "finished\n")
    write_json(folder / "run.json", content)
    return folder


def _environment(paper: str, lock_sha256: str) -> dict:
    return {
        "python": "3.11.2", "torch": "2.13.0+cpu", "deepspeed": "0.19.8", "platform": "Linux",
        "cpu": "test fixture", "cores": 2, "device": "cpu", "dtype": "float32", "dtype_reason": "test fixture",
        "deterministic": True, "threads": 1, "processes": 1, "git_commit": "0" * 40, "lock_sha256": lock_sha256,
        "claims": _claims_of(paper),
    }  # fmt: skip


@functools.cache
def _claims_of(paper: str) -> dict[str, str]:
    """Digests of today's claims and analysis: nobody has edited any since."""
    claims = load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")
    digests = {claim["id"]: claim_digest(claim) for claim in claims if claim["paper"] == paper}
    return digests | {ANALYSIS_FILE: analysis_digest(analysis_settings(ROOT))}


def _settings(**known: object) -> dict:
    return dict.fromkeys(SETTINGS) | known


def _decay(generator: np.random.Generator, last: float) -> np.ndarray:
    """A falling curve over STEPS that ends at `last`."""
    falling = np.exp(-np.arange(len(STEPS)) / 1.5)
    return last + (falling - falling[-1]) * 4.0 + np.append(generator.normal(0, 0.01, len(STEPS) - 1), 0.0)


def _threshold_run(condition: str, generator: np.random.Generator) -> tuple[dict, pl.DataFrame, pl.DataFrame]:
    title, rule, pool, centre = PAPER_A[condition]
    val_loss = centre + float(generator.normal(0, 0.005))
    gap = (0.04 if condition == "ec-sequence" else 0.002) + float(generator.normal(0, 0.001))
    metrics = {
        "val_loss": val_loss, "train_loss": val_loss - gap, "generalization_gap": gap,
        "perplexity": float(np.exp(val_loss)),
    }  # fmt: skip
    dense, thresholded = rule == "dense", rule in ("expert_choice", "expert_threshold")
    routing = {
        "usage_mean": 0.0625,
        "usage_std": 0.0 if rule == "expert_choice" else float(generator.uniform(0.01, 0.02)),
        "load_max_over_mean": float(generator.uniform(1.0, 1.6)),
        "zero_expert_share": float(generator.uniform(0.2, 0.4)),
        "fanout_mean": 1.0,
        "saturation": float(generator.uniform(0, 0.08)),
        "starvation": float(generator.uniform(0, 0.03)),
    }
    if thresholded:
        routing["cutoff_std"] = float(generator.uniform(0.05, 0.08)) if rule == "expert_choice" else 0.001
    steps, train = len(STEPS), _decay(generator, val_loss - gap)
    columns = {
        "step": STEPS,
        "tokens": [step * 8192 for step in STEPS],
        "epoch": [None] * steps,
        "train_loss": train,
        "val_loss": [None, None, val_loss + 0.3, None, val_loss],
        "learning_rate": np.linspace(0.02, 0.002, steps),
    }
    for name in A_CURVE:
        columns[name] = [None if dense else routing.get(name, 0.4 if thresholded else None)] * steps
    content = {
        "title": title, "rows": ["Table 1"], "task": "language",
        "settings": _settings(rule=rule, pool_tokens=pool, experts=None if dense else 16, dataset="embedded"),
        "counts": _counts(tokens=STEPS[-1] * 8192),
        "metrics": metrics if dense else metrics | routing,
    }  # fmt: skip
    return content, _curve(columns), _experts(_threshold_experts(condition, rule, generator))


def _threshold_experts(condition: str, rule: str, generator: np.random.Generator) -> list[dict]:
    """Rows of experts.parquet: two layers of 16 experts, none of a dense model."""
    usage = generator.uniform(0.05, 0.075, (len(STEPS), 2, 16))
    cutoff = generator.normal(0.4, 0.05, (len(STEPS), 2, 16))
    return [
        _expert_row(
            step=STEPS[s], layer=layer, expert=e,
            usage=0.0625 if rule == "expert_choice" else usage[s, layer, e],
            cutoff=cutoff[s, layer, e] if rule in ("expert_choice", "expert_threshold") else None,
            cutoff_deviation={"expert_choice": cutoff[s, layer, e] - 0.4, "expert_threshold": 0.0}.get(rule),
            bias=0.005 * s if condition == "tc-loss-free" else None,
        )
        for s, layer, e in np.ndindex(usage.shape)
        if rule != "dense"
    ]  # fmt: skip


def _ecology_run(condition: str, generator: np.random.Generator) -> tuple[dict, pl.DataFrame, pl.DataFrame]:
    rows, dataset, temperature, entropy, balance, ortho, dead_centre = PAPER_B[condition]
    tiers, language = B_TIERS.get(condition, TIERS), dataset == "embedded"
    dead = dead_centre + int(generator.integers(0, 2)) if dead_centre else 0
    usage = generator.uniform(0.02, 0.1, (len(STEPS), sum(tiers)))
    usage[:, :dead] = 0.002
    usage /= usage.sum(axis=1, keepdims=True)
    accuracy = float(generator.normal(0.42, 0.01))
    val_loss = 5.0 + float(generator.normal(0, 0.02)) if language else 1.8
    train = _decay(generator, val_loss - 0.1)
    settings = _settings(
        rule="softmax_top_k", experts=sum(tiers), tiers=list(tiers), dataset=dataset, temperature=temperature,
        entropy_weight=entropy, oracle_weight=ORACLE_WEIGHT, balance_weight=balance, ortho_weight=ortho,
        control_number=temperature * entropy / (ORACLE_WEIGHT + balance),
    )  # fmt: skip
    metrics = {"train_loss": float(train[-1])} | _census(dead, usage[-1], tiers, language)
    if language:
        metrics |= {"val_loss": val_loss, "perplexity": float(np.exp(val_loss))}
    else:
        metrics |= {"test_accuracy": accuracy, "test_loss": val_loss}
    content = {
        "title": f"{rows[0]} {condition}", "rows": rows, "task": "language" if language else "vision",
        "settings": settings, "counts": _counts(tokens=STEPS[-1] * 128) | {"epochs": len(STEPS)}, "metrics": metrics,
    }  # fmt: skip
    table = _ecology_experts(usage, tiers, None if language else accuracy)
    return content, _ecology_curve(content, train, generator), _experts(table)


def _census(dead: int, usage: np.ndarray, tiers: tuple[int, ...], language: bool) -> dict[str, float]:
    """Metrics of the last census; `usage` of each expert."""
    experts, tier_of = sum(tiers), np.repeat(np.arange(len(tiers)), tiers)
    census = {
        "dead_experts": float(dead), "dead_experts_peak": float(dead + 2), "dead_experts_tenth_percent": 0.0,
        "dead_experts_fair_share": float(dead), "silent_experts": 0.0, "active_experts": float(experts - dead),
        "usage_entropy": float(-(usage * np.log(usage)).sum() / np.log(experts)),
    }  # fmt: skip
    census |= {f"tier_share_{t}": float(usage[tier_of == t].sum()) for t in range(len(tiers))}
    if not language:
        alive = [0, 0, experts - dead, 0, 0, dead]
        census |= {f"taxonomy_{name}": float(n) for name, n in zip(TAXONOMY, alive, strict=True)}
    return census


def _ecology_curve(content: dict, train: np.ndarray, generator: np.random.Generator) -> pl.DataFrame:
    """A census an epoch; four more experts are dead in the first than in the last."""
    metrics, settings, steps = content["metrics"], content["settings"], len(STEPS)
    accuracy = metrics.get("test_accuracy")
    columns = {
        "step": STEPS,
        "tokens": [step * 128 for step in STEPS],
        "epoch": [float(epoch) for epoch in range(steps)],
        "train_loss": train,
        "val_loss": [metrics.get("val_loss")] * steps,
        "learning_rate": [1e-3] * steps,
        **{f"loss_{name}": generator.uniform(0.1, 2.0, steps) for name in LOSSES},
        **{f"weighted_loss_{name}": generator.uniform(0.0, 0.3, steps) for name in LOSSES},
        "temperature": [settings["temperature"]] * steps,
        "control_number": [settings["control_number"]] * steps,
        "test_accuracy": [None if accuracy is None else accuracy * (epoch + 1) / steps for epoch in range(steps)],
        "dead_experts": [metrics["dead_experts"] + 4 - epoch for epoch in range(steps)],
        "active_experts": [metrics["active_experts"] - 4 + epoch for epoch in range(steps)],
        "usage_entropy": [metrics["usage_entropy"]] * steps,
    }
    return _curve(columns)


def _ecology_experts(usage: np.ndarray, tiers: tuple[int, ...], accuracy: float | None) -> list[dict]:
    """Rows of experts.parquet: one layer of images, two alike of text, which has no `accuracy`."""
    tier_of = np.repeat(np.arange(len(tiers)), tiers)
    return [
        _expert_row(
            step=STEPS[s], epoch=float(s), layer=layer, expert=e, tier=int(tier_of[e]), usage=usage[s, e],
            accuracy=accuracy,
            taxonomy=None if accuracy is None else ("dead" if usage[s, e] < 0.01 else "broad_core"),
        )
        for s in range(len(STEPS))
        for layer in range(2 if accuracy is None else 1)
        for e in range(sum(tiers))
    ]  # fmt: skip


def _counts(tokens: int) -> dict:
    counts = {"parameters_total": 900_000, "parameters_active": 300_000, "steps": STEPS[-1], "epochs": None}
    return counts | {"tokens": tokens}


def _expert_row(**known: object) -> dict:
    return dict.fromkeys(EXPERT_SCHEMA) | known


def _curve(columns: dict) -> pl.DataFrame:
    whole = {"step": pl.Int64, "tokens": pl.Int64}
    return pl.DataFrame(
        {name: [None if v is None else float(v) for v in values] for name, values in columns.items()},
        schema=dict.fromkeys(columns, pl.Float64),
    ).cast(whole)


def _experts(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EXPERT_SCHEMA)
