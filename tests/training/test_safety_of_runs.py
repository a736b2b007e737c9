"""Whole runs: deterministic mode is on, warnings reach the record, and ranks end together on a loss that is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moe_replication.config import load_project
from moe_replication.training.engine import deepspeed_config
from training_on_ranks import copy_for_ranks, ranks_command, run_folder

pytestmark = pytest.mark.slow
RUN = run_folder("et")
# Trains a run whose loss a line of Python has its way with; `seen` is what that line wants to tell.
_RUN = """
import json, sys, torch
from moe_replication.config import load_project
from moe_replication.distributed import rank
from moe_replication.errors import TrainingDiverged
from moe_replication.training.run import train_in_turn
from moe_replication.training.language import LanguageTask

whole_loss, seen = LanguageTask.loss, {"rank": 0}

def loss(task, batch, step):
    output = whole_loss(task, batch, step)
    exec(sys.argv[1])
    return output

LanguageTask.loss = loss
project = load_project(overrides={"scale": "smoke"})
[run] = [run for run in project.runs if run.folder.as_posix() == sys.argv[2]]
try:
    train_in_turn(project, [run])
except TrainingDiverged as error:
    seen["said"] = str(error)
seen["rank"] = rank()
print("\\n" + json.dumps(seen), flush=True)
"""


def run(root: Path, command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)


def told(result: subprocess.CompletedProcess) -> list[dict]:
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-3000:]
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"rank"')]


def test_a_run_is_deterministic_and_ends_with_its_warnings(project, tmp_path):
    """One training loss of three times its size is a spike; what DeepSpeed was asked for lies beside the record."""
    root = copy_for_ranks(project, tmp_path / "one", 1, ("et",), tokens=40960)
    code = """
if step == 35:
    output.train_loss = output.train_loss * 3
seen["mode"] = torch.are_deterministic_algorithms_enabled()
seen["filled"] = torch.utils.deterministic.fill_uninitialized_memory
"""
    [seen] = told(run(root, [sys.executable, "-c", _RUN, code, RUN]))
    assert (seen["mode"], seen["filled"]) == (True, False)
    record = json.loads((root / RUN / "run.json").read_text(encoding="utf-8"))
    [warning] = record["warnings"]
    assert " at step 36 is a spike: the median of the 35 steps before is " in warning
    assert f"warning: {warning}" in (root / RUN / "log.txt").read_text(encoding="utf-8")
    environment = json.loads((root / RUN / "environment.json").read_text(encoding="utf-8"))
    assert environment["deterministic"] is True
    [trained] = load_project(root, {"scale": "smoke", "conditions": ["et"], "seeds": [0]}).runs
    asked = json.loads((root / RUN / "deepspeed.json").read_text(encoding="utf-8"))
    assert asked == deepspeed_config(trained.config, torch.float32)


def test_an_operation_without_a_deterministic_form_ends_the_run(project, tmp_path):
    root = copy_for_ranks(project, tmp_path / "one", 1, ("et",))
    code = "output.loss.detach().reshape(1).put_(torch.tensor([0]), torch.zeros(1))"
    result = run(root, [sys.executable, "-c", _RUN, code, RUN])
    assert result.returncode != 0
    assert "put_" in result.stderr
    assert "does not have a deterministic implementation" in result.stderr
    assert not (root / RUN / "run.json").exists()


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("output.loss = output.loss * float('nan')", "loss is nan, first wrong is the loss itself"),
        (
            "w = task.moe_layers()[0].router.weight; output.loss = output.loss + (w - w.detach()).sum().sqrt()",
            "the gradient of blocks.1.moe.router.weight is not finite",
        ),
    ],
)
def test_a_fault_on_one_of_two_ranks_ends_both_with_the_same_words(project, tmp_path, fault, what):
    root = copy_for_ranks(project, tmp_path / "two", 2, ("et",))
    code = f"if step == 9 and rank() == 1:\n    {fault}"
    found = told(run(root, ranks_command(2, _RUN, code, RUN)))
    assert sorted(seen["rank"] for seen in found) == [0, 1]
    [said] = {seen["said"] for seen in found}
    assert f"{what} at step 10, before the weights moved; the last good checkpoint is" in said
    assert "step-00000007. Lower the learning rate" in said
    assert not (root / RUN / "run.json").exists()
