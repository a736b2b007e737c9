"""The whole DAG through a real SLURM controller: one run is preempted, another's time ends, and every result is that of
one machine, bit for bit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.files import read_json
from moe_replication.scheduling.requests import JobRequests
from scratch_project import Scratch, assert_same_results, copied, make_scratch

pytestmark = [pytest.mark.slow, pytest.mark.long]
# Paper A by two rules; paper B on images and on text.
CONFIG = ("scale=smoke", "conditions=[tc,et,v1,l1]", "seeds=[0]", "tracking={enabled: false}")
PREEMPTED, OUT_OF_TIME = "train_expert_threshold_tc_seed_0", "train_expert_ecology_v1_seed_0"
RUNS = {
    PREEMPTED: Path("results/smoke/runs/expert-threshold/tc/seed-0"),
    OUT_OF_TIME: Path("results/smoke/runs/expert-ecology/v1/seed-0"),
}
# One job at a time: a preemption then hits the run that it is meant for.
SUBMIT = (
    "snakemake", "--workflow-profile", "workflow/profiles/slurm", "--jobs", "1",
    "--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1", "--latency-wait", "5",
)  # fmt: skip
# The executor asks for SIGTERM five minutes before the limit (workflow/profiles/slurm).
MINUTES_OF_WARNING = 5
PATIENCE = 3600  # seconds; on an idle machine of two cores a few minutes suffice


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A project whose runs ask for a GPU and are long enough to be stopped, finished on this machine alone."""
    scratch = make_scratch(tmp_path_factory.mktemp("reference"))
    for old, new in (
        ("gpus_per_process: 0", "gpus_per_process: 1"),
        ("tokens: 10240", "tokens: 204800"),
        ("evaluate_every: 5", "evaluate_every: 50"),
        ("checkpoint_every: 5", "checkpoint_every: 1000"),
        # SLURM looks at time limits every 30 seconds: the run must last longer.
        ("training: {epochs: 1, batch_size: 256", "training: {epochs: 300, evaluate_every: 50, batch_size: 256"),
    ):
        scratch.edit("config/scales/smoke.yaml", old, new)
    scratch.snakemake(config=CONFIG)
    return scratch


def running_job(slurm: Callable[..., str], rule: str) -> str | None:
    """The SLURM job of a rule, once it runs."""
    rows = (line.split() for line in slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i %k").splitlines())
    return next((job for job, comment in rows if comment == f"rule_{rule}"), None)


def shown(slurm: Callable[..., str], job: str) -> str:
    """All that SLURM knows of a job, on one line."""
    return slurm("scontrol", "show", "job", "-o", job)


def is_training(project: Scratch, rule: str) -> bool:
    """Whether the run of a rule is past its tenth step."""
    log = project.root / RUNS[rule] / "log.txt"
    return log.is_file() and re.search(r"^step +\d\d", log.read_text(encoding="utf-8"), re.MULTILINE) is not None


def preempt(slurm: Callable[..., str]) -> None:
    """A job of a partition that goes first takes the whole node."""
    slurm("sbatch", "--partition=urgent", "--ntasks=2", "--mem=100", "--output=/dev/null", "--wrap=sleep 1")


def set_minutes(slurm: Callable[..., str], job: str, minutes: int) -> None:
    slurm("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")


def disturb(slurm: Callable[..., str], project: Scratch, finished: Callable[[], bool]) -> dict[str, str]:
    """Preempt one run and let another's time end while the workflow runs; what SLURM first said of their jobs."""
    begun: dict[str, str] = {}
    jobs: dict[str, str] = {}
    lengthened, deadline = False, time.monotonic() + PATIENCE
    while not finished():
        assert time.monotonic() < deadline, "waited too long"
        for rule in RUNS.keys() - jobs.keys():
            if (job := running_job(slurm, rule)) and is_training(project, rule):
                jobs[rule], begun[rule] = job, shown(slurm, job)
                if rule == PREEMPTED:
                    preempt(slurm)
                else:
                    elapsed = int(re.search(r"RunTime=(\d\d):(\d\d)", begun[rule])[2])
                    set_minutes(slurm, job, elapsed + MINUTES_OF_WARNING)
        if OUT_OF_TIME in jobs and not lengthened and "Restarts=1" in shown(slurm, jobs[OUT_OF_TIME]):
            set_minutes(slurm, jobs[OUT_OF_TIME], 60)  # once is the case, not every few minutes
            lengthened = True
        time.sleep(0.2)
    return begun


def report(slurm: Callable[..., str]) -> None:
    """What SLURM did, for docs/cluster.md."""
    known = slurm("scontrol", "show", "job", "-o").splitlines()
    print(f"{len(known)} SLURM jobs")
    for line in known:
        found = {
            key: re.search(rf"\b{key}=(\S+)", line) for key in ("JobId", "JobState", "Restarts", "RunTime", "Comment")
        }
        print("  ".join(f"{key}={value[1]}" for key, value in found.items() if value))


def test_dag_on_slurm_survives_preemption_and_time_limit_with_the_same_results(slurm, reference, tmp_path):
    root = tmp_path / "project"
    project = copied(reference.root, root)
    with ThreadPoolExecutor() as pool:
        workflow = pool.submit(project.run, *SUBMIT, "--config", *CONFIG)
        begun = disturb(slurm, project, workflow.done)
        workflow.result()
    report(slurm)
    assert begun.keys() == RUNS.keys()
    planned = load_project(root, {"scale": "smoke"})
    request = JobRequests(planned, needed=lambda: True).of([planned.run("expert-threshold", "tc", 0)])
    assert "gres:gpu:1" in begun[PREEMPTED]
    assert f"MinMemoryNode={request.mem_mb}M" in begun[PREEMPTED]
    for rule, run in RUNS.items():
        job = re.search(r"JobId=(\d+)", begun[rule])[1]
        assert "Restarts=1" in shown(slurm, job), rule
        cost = read_json(root / run / "cost.json")
        assert (cost["starts"], cost["stopped"], cost["killed"]) == (2, 1, 0), rule
        for file in ("run.json", "curve.parquet", "experts.parquet"):
            assert (root / run / file).read_bytes() == (reference.root / run / file).read_bytes(), f"{rule}: {file}"
    assert_same_results(reference.root, root)
