"""How the processes of a run start, and end together; no torch.

| `moe-replication train` is started | and `engine.world_size` is | this process |
|---|---|---|
| by hand or by the workflow | 1 | trains |
| by hand or by the workflow | N | starts N ranks on this machine and watches over them |
| by torchrun, or by srun with a task for every rank | all ranks of all nodes | is a rank |
| by srun with one task a node | all ranks of all nodes | starts its node's ranks and watches over them |
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moe_replication.errors import BadInput

# A file in which the ranks of one machine find each other: unlike a port, nobody can take it in between.
MEETING_FILE = "MOE_REPLICATION_MEETING_FILE"
# Open for as long as the launcher lives.
LIFELINE = "MOE_REPLICATION_LIFELINE"
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Of several ranks that failed at once, whose word counts: bad input, then a checkpoint written on request.
TELLING_CODES = (2, 75)
# What a rank may take to notice that another is gone.
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.05
# Where SLURM jobs meet: above the services' ports, below those that Linux gives to clients. Jobs that follow each other
# are this many ports apart, for their steps.
FIRST_PORT, PORTS, PORTS_OF_A_JOB = 12_000, 20_000, 16


@dataclass(frozen=True, kw_only=True)
class Place:
    """Ranks `first` to `first + local - 1` of `world_size` are this machine's; `meeting` says where all find rank 0."""

    first: int
    local: int
    world_size: int
    meeting: dict[str, str]


def start_ranks(world_size: int, command: list[str]) -> int | None:
    """Run `command` as this machine's ranks and return its exit code; None where this process is a rank and trains."""
    environment = os.environ
    if "RANK" in environment:
        _check_size(world_size, int(environment.get("WORLD_SIZE", "1")), "torchrun")
        if LIFELINE in environment:
            _end_with_launcher(int(environment[LIFELINE]))
        return None
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 and tasks != int(environment["SLURM_STEP_NUM_NODES"]):
        environment.update(slurm_rank(world_size, environment))
        return None
    place = slurm_place(world_size, environment) if tasks > 1 else None
    if place is None and world_size == 1:
        return None
    return run_ranks(command, place or Place(first=0, local=world_size, world_size=world_size, meeting={}))


def run_ranks(command: list[str], place: Place) -> int:
    """Run `command` once a rank, pass signals on, and return 0 or the code of the rank that failed first.

    A rank without the others would wait for ever, so the rest is ended; the ranks end with this process, too.
    """
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory(prefix="moe-replication-") as folder:
        meeting = place.meeting or {MEETING_FILE: str(Path(folder, "meeting"))}
        ranks = _Ranks()
        previous = {signum: signal.signal(signum, ranks.forward) for signum in FORWARDED}
        try:
            for local in range(place.local):
                variables = rank_variables(place.first + local, local, place) | meeting | {LIFELINE: str(reading)}
                ranks.start(command, os.environ | variables, reading)
            return ranks.wait()
        finally:
            ranks.kill()
            for signum, handler in previous.items():
                signal.signal(signum, handler)
            os.close(reading)
            os.close(writing)


def rank_variables(rank: int, local: int, place: Place) -> dict[str, str]:
    """What torchrun would tell this rank."""
    numbers = {"RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": place.world_size, "LOCAL_WORLD_SIZE": place.local}
    return {name: str(number) for name, number in numbers.items()}


def slurm_rank(world_size: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Torchrun's variables for a task of srun that is one rank."""
    _check_size(world_size, int(environment["SLURM_STEP_NUM_TASKS"]), "srun")
    # Where srun binds a GPU to every task, it is number 0 of what the task sees.
    bound = len(environment.get("CUDA_VISIBLE_DEVICES", ",").split(",")) == 1
    local = "0" if bound else environment["SLURM_LOCALID"]
    variables = {"RANK": environment["SLURM_PROCID"], "LOCAL_RANK": local, "WORLD_SIZE": str(world_size)}
    return variables | slurm_meeting(environment)


def slurm_place(world_size: int, environment: Mapping[str, str]) -> Place:
    """The ranks that a task of srun, one a node, starts on its node."""
    nodes, node = int(environment["SLURM_STEP_NUM_NODES"]), int(environment["SLURM_NODEID"])
    if world_size % nodes:
        raise BadInput(
            f"engine.world_size = {world_size} cannot be shared out evenly to the {nodes} nodes of this step; start"
            f" with srun --ntasks {world_size}, or choose another number of nodes"
        )
    local = world_size // nodes
    return Place(first=node * local, local=local, world_size=world_size, meeting=slurm_meeting(environment))


def slurm_meeting(environment: Mapping[str, str]) -> dict[str, str]:
    """Host and port of rank 0, the same from every task's variables; those that are set already are kept."""
    number = PORTS_OF_A_JOB * int(environment["SLURM_JOB_ID"]) + int(environment["SLURM_STEP_ID"])
    found = {
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(FIRST_PORT + number % PORTS),
    }
    return {name: environment.get(name, value) for name, value in found.items()}


def first_host(nodes: str) -> str:
    """First name of SLURM's list of nodes: gpu[01-04,07],login2 -> gpu01."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


class _Ranks:
    """The processes of the ranks that this one started."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []
        self.signals: list[int] = []

    def start(self, command: list[str], environment: Mapping[str, str], lifeline: int) -> None:
        self.processes.append(subprocess.Popen(command, env=environment, pass_fds=(lifeline,)))
        for signum in self.signals:  # came between two starts
            self.processes[-1].send_signal(signum)

    def forward(self, signum: int, _frame: object) -> None:
        self.signals.append(signum)
        for process in self.processes:
            process.send_signal(signum)

    def wait(self) -> int:
        """Exit code when all have ended: 0, or that of the first to fail, 128 + signal where one killed it."""
        running, code, deadline = self.processes, 0, None
        while running:
            time.sleep(POLL_SECONDS)
            ended = [process for process in running if process.poll() is not None]
            running = [process for process in running if process not in ended]
            failed = [process.returncode for process in ended if process.returncode]
            if failed and deadline is None:
                code, deadline = _telling(failed), time.monotonic() + GRACE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                self.kill()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


def _telling(codes: list[int]) -> int:
    return next((code for code in TELLING_CODES if code in codes), codes[0])


def _check_size(asked: int, started: int, starter: str) -> None:
    if started != asked:
        raise BadInput(
            f"engine.world_size = {asked}, but {starter} started {started} process(es); start {asked}, or set"
            " engine.world_size"
        )


def _end_with_launcher(lifeline: int) -> None:
    """End this rank at once when its launcher is gone: nobody would end it later, and it holds the run's lock."""

    def wait_for_the_end() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
