"""Two processes train what one trains, however they share the work, and go on after a signal."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from training_on_ranks import (
    check_same_states,
    copy_for_ranks,
    largest_difference,
    run_folder,
    train,
    train_and_tell,
    train_command,
)

pytestmark = pytest.mark.slow
# Sums over two halves differ from sums over the whole in the last digits, and training spreads that.
TOLERANCE = 1e-5
CONDITIONS = ("dense", "tc", "tc-aux", "tc-aux-global", "tc-loss-free", "ec-sequence", "ec-batch", "et", "et-concat")
COLUMNS = ("train_loss", "val_loss", "usage_mean", "saturation")


@pytest.fixture(scope="module")
def one(project, tmp_path_factory) -> dict[str, pl.DataFrame]:
    """Curves of one process."""
    return train(copy_for_ranks(project, tmp_path_factory.mktemp("ranks") / "one", 1, CONDITIONS), *CONDITIONS)


def _compare(one: dict[str, pl.DataFrame], two: dict[str, pl.DataFrame]) -> None:
    for condition, curve in two.items():
        # Pools of a sequence have cut-offs of their own, and a process logs its first pool's.
        columns = COLUMNS if condition == "ec-sequence" else (*COLUMNS, "cutoff_mean")
        found = largest_difference(one[condition], curve, columns)
        assert max(found.values()) <= TOLERANCE, (condition, found)


def test_two_ranks_train_like_one(project, tmp_path, one):
    root = copy_for_ranks(project, tmp_path / "two", 2, CONDITIONS)
    _compare(one, train_and_tell(root, 2, *CONDITIONS))
    for condition in ("tc-aux", "tc-aux-global", "tc-loss-free", "ec-batch", "et", "et-concat"):
        check_same_states(root, condition, 2)


def test_ranks_of_torchrun_train_like_one(project, tmp_path, one):
    """Its own rendezvous and variables, instead of the launcher's."""
    root = copy_for_ranks(project, tmp_path / "two", 2, ("tc-aux",))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    _, *command = train_command("tc-aux")
    result = subprocess.run([*torchrun, *command], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    _compare(one, {"tc-aux": pl.read_parquet(root / run_folder("tc-aux") / "curve.parquet")})


def test_stage_2_offload_and_activation_checkpointing_change_nothing(project, tmp_path, one):
    """Two ranks, two passes a step, every means of saving memory at once."""
    chosen = ("dense", "tc-aux-global", "et")
    engine = {"zero_stage": 2, "offload": "optimizer"}
    root = copy_for_ranks(project, tmp_path / "two", 2, chosen, engine, activation_checkpointing=True)
    _compare(one, train(root, *chosen))


def test_a_stopped_job_of_two_ranks_says_75_and_ends_with_the_same_curve(project, tmp_path):
    root = copy_for_ranks(project, tmp_path / "two", 2, ("et",), checkpoint_every=3)
    undisturbed = train(root, "et")["et"]
    record = (root / run_folder("et") / "run.json").read_bytes()
    shutil.rmtree(root / "results")
    process = subprocess.Popen(train_command("et"), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for_checkpoint(root, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    assert not (root / run_folder("et") / "run.json").exists()
    assert train(root, "et")["et"].equals(undisturbed)
    assert (root / run_folder("et") / "run.json").read_bytes() == record
    assert "resumes after step" in (root / run_folder("et") / "log.txt").read_text(encoding="utf-8")


def _wait_for_checkpoint(root: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not list(root.glob("results/smoke/checkpoints/*/step-*")):
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.01)
