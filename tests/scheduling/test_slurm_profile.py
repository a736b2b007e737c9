"""What the SLURM profile submits, to an sbatch that writes it down and takes no job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.config.needs import data_path
from moe_replication.scheduling.settings import scheduling_settings
from scratch_project import ROOT, make_scratch

pytestmark = pytest.mark.slow


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What sbatch was called with, a line a call; the other commands of SLURM say nothing."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the executor for SLURM is not installed")
    programs, written = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "sacctmgr", "sinfo", "scontrol", "scancel"):
        said = f'echo "$*" >> {written}; echo refused by the test >&2; exit 1' if name == "sbatch" else "exit 0"
        (programs / name).write_text(f"#!/bin/sh\n{said}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return written


def test_tokens_of_a_large_corpus_ask_for_cpus_where_no_cores_are_counted(calls, tmp_path):
    """The documented command, which names no --cores: the rule must not need their number."""
    (run,) = load_project(ROOT, {"scale": "paper", "conditions": ["dense"], "seeds": [0]}).runs
    target = f"{data_path('data', run.config)}/manifest.json"
    assert "fineweb-edu" in target
    project = make_scratch(tmp_path)
    result = project.run(
        "snakemake", target, "--workflow-profile", "workflow/profiles/slurm", "--retries", "0",
        "--config", "scale=paper", "conditions=[dense]", "seeds=[0]", check=False,
    )  # fmt: skip
    assert "requires a total number of cores" not in result.stderr
    assert "refused by the test" in result.stderr
    (call,) = [line for line in calls.read_text(encoding="utf-8").splitlines() if "rule_tokens" in line]
    assert f"--cpus-per-task={scheduling_settings(ROOT).requests.all_cpus}" in call
