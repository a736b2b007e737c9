"""The plan's memory against what a training process takes at most, as the kernel counts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer
from moe_replication.planning.plan import make_plan

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
STEPS, LENGTH, VOCABULARY = 2, 256, 8192


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
    section |= {"conditions": list(SIZES), "conditions_set": {}}
    for condition, sizes in SIZES.items():
        own = {"tokens": STEPS * LENGTH * sizes["training"]["batch_size"]}
        section["conditions_set"][condition] = sizes | {"training": sizes["training"] | own}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    (run,) = load_project(root, {"scale": "smoke", "conditions": ["et"]}).runs
    _write_tokens(root / data_path("data", run.config))
    return root


def _write_tokens(folder: Path) -> None:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefgh"), 5)) for _ in range(300)]
    texts = [" ".join(generator.choice(words, 400)) for _ in range(60)]
    frame = pl.DataFrame(
        {"doc_id": [f"{i:04d}" for i in range(60)], "text": texts, "domain": "prose", "package": "made"}
    )
    trained = train_tokenizer(folder / "tokenizer.json", [frame], vocab_size=512, sample_megabytes=0.1)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    parts = {"train": frame.head(56), "validation": frame.tail(4)}
    splits = {
        name: write_split(folder, name, [part], tokenizer, max_tokens=None, shard_tokens=10**6)
        for name, part in parts.items()
    }
    write_manifest(folder, splits, vocab_size=512, tokenizer=trained)


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
