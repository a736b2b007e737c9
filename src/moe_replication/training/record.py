"""The files of a run directory: what ran, on what, and what came out."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import polars as pl
import torch

from moe_replication.config.analysis import ANALYSIS_FILE, analysis_digest, analysis_settings
from moe_replication.config.claims import claim_digest
from moe_replication.config.fingerprint import lock_version, training_code_version
from moe_replication.config.matrix import Condition
from moe_replication.config.project import Project, Run
from moe_replication.config.run import RunConfig
from moe_replication.config.sections import CUTOFF_RULES
from moe_replication.distributed import world_size
from moe_replication.ecology.control_number import control_number
from moe_replication.files import atomic_path
from moe_replication.training.engine import Engine
from moe_replication.training.schedules import horizon_decay
from moe_replication.training.task import Task

FORMAT = 2
_INTEGERS = ("step", "tokens", "layer", "expert", "tier")
_CURVE_COLUMNS = ("step", "tokens", "epoch", "train_loss", "val_loss", "learning_rate")
_EXPERT_COLUMNS = (
    "step", "epoch", "layer", "expert", "tier", "usage", "cutoff", "cutoff_deviation", "bias", "accuracy", "taxonomy",
)  # fmt: skip


def write_tables(folder: Path, curve: list[dict], experts: list[dict]) -> None:
    """curve.parquet (wide) and experts.parquet (long), bit-identical for equal rows."""
    measured = {name for row in curve for name in row}
    curve_columns = [*_CURVE_COLUMNS, *sorted(measured - set(_CURVE_COLUMNS))]
    for name, rows, columns in (("curve", curve, curve_columns), ("experts", experts, list(_EXPERT_COLUMNS))):
        table = pl.DataFrame({column: [row.get(column) for row in rows] for column in columns}, schema=_schema(columns))
        with atomic_path(folder / f"{name}.parquet") as path:
            table.write_parquet(path, statistics=False)


def run_record(run: Run, condition: Condition, key: str, task: Task, metrics: dict[str, float], root: Path) -> dict:
    """run.json: identity, settings that tables group by, counts and metrics; no clock times."""
    config = run.config
    return {
        "format": FORMAT,
        "run": {
            "scale": run.scale,
            "paper": run.paper,
            "condition": run.condition,
            "seed": run.seed,
            "run_key": key,
        },
        "title": condition.title,
        "rows": list(condition.rows),
        "task": config.task,
        "config_version": condition.version,
        "training_code": training_code_version(),
        "lock_sha256": lock_version(root),
        "data_sha256": task.data_sha256,
        "imported": False,
        "settings": _settings(config) | {"recipe": condition.recipe},
        "derived": _derived(config, task),
        "counts": _counts(task, config),
        "metrics": metrics,
    }


def claim_digests(project: Project, paper: str) -> dict[str, str]:
    """Claim -> digest of its text, of a paper's claims as they stand now, and that of the analysis' definitions."""
    claims = {claim["id"]: claim_digest(claim) for claim in project.claims if claim["paper"] == paper}
    return claims | {ANALYSIS_FILE: analysis_digest(analysis_settings(project.root))}


def environment(root: Path, engine: Engine) -> dict:
    """Versions, hardware and the choices that depend on them."""
    device = engine.device
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "deepspeed": metadata.version("deepspeed"),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(engine.dtype).removeprefix("torch."),
        "dtype_reason": engine.dtype_reason,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "git_commit": _git_commit(root),
        "lock_sha256": lock_version(root),
    }


def _settings(config: RunConfig) -> dict:
    ecology = config.ecology
    weights = ("temperature", "entropy_weight", "oracle_weight", "balance_weight", "ortho_weight")
    settings = {name: getattr(ecology, name) if ecology else None for name in weights}
    factors = [settings[name] for name in weights[:4]]
    dense = config.routing.rule == "dense"
    return settings | {
        "rule": config.routing.rule,
        "top_k": None if dense else config.routing.top_k,
        "pool_tokens": config.pool_tokens if config.routing.rule in CUTOFF_RULES else None,
        "control_number": control_number(*factors) if ecology else None,
        "experts": None if dense else config.moe.experts,
        "dataset": config.data.set,
        "tiers": list(config.moe.tiers) if ecology else None,
        "storage": None if dense else config.moe.storage,
        "expert_optimizer": None if dense else getattr(config.optimizer, "experts", config.optimizer.kind),
    }


def _derived(config: RunConfig, task: Task) -> dict:
    """What the settings amount to at this horizon."""
    routing = config.routing
    return {
        "ema_beta": horizon_decay(routing.ema_beta, routing.ema_reference_steps, task.steps),
        "warmup_steps": round(routing.warmup_fraction * task.steps),
        "steps_per_epoch": task.steps_per_epoch,
        "samples_per_step": task.samples_per_step,
    }


def _counts(task: Task, config: RunConfig) -> dict:
    total = sum(parameter.numel() for parameter in task.model.parameters())
    idle = sum(layer.idle_parameters() for layer in task.moe_layers())
    return {
        "parameters_total": total,
        "parameters_active": total - idle,
        "tokens": task.steps * task.samples_per_step,
        "steps": task.steps,
        "epochs": config.training.epochs,
    }


def _schema(columns: list[str]) -> dict[str, pl.DataType]:
    kinds = dict.fromkeys(_INTEGERS, pl.Int64()) | {"taxonomy": pl.String()}
    return {column: kinds.get(column, pl.Float64()) for column in columns}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git_commit(root: Path) -> str | None:
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return result.stdout.strip() if result.returncode == 0 else None
