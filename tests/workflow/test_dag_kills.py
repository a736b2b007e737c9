"""The whole workflow, killed again and again, ends with the tables of an undisturbed one and trains no run twice.

MOE_DAG_KILLS sets the number of kills; the issue's count is 10.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from scratch_project import SMALL, Scratch, assert_same_results, copied, make_scratch

pytestmark = [pytest.mark.slow, pytest.mark.long]
KILLS = int(os.environ.get("MOE_DAG_KILLS", "3"))
# The machine dies; somebody presses Ctrl-C; a batch system's time is up.
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
JOB = re.compile(r"^(?:(?:local)?rule \w+|Job \d+):.*", re.MULTILINE)


def start_and_kill(project: Scratch, signum: int, moment: Callable[[str], bool]) -> str:
    """Start the workflow and signal all its processes when its output is at the `moment`; the last job begun."""
    profile = ["--workflow-profile", "workflow/profiles/default", "--cores", "2"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project.root / "src"),
        "OMP_NUM_THREADS": "1",
    }
    output = project.root / "workflow.log"
    with open(output, "w", encoding="utf-8") as written:
        process = subprocess.Popen(
            ["snakemake", *profile, "--config", *SMALL], cwd=project.root, env=environment, start_new_session=True,
            stdout=written, stderr=written,
        )  # fmt: skip
    while not moment(output.read_text(encoding="utf-8")):
        assert process.poll() is None, "the workflow ended before its kill"
        time.sleep(0.05)
    os.killpg(process.pid, signum)
    process.wait()  # of SIGINT and SIGTERM Snakemake waits for its jobs
    project.snakemake("--unlock")
    return JOB.findall(output.read_text(encoding="utf-8"))[-1]


def in_training(project: Scratch, lines: int) -> Callable[[str], bool]:
    """When the runs have logged so many lines more than now."""
    before = sum(len(text.splitlines()) for text in logs(project).values())
    return lambda _: sum(len(text.splitlines()) for text in logs(project).values()) >= before + lines


def in_any_job(jobs: int) -> Callable[[str], bool]:
    """When so many jobs have begun."""
    return lambda output: len(JOB.findall(output)) >= jobs


def logs(project: Scratch) -> dict[Path, str]:
    """log.txt of every run, what it has so far."""
    return {path: path.read_text(encoding="utf-8") for path in project.root.glob("results/smoke/runs/*/*/*/log.txt")}


def steps(text: str) -> int:
    return sum(line.startswith("step ") for line in text.splitlines())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """A finished project whose runs are long enough to be killed in the middle again and again."""
    scratch = make_scratch(tmp_path_factory.mktemp("undisturbed"))
    scratch.edit("config/scales/smoke.yaml", "tokens: 10240", "tokens: 81920")
    scratch.edit(
        "config/scales/smoke.yaml", "training: {epochs: 1, batch_size: 256", "training: {epochs: 20, batch_size: 256"
    )
    scratch.snakemake()
    return scratch


def test_killed_workflow_ends_with_the_same_tables_and_trains_no_run_twice(undisturbed, tmp_path):
    project, choice, done = copied(undisturbed.root, tmp_path), Random(0), {}
    # First those in training: once every run is trained there is none left to hit.
    for number in range(KILLS):
        signum, training = SIGNALS[number % len(SIGNALS)], number < -(-KILLS // 2)
        moment = in_training(project, choice.randint(1, 4)) if training else in_any_job(choice.randint(2, 6))
        job = start_and_kill(project, signum, moment)
        print(f"kill {number + 1}: {signum.name} {'in training' if training else 'in a job'}, the last begun {job!r}")
        done |= {path: text for path, text in logs(project).items() if "\ndone:" in text and path not in done}
    project.snakemake()
    for path, text in done.items():
        later = path.read_text(encoding="utf-8")
        assert later.startswith(text), f"{path}: a finished run began anew"
        assert steps(later) == steps(text), f"{path}: a finished run trained again"
    assert project.planned() == {}
    assert_same_results(undisturbed.root, project.root)
