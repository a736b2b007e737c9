"""A job that a signal stopped queues itself again, and only that one."""

from __future__ import annotations

import signal
import sys

import pytest

from moe_replication.scheduling.requeue import STOPPED

RUNNING = "JobId=7 JobState=RUNNING Reason=None Requeue=1 Restarts=3 BatchFlag=1"


def in_slurm(machine, shown: str, code: int) -> tuple[int, str, str]:
    """Exit code, words and scontrol's calls of a job whose command ends with `code`."""
    calls = machine.root / "calls"
    machine.put("scontrol", f"echo $* >> {calls}; [ $1 = show ] && echo '{shown}'; true")
    job = machine.start("sh", "-c", f"exit {code}", gpus=0, SLURM_JOB_ID="7")
    said = job.communicate(timeout=20)[1]
    return job.returncode, said, calls.read_text(encoding="utf-8") if calls.exists() else ""


def test_a_stopped_job_is_queued_again(machine):
    code, said, calls = in_slurm(machine, RUNNING, STOPPED)
    assert (code, calls) == (STOPPED, "show job -o 7\nrequeue 7\n")
    assert "SLURM job 7 is queued again" in said


@pytest.mark.parametrize("code", [0, 1, 2])
def test_jobs_that_finished_or_failed_are_not(machine, code):
    assert in_slurm(machine, RUNNING, code) == (code, "", "")


@pytest.mark.parametrize("state", ["CANCELLED", "COMPLETING", "PREEMPTED"])
def test_cancelled_and_preempted_jobs_are_left_to_slurm(machine, state):
    code, said, calls = in_slurm(machine, RUNNING.replace("RUNNING", state), STOPPED)
    assert (code, calls) == (STOPPED, "show job -o 7\n")
    assert state in said


def test_a_job_that_never_gets_anywhere_ends(machine):
    _, said, calls = in_slurm(machine, RUNNING.replace("Restarts=3", "Restarts=100"), STOPPED)
    assert "requeue" not in calls
    assert "requeue.at_most = 100" in said


def test_signals_reach_the_command_from_slurm_alone(machine):
    """The wrapper outlives a signal, since the command needs time for its checkpoint."""
    job = machine.start("sh", "-c", "echo ready; cat; exit 3", gpus=0, SLURM_JOB_ID="7")
    job.stdout.readline()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        job.send_signal(signum)
    job.stdin.close()
    assert job.wait(timeout=20) == 3


def test_outside_slurm_the_command_takes_the_place_of_the_wrapper(machine):
    job = machine.start(sys.executable, "-c", "import os; print(os.getpid())", gpus=0)
    assert job.communicate(timeout=20)[0].strip() == str(job.pid)


def test_training_exits_with_the_code_that_is_queued_again():
    loop = pytest.importorskip("moe_replication.training.loop")
    assert loop.REQUEUE == STOPPED
