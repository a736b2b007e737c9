"""Train smoke conditions of paper A in one job of several processes, for tests that hold them against one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import torch
import yaml

BATCH = 16
# With this seed no token lies so near a cut-off, or between two experts, that last digits decide where it goes.
SEED = 2
# A rank of the command that leaves its own routing states beside the records.
_RANK = """
import torch
from moe_replication.cli import main
from moe_replication.distributed import rank
from moe_replication.training.loop import Trainer
fit = Trainer.fit
def fit_and_tell(self):
    fit(self)
    torch.save(self.task.state_dict()["routing"], self.folder / f"routing-{rank()}.pt")
Trainer.fit = fit_and_tell
main()
"""
# What `moe-replication train` does, with another program for the ranks.
_LAUNCHER = """
import sys
from moe_replication.training.launch import Place, run_ranks
ranks = int(sys.argv[1])
sys.exit(run_ranks([sys.executable, "-c", *sys.argv[2:]], Place(first=0, local=ranks, world_size=ranks, meeting={})))
"""


def copy_for_ranks(
    project: Path, root: Path, ranks: int, conditions: tuple[str, ...], engine: dict | None = None, **training: object
) -> Path:
    """A copy of a project whose smoke scale trains these conditions for 20 steps on `ranks` processes.

    In float32: a CPU that multiplies bfloat16 would train in it, and the last digits would hide a fault.
    """
    shutil.copytree(project, root)
    path = root / "config/scales/smoke.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    scale["seeds"] = [SEED]
    paper = scale["papers"]["expert-threshold"]
    paper["conditions"] = list(conditions)
    paper["set"]["training"] |= {"tokens": 20480, "micro_batch_size": BATCH // ranks} | training
    paper["set"]["engine"] |= {"world_size": ranks, "precision": "float32"} | (engine or {})
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    return root


def run_folder(condition: str) -> str:
    """Run directory of a condition."""
    return f"results/smoke/runs/expert-threshold/{condition}/seed-{SEED}"


def train_command(*conditions: str) -> list[str]:
    """The command that trains conditions in turn."""
    return [sys.executable, "-m", "moe_replication.cli", "train", *(run_folder(condition) for condition in conditions)]


def train(root: Path, *conditions: str) -> dict[str, pl.DataFrame]:
    """Curves of conditions, trained by the command; it starts its ranks itself."""
    _run(train_command(*conditions), root)
    return _curves(root, conditions)


def train_and_tell(root: Path, ranks: int, *conditions: str) -> dict[str, pl.DataFrame]:
    """Curves of conditions whose ranks leave their routing states for `states_of_ranks`."""
    folders = [run_folder(condition) for condition in conditions]
    _run(ranks_command(ranks, _RANK, "train", *folders), root)
    return _curves(root, conditions)


def ranks_command(ranks: int, program: str, *arguments: str) -> list[str]:
    """A command that runs a Python program once a rank."""
    return [sys.executable, "-c", _LAUNCHER, str(ranks), program, *arguments]


def states_of_ranks(root: Path, condition: str, ranks: int) -> list[list[dict[str, torch.Tensor]]]:
    """Routing states of every layer, by rank."""
    folder = root / run_folder(condition)
    return [torch.load(folder / f"routing-{rank}.pt", weights_only=True) for rank in range(ranks)]


def check_same_states(root: Path, condition: str, ranks: int) -> None:
    """Thresholds and biases moved, and are the same bits on all ranks."""
    first, *others = states_of_ranks(root, condition, ranks)
    moved = "bias_E" if condition == "tc-loss-free" else "cutoff_E"
    assert condition.startswith("tc-aux") or all(layer[moved].any() for layer in first), condition
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            assert all(torch.equal(mine[name], theirs[name]) for name in mine), condition


def largest_difference(one: pl.DataFrame, many: pl.DataFrame, columns: tuple[str, ...]) -> dict[str, float]:
    """Largest difference of each column that both curves measured, over all rows."""
    shared = [name for name in columns if name in one.columns and name in many.columns]
    return {name: (one[name] - many[name]).abs().max() or 0.0 for name in shared}


def _run(command: list[str], root: Path) -> None:
    result = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]


def _curves(root: Path, conditions: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    return {condition: pl.read_parquet(root / run_folder(condition) / "curve.parquet") for condition in conditions}
