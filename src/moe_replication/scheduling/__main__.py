"""`python -m moe_replication.scheduling --gpus N --gpu-memory MB -- COMMAND ...`: a command as a job of the workflow.

It gets N GPUs of its own, each with room for so many MB. Light, since every training and probing job begins with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from moe_replication.errors import BadInput
from moe_replication.scheduling.requeue import JOB, STOPPED, requeue


def main(arguments: list[str]) -> int:
    """Run the command: in this process's place, or below it in a SLURM job, where it may have to be queued again."""
    parser = argparse.ArgumentParser(prog="python -m moe_replication.scheduling", description=__doc__)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--gpu-memory", type=int, default=0, metavar="MB", help="0: GPUs of its own")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    try:
        held = _lease(given.gpus, given.gpu_memory) if given.gpus else []
    except BadInput as error:
        _say(f"error: {error}")
        return 2
    if JOB not in os.environ:
        for descriptor in held:
            os.set_inheritable(descriptor, True)
        os.execvp(given.command[0], given.command)
    return _run_below(given.command, held)


def _lease(gpus: int, memory_mb: int) -> list[int]:
    """Open files that hold the GPUs; CUDA_VISIBLE_DEVICES names them. Nothing where no GPU can be seen."""
    from moe_replication.scheduling.devices import VISIBLE, usable_devices
    from moe_replication.scheduling.lease import LeaseFolder
    from moe_replication.scheduling.settings import scheduling_settings

    devices = usable_devices(os.environ)
    if devices is None:
        return []
    settings = scheduling_settings(Path()).lease
    folder = LeaseFolder(settings.folder, settings.memory_share)
    chosen, held = folder.acquire(devices, gpus, memory_mb, _say)
    os.environ[VISIBLE] = ",".join(device.uuid for device in chosen)
    return held


def _run_below(command: list[str], held: list[int]) -> int:
    """SLURM signals every process of a job step: the command gets them itself, this process outlives them."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(signum, lambda *_: None)
    code = subprocess.Popen(command, pass_fds=held).wait()
    if code == STOPPED:
        from moe_replication.scheduling.settings import scheduling_settings

        requeue(scheduling_settings(Path()).requeue.at_most, _say)
    return code if code >= 0 else 128 - code


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
