"""What a replication costs beside its training: overhead a run, imports of a training process, the smoke DAG by rule.

Everything happens in scratch copies of the project. The overhead of a run is the wall time of Snakemake less that of
the training processes, which run one after the other, over the number of runs; a process's own start-up is its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.scratch_project import make_scratch

from benchmarks import results

CONDITIONS = ("dense", "tc", "tc-aux", "ec-batch", "et")
MODULES = ("torch", "deepspeed", "moe_replication.config", "moe_replication.cli", "moe_replication.training.run")
# Stands before the command on the path and notes how long it took.
WATCH = """#!/bin/sh
start=$(date +%s.%N)
{command} "$@"
code=$?
echo "$1 $start $(date +%s.%N)" >> {log}
exit $code
"""
STARTED = re.compile(r"^\[(.+)\]\nJob (\d+): ", re.MULTILINE)
FINISHED = re.compile(r"^\[(.+)\]\nFinished jobid: (\d+) \(Rule: (\w+)\)", re.MULTILINE)


def run(quick: bool) -> list[dict]:
    """Rows of the imports and the overhead; in full also of every rule of smoke."""
    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        rows = [*_imports(rounds), *_overhead(_Project(Path(folder, "runs"), "run"), rounds)]
        return rows if quick else rows + _smoke(_Project(Path(folder, "smoke"), "paper"))


class _Project:
    """A scratch copy of the project whose commands note their seconds."""

    def __init__(self, root: Path, job: str) -> None:
        self.root, self.times = root, root / "times.txt"
        root.mkdir(parents=True)
        make_scratch(root, job=job)
        watch, command = root / "bin/moe-replication", Path(sys.executable).with_name("moe-replication")
        watch.parent.mkdir()
        watch.write_text(WATCH.format(command=command, log=self.times), encoding="utf-8")
        watch.chmod(0o755)

    def snakemake(self, *arguments: str) -> tuple[float, str]:
        """Wall seconds and what Snakemake said."""
        path = os.pathsep.join((str(self.root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1"}
        command = ("snakemake", "--workflow-profile", "workflow/profiles/default", *arguments)
        self.times.unlink(missing_ok=True)
        started = time.perf_counter()
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-2000:]}")
        return seconds, done.stdout + done.stderr

    def seconds_in(self, command: str) -> float:
        """Wall seconds in processes of a command since the last call of Snakemake."""
        rows = (line.split() for line in self.times.read_text(encoding="utf-8").splitlines())
        return sum(float(end) - float(start) for name, start, end in rows if name == command)


def _imports(rounds: int) -> list[dict]:
    """Seconds of what a training process imports before its first step, each with all that it pulls in."""
    command = (sys.executable, "-X", "importtime", "-c", "import moe_replication.cli, moe_replication.training.run")
    found: dict[str, list[float]] = {name: [] for name in MODULES}
    for _ in range(rounds):
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        for name, seconds in found.items():
            line = next(line for line in text.splitlines() if line.rpartition("|")[2].strip() == name)
            seconds.append(int(line.split("|")[1]) / 1e6)
    rows = [results.row("workflow", "imports of a training process", name, seconds) for name, seconds in found.items()]
    return sorted(rows, key=lambda row: -row["seconds"])


def _overhead(project: _Project, rounds: int) -> list[dict]:
    """Short runs, a job each, trained anew in every round on data that are there."""
    runs = len(CONDITIONS)
    config = ("--config", "scale=smoke", f"conditions=[{','.join(CONDITIONS)}]", "tracking={enabled: false}")
    project.snakemake("trained", "--cores", "1", "--until", "tokens", *config)
    whole, beside = [], []
    for _ in range(rounds):
        shutil.rmtree(project.root / "results", ignore_errors=True)
        seconds, _ = project.snakemake("trained", "--cores", "1", *config)
        whole.append(seconds / runs)
        beside.append((seconds - project.seconds_in("train")) / runs)
    named = (("a run in all", whole), ("beside its training process", beside))
    return [results.row("workflow", f"{runs} runs of smoke, a job each", name, seconds) for name, seconds in named]


def _smoke(project: _Project) -> list[dict]:
    """The whole DAG on two cores, once; then the time of every rule from Snakemake's log, longest first."""
    seconds, said = project.snakemake("--cores", "2", "--config", "scale=smoke")
    started = {job: _moment(stamp) for stamp, job in STARTED.findall(said)}
    rules: dict[str, float] = {}
    for stamp, job, rule in FINISHED.findall(said):
        if job in started:
            rules[rule] = rules.get(rule, 0.0) + (_moment(stamp) - started[job]).total_seconds()
    rows = [results.row("workflow", "smoke by rule", rule, [spent]) for rule, spent in rules.items()]
    rows.sort(key=lambda row: -row["seconds"])
    return [results.row("workflow", "smoke on two cores", "whole DAG", [seconds]), *rows]


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, "%a %b %d %H:%M:%S %Y")
