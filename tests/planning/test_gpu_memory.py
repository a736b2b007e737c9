"""The plan's memory against a GPU: d20 by expert threshold at ZeRO 1 and 2, without and with offloading."""

from __future__ import annotations

import json
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

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="measures a GPU, and torch finds none"),
]
ROOT = Path(__file__).parents[2]
RUN = "results/paper/runs/expert-threshold/d20-et/seed-0"
TOLERANCE = 0.15
LAYOUTS = [(1, "none"), (2, "none"), (1, "optimizer"), (2, "optimizer")]
STEPS, SEQUENCES, LENGTH = 3, 16, 2048  # the paper's micro-batch of d20; one process, so that one GPU suffices


def make_project(root: Path, zero_stage: int, offload: str, **sizes: dict) -> Path:
    """The papers' own scale with d20-et on one process for three steps; `sizes` lays over other sections."""
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "requirements.lock", root)
    path = root / "config/scales/paper.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    training = {
        "batch_size": SEQUENCES, "micro_batch_size": SEQUENCES, "tokens": STEPS * SEQUENCES * LENGTH, "log_every": 1,
        "snapshots": [1.0],
    }  # fmt: skip
    own = {"training": training, "engine": {"zero_stage": zero_stage, "offload": offload, "world_size": 1}}
    scale["papers"]["expert-threshold"]["conditions_set"] = {"d20-et": own | sizes}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    (run,) = load_project(root, {"scale": "paper", "conditions": ["d20-et"], "seeds": [0]}).runs
    write_made_tokens(root / data_path("data", run.config), documents=300)
    return root


def peak_on_gpu(root: Path) -> dict:
    """What tests/planning/gpu_peak.py measures of the run."""
    command = [sys.executable, str(Path(__file__).with_name("gpu_peak.py")), RUN]
    result = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("zero_stage", "offload"), LAYOUTS)
def test_plan_is_within_15_percent_of_the_peak_on_a_gpu(tmp_path, zero_stage, offload):
    root = make_project(tmp_path, zero_stage, offload)
    (row,) = make_plan(load_project(root, {"scale": "paper", "conditions": ["d20-et"], "seeds": [0]})).conditions
    whole = torch.cuda.get_device_properties(0).total_memory
    if row.memory.total > 0.95 * whole:
        pytest.skip(f"planned {row.memory.total / 1e9:.0f} GB, the GPU has {whole / 1e9:.0f} GB")
    found = peak_on_gpu(root)
    report = (
        f"d20-et, ZeRO {zero_stage}, offload {offload}: planned {row.memory.total / 1e9:.1f} GB ({row.memory.phase}),"
        f" measured {found['peak'] / 1e9:.1f} GB, of which context {found['context'] / 1e9:.1f} GB"
    )
    print(report)
    assert row.memory.total == pytest.approx(found["peak"], rel=TOLERANCE), report
