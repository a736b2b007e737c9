"""The DAG through a real SLURM controller: a preempted run goes on, and the tables are those of one machine."""

from __future__ import annotations

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.files import read_json
from moe_replication.scheduling.requests import JobRequests
from scratch_project import Scratch, make_scratch

pytestmark = [pytest.mark.slow, pytest.mark.long]
CONFIG = ("scale=smoke", "papers=[expert-threshold]", "conditions=[tc]", "seeds=[0]", "tracking={enabled: false}")
TABLES = ("runs", "curves", "experts")
RUN = Path("results/smoke/runs/expert-threshold/tc/seed-0")
RULE = "train_expert_threshold_tc_seed_0"
# What differs between two trainings of one run.
CLOCK = ("wall_seconds", "tokens_per_second", "restarts", "starts", "stopped", "diverged", "killed")
SUBMIT = (
    "snakemake", "results/smoke/runs.parquet", "--workflow-profile", "workflow/profiles/slurm", "--jobs", "2",
    "--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1", "--latency-wait", "5",
)  # fmt: skip


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project whose run asks for a GPU and is long enough to be stopped, finished on this machine alone."""
    scratch = make_scratch(tmp_path_factory.mktemp("reference"))
    for old, new in (
        ("gpus_per_process: 0", "gpus_per_process: 1"),
        ("tokens: 10240", "tokens: 204800"),
        ("evaluate_every: 5", "evaluate_every: 50"),
        ("checkpoint_every: 5", "checkpoint_every: 1000"),
    ):
        scratch.edit("config/scales/smoke.yaml", old, new)
    scratch.snakemake("results/smoke/runs.parquet", config=CONFIG)
    return scratch


def wait_for(found, seconds: int = 300):
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return value


def running_job(slurm) -> str | None:
    """The SLURM job that trains."""
    rows = (line.split() for line in slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines())
    return next((job for job, comment in rows if comment == f"rule_{RULE}"), None)


def is_training(project: Scratch) -> bool:
    """Whether the run is past its tenth step."""
    log = project.root / RUN / "log.txt"
    return log.is_file() and re.search(r"^step +\d\d", log.read_text(encoding="utf-8"), re.MULTILINE) is not None


def table(project: Scratch, name: str) -> pl.DataFrame:
    """A table of the results without what the clock says."""
    found = pl.read_parquet(project.root / f"results/smoke/{name}.parquet")
    return found.drop([column for column in CLOCK if column in found.columns])


def test_dag_on_slurm_survives_preemption_and_ends_with_the_same_tables(slurm, reference, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(reference.root, root, ignore=shutil.ignore_patterns("results", "logs", ".snakemake"))
    project = Scratch(root)
    with ThreadPoolExecutor() as pool:
        workflow = pool.submit(project.run, *SUBMIT, "--config", *CONFIG)
        job = wait_for(lambda: workflow.done() or running_job(slurm))
        assert not workflow.done(), workflow.result()
        shown = slurm("scontrol", "show", "job", "-o", job)
        wait_for(lambda: is_training(project))
        slurm("sbatch", "--partition=urgent", "--ntasks=2", "--mem=100", "--output=/dev/null", "--wrap=sleep 1")
        workflow.result()
    planned = load_project(root, {"scale": "smoke"})
    request = JobRequests(planned, needed=lambda: True).of([planned.run("expert-threshold", "tc", 0)])
    assert "gres:gpu:1" in shown
    assert f"MinMemoryNode={request.mem_mb}M" in shown
    assert "Restarts=1" in slurm("scontrol", "show", "job", "-o", job)
    cost = read_json(root / RUN / "cost.json")
    assert (cost["starts"], cost["stopped"], cost["killed"]) == (2, 1, 0)
    for file in ("run.json", "curve.parquet", "experts.parquet"):
        assert (root / RUN / file).read_bytes() == (reference.root / RUN / file).read_bytes(), file
    for name in TABLES:
        assert table(project, name).equals(table(reference, name)), name
