"""Load: made-up records by the thousand, processes that write them at once, and DAGs of many runs; tests assert counts,
benchmarks/load.py times."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from moe_replication.config import Project, load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.files import write_json
from moe_replication.statistics.collect import collect
from moe_replication.statistics.compare import write_comparisons

ROOT = Path(__file__).parents[1]
# Conditions of the made-up records (tests/made_runs.py) that the smoke scale knows too: 20 of them by 50 seeds.
CONDITIONS = (
    "dense", "tc", "tc-aux", "tc-loss-free", "ec-sequence", "ec-batch", "et",
    "v1", "v2-ortho-0.20", "v3-e0.30", "v3-e0.545", "v4-ortho-0.20", "v5-random-warmup", "v5-annealing", "v5-both",
    "v6", "v6-no-balance", "v7-e1.0", "v8-32-experts", "l1",
)  # fmt: skip
WRITERS, RUNS_A_WRITER = 16, 10
PLAN = ("--workflow-profile", "workflow/profiles/default", "--cores", "2", "--dry-run", "--quiet", "rules")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planned:
    """A dry run: jobs, Python functions called (of which a busy machine makes no more), processor seconds."""

    runs: int
    jobs: int
    calls: int
    seconds: float


def made_project(root: Path, runs: int, write_run: Callable[..., Path]) -> Project:
    """A project below `root` with so many made-up records, a multiple of the conditions."""
    seeds, rest = divmod(runs, len(CONDITIONS))
    assert rest == 0
    chosen = {"scale": "smoke", "conditions": list(CONDITIONS), "seeds": list(range(seeds))}
    project = dataclasses.replace(load_project(ROOT, chosen), root=root)
    for run in project.runs:
        write_run(root, run.paper, run.condition, run.seed)
    return project


def tabulate(project: Project) -> None:
    """The tables that a mirror reads, and a scorecard without claims."""
    results = project.root / "results/smoke"
    collect([project.root / run.folder for run in project.runs], results)
    rows = ((paper.name, row) for paper in project.papers.values() for row in paper.conditions.values())
    baselines = {(paper, row.name): row.baseline for paper, row in rows}
    write_comparisons(results, baselines, analysis_settings(ROOT), {})
    write_json(results / "scorecard.json", {"claims": []})


def write_at_once(root: Path) -> float:
    """Sixteen processes write ten runs each, begun when all of them are ready; seconds from there to the last one."""
    script = Path(__file__).parent / "load/writer.py"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "POLARS_MAX_THREADS": "1"}
    numbers = [(writer * RUNS_A_WRITER, RUNS_A_WRITER) for writer in range(WRITERS)]
    options = {"env": environment, "text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, str(script), str(root)]
    processes = [subprocess.Popen([*command, *map(str, number)], **options) for number in numbers]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * WRITERS
    begun = time.perf_counter()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait() for process in processes] == [0] * WRITERS
    return time.perf_counter() - begun


def written(root: Path) -> pl.DataFrame:
    """Table of every run below `root`."""
    folders = sorted(path.parent for path in (root / "results/smoke/runs").glob("*/*/*/run.json"))
    collect(folders, root / "results/smoke")
    return pl.read_parquet(root / "results/smoke/runs.parquet")


def run_arguments(runs: int) -> tuple[str, ...]:
    """Settings of so many runs of one condition of each paper, at the papers' own scale, where each is a job."""
    return "scale=paper", "conditions=[dense,v1]", f"seeds={list(range(runs // 2))}".replace(" ", "")


def dry_run(root: Path, runs: int) -> Planned:
    """Plan so many runs in a process that counts its calls."""
    script = "import load.counted; load.counted.main()"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{root / 'src'}"}
    command = [sys.executable, "-c", script, *PLAN, "--config", *run_arguments(runs)]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    jobs = re.search(r"^total +(\d+)$", result.stdout, re.MULTILINE)
    calls = re.search(r"^calls (\d+) seconds ([\d.]+)$", result.stdout, re.MULTILINE)
    return Planned(runs=runs, jobs=int(jobs[1]), calls=int(calls[1]), seconds=float(calls[2]))
