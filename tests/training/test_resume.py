"""A killed run continues and ends with the same record, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.data.images import write_image_set
from moe_replication.data.shard_writer import write_manifest, write_split
from moe_replication.data.tokenizer import load_tokenizer, train_tokenizer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RECORD = ("run.json", "curve.parquet", "experts.parquet", "config.json")
LANGUAGE = "results/smoke/runs/expert-threshold/et/seed-0"
VISION = "results/smoke/runs/expert-ecology/v5-both/seed-0"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose smoke runs are long enough to be killed, on small data made here."""
    root = tmp_path_factory.mktemp("resume")
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "requirements.lock", root)
    path = root / "config/scales/smoke.yaml"
    scale = yaml.safe_load(path.read_text(encoding="utf-8"))
    language = scale["papers"]["expert-threshold"]["set"]["training"]
    language |= {"tokens": 81920, "evaluate_every": 20, "checkpoint_every": 7}
    vision = scale["papers"]["expert-ecology"]["task_set"]["vision"]["training"]
    vision |= {"epochs": 30, "batch_size": 64, "micro_batch_size": 64}
    path.write_text(yaml.safe_dump(scale), encoding="utf-8")
    runs = {run.condition: run for run in load_project(root, {"scale": "smoke"}).runs}
    _write_tokens(root / data_path("data", runs["et"].config))
    _write_images(root / data_path("data", runs["v5-both"].config))
    return root


def _write_tokens(folder: Path) -> None:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcdefgh"), 5)) for _ in range(500)]
    texts = [" ".join(generator.choice(words, 400)) for _ in range(120)]
    frame = pl.DataFrame(
        {"doc_id": [f"{i:04d}" for i in range(120)], "text": texts, "domain": "prose", "package": "made"}
    )
    trained = train_tokenizer(folder / "tokenizer.json", [frame], vocab_size=512, sample_megabytes=0.2)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    parts = {"train": frame.head(100), "validation": frame.tail(20)}
    splits = {
        name: write_split(folder, name, [part], tokenizer, max_tokens=None, shard_tokens=10**6)
        for name, part in parts.items()
    }
    write_manifest(folder, splits, vocab_size=512, tokenizer=trained)


def _write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    splits = [
        (generator.integers(0, 255, (count, 8, 16, 1), dtype=np.uint8), generator.integers(0, 10, count))
        for count in (320, 64)
    ]
    write_image_set(folder, "digits-100", *splits, classes=100, source="random, for tests")


def command(*runs: str) -> list[str]:
    return [sys.executable, "-m", "moe_replication.cli", "train", *runs]


def finish(root: Path, *runs: str) -> None:
    result = subprocess.run(command(*runs), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]


def start_and_signal(root: Path, run: str, signum: int) -> int:
    """Start a run, send `signum` when its first checkpoint is whole; returns the exit code."""
    process = subprocess.Popen(command(run), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(root.glob("results/smoke/checkpoints/*/step-*")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.01)
    os.kill(process.pid, signum)
    return process.wait()


def undisturbed_files(root: Path, run: str) -> dict[str, bytes]:
    """What a run that nothing disturbs writes; its results are gone afterwards."""
    finish(root, run)
    found = files(root, run)
    shutil.rmtree(root / "results")
    return found


def files(root: Path, run: str) -> dict[str, bytes]:
    return {name: (root / run / name).read_bytes() for name in RECORD}


@pytest.mark.parametrize("run", [LANGUAGE, VISION])
def test_killed_run_ends_with_the_same_record(project, run):
    undisturbed = undisturbed_files(project, run)
    assert start_and_signal(project, run, signal.SIGKILL) == -signal.SIGKILL
    assert not (project / run / "run.json").exists()
    finish(project, run)
    assert "resumes after step" in (project / run / "log.txt").read_text(encoding="utf-8")
    assert json.loads((project / run / "cost.json").read_text(encoding="utf-8"))["restarts"] == 1
    assert files(project, run) == undisturbed
    shutil.rmtree(project / "results")


def test_sigterm_writes_a_checkpoint_and_asks_to_be_queued_again(project):
    undisturbed = undisturbed_files(project, LANGUAGE)
    assert start_and_signal(project, LANGUAGE, signal.SIGTERM) == 75
    assert "checkpoint written" in (project / LANGUAGE / "log.txt").read_text(encoding="utf-8")
    finish(project, LANGUAGE)
    assert files(project, LANGUAGE) == undisturbed
    shutil.rmtree(project / "results")


def test_damaged_checkpoint_falls_back_to_the_one_before(project):
    undisturbed = undisturbed_files(project, LANGUAGE)
    start_and_signal(project, LANGUAGE, signal.SIGTERM)
    newest = max(project.glob("results/smoke/checkpoints/*/step-*"))
    state = next(newest.glob("*optim_states.pt"))
    state.write_bytes(state.read_bytes()[:-100])
    result = subprocess.run(command(LANGUAGE), cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "does not match its hash; falling back" in result.stderr
    assert files(project, LANGUAGE) == undisturbed
    shutil.rmtree(project / "results")


def test_seeds_trained_together_and_alone_give_the_same_records(project):
    second = LANGUAGE.replace("seed-0", "seed-1")
    finish(project, LANGUAGE, second)
    together = files(project, second)
    assert together["run.json"] != files(project, LANGUAGE)["run.json"]
    shutil.rmtree(project / "results")
    finish(project, second)
    assert files(project, second) == together
    shutil.rmtree(project / "results")
