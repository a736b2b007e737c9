"""Times under load: `python -m benchmarks.load` prints what planning, writing, collecting and mirroring many runs take.

Rows that name a processor time say what the work costs; on a busy machine the clock says more of its other users.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.made_runs import write_run
from tests.many_runs import PLAN, ROOT, RUNS_A_WRITER, WRITERS, made_project, run_arguments, tabulate, write_at_once

from moe_replication.tracking.mirror import mirror

RECORDS, GROWTH = 1000, (10, 100, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="planning alone, up to a hundred runs")
    quick = parser.parse_args().quick
    print(f"load average before: {', '.join(f'{load:.1f}' for load in os.getloadavg())}; {os.cpu_count()} cores")
    plan("paper scale, all of it", ("scale=paper",))
    for runs in GROWTH[: 2 if quick else None]:
        plan(f"paper scale, {runs} runs", run_arguments(runs))
    if not quick:
        with tempfile.TemporaryDirectory() as folder:
            records(Path(folder))


def plan(name: str, config: tuple[str, ...]) -> None:
    """A dry run in a process of its own, with its processor time."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("Snakefile", "workflow", "config", "docs", "requirements.lock"):
            Path(folder, part).symlink_to(ROOT / part)
        before, begun = os.times(), time.perf_counter()
        command = [sys.executable, "-m", "snakemake", *PLAN, "--config", *config]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - begun, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    jobs = re.search(r"^total +(\d+)$", result.stdout, re.MULTILINE)[1]
    print(f"dry run, {name}: {jobs} jobs, {seconds:.1f} s, processor {used:.1f} s", flush=True)


def records(root: Path) -> None:
    """Writing at once, then a thousand records through tables and mirror, twice."""
    seconds = write_at_once(root / "at-once")
    print(f"{WRITERS} processes write {WRITERS * RUNS_A_WRITER} runs: {seconds:.1f} s", flush=True)
    project = timed(f"{RECORDS} records written", lambda: made_project(root / "many", RECORDS, write_run))
    timed("collected and compared", lambda: tabulate(project))
    uri = f"sqlite:///{root}/many/results/smoke/mlflow.db"
    timed("mirrored", lambda: mirror(project, uri))
    timed("mirrored again", lambda: mirror(project, uri))
    shutil.rmtree(root / "many")


def timed(name: str, work: Callable[[], object]) -> object:
    """What `work` gives, its seconds printed."""
    begun, used = time.perf_counter(), time.process_time()
    found = work()
    print(f"{name}: {time.perf_counter() - begun:.1f} s, processor {time.process_time() - used:.1f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
