"""A SLURM job that stopped by a signal asks to be queued again; Snakemake goes on waiting for the same job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable

# Exit code of a run that a signal stopped after it wrote its checkpoint (training/loop.py, sysexits' EX_TEMPFAIL).
STOPPED = 75
JOB = "SLURM_JOB_ID"


def requeue(at_most: int, say: Callable[[str], None]) -> bool:
    """Queue this job again, unless somebody cancels it or SLURM preempts it, which queues it without us."""
    job = os.environ[JOB]
    if shutil.which("scontrol") is None:
        say(f"stopped; no scontrol here, SLURM job {job} is not queued again")
        return False
    shown = _scontrol("show", "job", "-o", job)
    state, restarts = _field(shown, "JobState"), _field(shown, "Restarts")
    if state != "RUNNING":
        say(f"stopped; SLURM job {job} is {state or 'unknown'} and not queued again from here")
        return False
    if int(restarts or 0) >= at_most:
        say(f"stopped; SLURM job {job} started {restarts} times over, requeue.at_most = {at_most}: not queued again")
        return False
    _scontrol("requeue", job)
    say(f"stopped after a checkpoint; SLURM job {job} is queued again")
    return True


def _scontrol(*arguments: str) -> str:
    return subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=True).stdout


def _field(shown: str, name: str) -> str | None:
    found = re.search(rf"\b{name}=(\S+)", shown)
    return found and found[1]
