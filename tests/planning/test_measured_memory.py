"""The plan's memory against what a training process takes at most, as the kernel counts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from made_tokens import write_made_tokens
from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.planning.plan import make_plan
from training_on_ranks import ranks_command

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TOLERANCE = 0.15
# condition -> settings: 11M, 31M and 49M parameters, each with another ZeRO stage and share of activations.
SIZES = {
    "dense": {
        "model": {"layers": 4, "width": 320, "heads": 5, "kv_heads": 5},
        "training": {"batch_size": 16, "micro_batch_size": 16},
        "engine": {"zero_stage": 0},
    },
    "tc": {
        "model": {"layers": 3, "width": 384, "heads": 6, "kv_heads": 6},
        "training": {"batch_size": 8, "micro_batch_size": 4},
        "engine": {"zero_stage": 2},
    },
    "et": {
        "model": {"layers": 3, "width": 512, "heads": 8, "kv_heads": 8},
        "training": {"batch_size": 8, "micro_batch_size": 8},
        "engine": {"zero_stage": 1},
    },
}
# 49M parameters; two processes share the optimiser state and gather the logits of every layer.
SHARED = "ec-batch"
SIZES_OF_RANKS = {
    SHARED: {
        "model": {"layers": 3, "width": 512, "heads": 8, "kv_heads": 8},
        "training": {"batch_size": 8, "micro_batch_size": 4},
        "engine": {"zero_stage": 1, "world_size": 2},
    }
}
STEPS, LENGTH, VOCABULARY = 2, 256, 8192
# A rank of the command that tells its own largest resident set in kB; unlike wait4's it counts no other process.
RANK = """
import atexit, os, sys
from pathlib import Path
def tell():
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    Path("peak-" + os.environ["RANK"]).write_text(peak)
atexit.register(tell)
from moe_replication.cli import main
main()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose smoke scale has these sizes, with tokens of made-up words."""
    root = tmp_path_factory.mktemp("memory")
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "requirements.lock", root)
    path = root / "config/scales/smoke.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    section = scale["papers"]["expert-threshold"]
    section["set"]["data"] |= {"sequence_length": LENGTH, "vocab_size": VOCABULARY}
    section["set"]["engine"]["precision"] = "float32"
    all_sizes = SIZES | SIZES_OF_RANKS
    section |= {"conditions": list(all_sizes), "conditions_set": {}}
    for condition, sizes in all_sizes.items():
        own = {"tokens": STEPS * LENGTH * sizes["training"]["batch_size"]}
        section["conditions_set"][condition] = sizes | {"training": sizes["training"] | own}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    (run,) = load_project(root, {"scale": "smoke", "conditions": ["et"]}).runs
    write_made_tokens(root / data_path("data", run.config))
    return root


def peak_of_training(root: Path, condition: str) -> int:
    """Largest resident set of `moe-replication train`, in bytes; its own children, which are small, not counted."""
    command = (sys.executable, "-m", "moe_replication.cli", "train")
    folder = f"results/smoke/runs/expert-threshold/{condition}/seed-0"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (root / "log").open("w") as log:
        process = subprocess.Popen([*command, folder], cwd=root, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (root / "log").read_text()[-3000:]
    return usage.ru_maxrss * 1024


@pytest.mark.parametrize("condition", SIZES)
def test_plan_is_within_15_percent_of_the_peak(project, condition):
    (row,) = make_plan(load_project(project, {"scale": "smoke", "conditions": [condition]})).conditions
    measured = peak_of_training(project, condition)
    report = (
        f"{condition}: {row.parameters_total / 1e6:.1f}M parameters, planned {row.memory.total / 1e9:.3f} GB"
        f" ({row.memory.phase}), measured {measured / 1e9:.3f} GB"
    )
    print(report)
    assert row.memory.total == pytest.approx(measured, rel=TOLERANCE), report


def test_plan_of_one_of_two_processes_is_within_15_percent_of_its_peak(project):
    (row,) = make_plan(load_project(project, {"scale": "smoke", "conditions": [SHARED]})).conditions
    folder = f"results/smoke/runs/expert-threshold/{SHARED}/seed-0"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (project / "log").open("w") as log:
        command = ranks_command(2, RANK, "train", folder)
        code = subprocess.run(command, cwd=project, env=environment, stdout=log, stderr=log, check=False).returncode
    assert code == 0, (project / "log").read_text()[-3000:]
    for rank in range(2):
        measured = int((project / f"peak-{rank}").read_text()) * 1024
        report = f"rank {rank}: planned {row.memory.total / 1e9:.3f} GB, measured {measured / 1e9:.3f} GB"
        print(report, f"({row.memory.phase})")
        assert row.memory.total == pytest.approx(measured, rel=TOLERANCE), report
