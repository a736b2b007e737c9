"""Concurrent jobs get GPUs of their own, or share one by declared memory; a crash frees what a job held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest


def end(*jobs):
    for job in jobs:
        job.stdin.close()
        assert job.wait(timeout=20) == 0


def test_concurrent_jobs_get_distinct_devices(machine):
    first, of_first = machine.holder(gpus=2)
    second, of_second = machine.holder(gpus=2)
    assert len({*of_first, *of_second}) == 4
    end(first, second)


def test_a_list_that_is_restricted_already_is_honoured(machine):
    job, devices = machine.holder(gpus=2, CUDA_VISIBLE_DEVICES="3,GPU-1")
    assert sorted(devices) == ["GPU-1aaa", "GPU-3aaa"]
    refused = machine.start("true", gpus=3, CUDA_VISIBLE_DEVICES="3,GPU-1")
    _, said = refused.communicate(timeout=20)
    assert refused.returncode == 2
    assert "--gpus 3: only 2 can be used here (CUDA_VISIBLE_DEVICES = 3,GPU-1)" in said
    end(job)


@pytest.mark.parametrize("listed", ["7", "GPU-x", "GPU-", "first"])
def test_an_entry_that_names_no_device_is_refused(machine, listed):
    job = machine.start("true", CUDA_VISIBLE_DEVICES=listed)
    _, said = job.communicate(timeout=20)
    assert job.returncode == 2
    assert f"CUDA_VISIBLE_DEVICES: '{listed}' is none of the 4 GPUs" in said


def test_small_jobs_share_a_device_until_its_memory_is_declared(machine):
    only = {"CUDA_VISIBLE_DEVICES": "2"}
    jobs = [machine.holder(memory=400, **only)[0] for _ in range(2)]
    third = machine.start("true", memory=400, **only)
    assert "waits for 1 GPU(s) with 400 MB free" in third.stderr.readline()
    assert third.poll() is None
    # A job of other devices does not stand in that line.
    elsewhere, devices = machine.holder(memory=400, CUDA_VISIBLE_DEVICES="1")
    assert devices == ["GPU-1aaa"]
    end(jobs[0])
    assert third.wait(timeout=20) == 0
    end(jobs[1], elsewhere)


def test_the_emptiest_device_is_taken_first(machine):
    both = {"CUDA_VISIBLE_DEVICES": "0,1"}
    first, one = machine.holder(memory=100, **both)
    second, other = machine.holder(memory=300, **both)
    third, again = machine.holder(memory=100, **both)
    assert one != other
    assert again == one
    end(first, second, third)


def test_a_job_without_declared_memory_or_with_too_much_has_its_device_alone(machine):
    for memory in (0, 5000):
        alone, _ = machine.holder(memory=memory, CUDA_VISIBLE_DEVICES="0")
        small = machine.start("true", memory=1, CUDA_VISIBLE_DEVICES="0")
        assert "waits" in small.stderr.readline()
        end(alone)
        assert small.wait(timeout=20) == 0


def test_a_large_job_is_not_overtaken_by_small_ones_that_come_later(machine):
    first, _ = machine.holder(memory=100, CUDA_VISIBLE_DEVICES="0")
    large = machine.start("sh", "-c", "cat", memory=1000, CUDA_VISIBLE_DEVICES="0")
    assert "waits" in large.stderr.readline()
    small = machine.start("echo", "ran", memory=100, CUDA_VISIBLE_DEVICES="0")
    end(first)
    # The small one can only run when the large one, which is inside its command now, has ended.
    assert "waits" in small.stderr.readline()
    end(large)
    assert small.communicate(timeout=20)[0] == "ran\n"


def test_a_killed_job_frees_its_devices(machine):
    job, _ = machine.holder(gpus=4)
    job.send_signal(signal.SIGKILL)
    job.wait()
    after, devices = machine.holder(gpus=4)
    assert len(devices) == 4
    assert len(list(machine.root.glob("leases-*/*/*.hold"))) == 4
    end(after)


def test_devices_stay_held_while_a_child_of_a_killed_job_lives(machine):
    """In a SLURM job the command is a child; it goes on with its GPUs when only its parent was killed."""
    parent = machine.start("sh", "-c", "echo $$; cat", gpus=4, SLURM_JOB_ID="1")
    parent.stdout.readline()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    waiting = machine.start("true", gpus=1)
    assert "waits" in waiting.stderr.readline()
    parent.stdin.close()
    assert waiting.wait(timeout=20) == 0


def test_without_nvidia_smi_nothing_is_leased(machine):
    (machine.root / "bin/nvidia-smi").unlink()
    job = machine.start("sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-unset}", PATH="/usr/bin:/bin")
    assert job.communicate(timeout=20)[0] == "unset\n"


def test_exit_codes_survive(machine):
    for code in (0, 2, 75):
        assert machine.start("sh", "-c", f"exit {code}", gpus=0).wait(timeout=20) == code


def test_a_folder_of_another_user_is_refused(machine):
    (machine.root / "elsewhere").mkdir()
    (machine.root / f"leases-{os.getuid()}").symlink_to(machine.root / "elsewhere")
    job = machine.start("true")
    assert "is a link or another user's" in job.communicate(timeout=20)[1]
    assert job.returncode == 2


def test_gpus_shows_who_holds_what(machine):
    job, devices = machine.holder(memory=300, CUDA_VISIBLE_DEVICES="2")
    command = [sys.executable, "-m", "moe_replication.cli", "gpus", "--format", "json"]
    shown = subprocess.run(command, cwd=machine.root, env=machine.environment, capture_output=True, check=True)
    holds = {row["uuid"]: row["holds"] for row in json.loads(shown.stdout)}
    assert holds.pop(devices[0]) == [{"pid": job.pid, "memory_mb": 300}]
    assert list(holds.values()) == [[], [], []]
    end(job)
