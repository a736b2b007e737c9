"""Starting ranks here, under torchrun and under SLURM; their exit codes, signals and common end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moe_replication.errors import BadInput
from moe_replication.training import launch
from moe_replication.training.launch import Place, first_host, rank_variables, run_ranks, slurm_place, slurm_rank

# A task of srun in job 41, step 2, on nodes 07 to 09; as SLURM sets them.
TASK = {
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "gpu[07-09]",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NUM_TASKS": "12",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
HERE = Place(first=0, local=3, world_size=3, meeting={})


# Variables that a launcher sets, or that an earlier test's process group has left.
LAUNCHERS = ("SLURM_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_")


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> dict[str, str]:
    """An environment without launchers, undone afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    monkeypatch.setattr(os, "environ", kept)
    return kept


@pytest.fixture
def started(monkeypatch) -> list[Place]:
    """Places whose ranks would have been started."""
    places: list[Place] = []
    monkeypatch.setattr(launch, "run_ranks", lambda command, place: places.append(place) or 0)
    return places


def test_one_process_trains_here(started):
    assert launch.start_ranks(1, ["train"]) is None
    assert started == []


def test_several_start_on_this_machine(started):
    assert launch.start_ranks(3, ["train"]) == 0
    assert started == [HERE]


def test_a_batch_job_of_many_tasks_is_no_step_of_srun(started, environment):
    """The batch script itself runs once, whatever it asked for; so does a job step of Snakemake's."""
    environment |= {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}
    assert launch.start_ranks(3, ["train"]) == 0
    assert started == [HERE]


def test_torchrun_starts_ranks_and_their_number_is_checked(started, environment):
    environment |= {"RANK": "1", "WORLD_SIZE": "4"}
    assert launch.start_ranks(4, ["train"]) is None
    with pytest.raises(BadInput, match=r"engine\.world_size = 2, but torchrun started 4 process"):
        launch.start_ranks(2, ["train"])
    assert started == []


def test_a_task_of_srun_is_a_rank(started, environment):
    environment |= TASK
    assert launch.start_ranks(12, ["train"]) is None
    found = {name: environment[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    assert found == {
        "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "12", "MASTER_ADDR": "gpu07", "MASTER_PORT": "12658",
    }  # fmt: skip
    assert started == []
    with pytest.raises(BadInput, match=r"engine\.world_size = 8, but srun started 12"):
        slurm_rank(8, TASK)


def test_a_gpu_bound_to_a_task_is_its_first():
    assert slurm_rank(12, TASK | {"CUDA_VISIBLE_DEVICES": "3"})["LOCAL_RANK"] == "0"
    assert slurm_rank(12, TASK | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})["LOCAL_RANK"] == "1"


def test_a_task_a_node_starts_the_ranks_of_its_node(started, environment):
    environment |= TASK | {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1"}
    assert launch.start_ranks(12, ["train"]) == 0
    (place,) = started
    assert (place.first, place.local, place.meeting["MASTER_ADDR"]) == (4, 4, "gpu07")
    assert rank_variables(5, 1, place) == {
        "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "12", "LOCAL_WORLD_SIZE": "4",
    }  # fmt: skip
    with pytest.raises(BadInput, match=r"world_size = 8 cannot be shared out evenly to the 3 nodes"):
        slurm_place(8, environment)


def test_a_meeting_place_that_is_set_is_kept(environment):
    environment |= TASK | {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "5"}
    assert slurm_rank(12, environment)["MASTER_ADDR"] == "10.0.0.7"
    assert slurm_rank(12, environment)["MASTER_PORT"] == "5"


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("localhost", "localhost"),
        ("gpu[07-09]", "gpu07"),
        ("a[3,5-6],b1", "a3"),
        ("login2,gpu[01-04]", "login2"),
        ("rack[2-3]node[1,4]", "rack2node1"),
    ],
)
def test_first_host(nodes, host):
    assert first_host(nodes) == host


def _ranks(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time; rank = int(os.environ['RANK']); {code}"]


def test_every_rank_knows_its_number_and_where_all_meet(tmp_path):
    code = f"open(f'{tmp_path}/{{rank}}', 'w').write(os.environ['WORLD_SIZE'] + os.environ['{launch.MEETING_FILE}'])"
    assert run_ranks(_ranks(code), HERE) == 0
    texts = [Path(tmp_path, str(rank)).read_text(encoding="utf-8") for rank in range(3)]
    assert texts[0].startswith("3/")
    assert len(set(texts)) == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.exit(75)", 75),
        ("sys.exit(2 if rank == 1 else 0)", 2),
        ("time.sleep(0 if rank == 2 else 0.4); sys.exit(2 if rank == 2 else 1)", 2),
        ("time.sleep(0 if rank == 2 else 0.4); sys.exit(1 if rank == 2 else 75)", 1),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else sys.exit(0)", 137),
    ],
)
def test_exit_codes_survive(code, expected):
    """torchrun would make 1 of each."""
    assert run_ranks(_ranks(code), HERE) == expected


def test_ranks_that_wait_for_a_lost_one_are_ended(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.2)
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600 if rank else 0); sys.exit(2)"
    assert run_ranks(_ranks(ignoring), HERE) == 2


def _launcher(code: str, tmp_path: Path, ranks: int = 2) -> subprocess.Popen:
    """A process that runs ranks; each says in a file that it is there, with its process id."""
    there = f"open(f'{tmp_path}/{{rank}}.new', 'w').write(str(os.getpid())); "
    there += f"os.rename(f'{tmp_path}/{{rank}}.new', f'{tmp_path}/{{rank}}')"
    program = (
        "import sys; from moe_replication.training.launch import Place, run_ranks;"
        f"sys.exit(run_ranks({_ranks(code.replace('THERE', there))!r},"
        f" Place(first=0, local={ranks}, world_size={ranks}, meeting={{}})))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    _wait_for(lambda: all(Path(tmp_path, str(rank)).exists() for rank in range(ranks)))
    return process


def _wait_for(happened) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_every_rank(tmp_path, signum):
    """Every rank ends with 75 only if it got the signal itself."""
    code = f"signal.signal({int(signum)}, lambda *_: sys.exit(75)); THERE; time.sleep(600)"
    process = _launcher(code, tmp_path)
    process.send_signal(signum)
    assert process.wait(timeout=20) == 75


def test_ranks_end_with_a_killed_launcher(tmp_path):
    """Else they would train on unseen and hold the run's lock."""
    watch = "from moe_replication.training.launch import start_ranks; start_ranks(2, []); THERE; time.sleep(600)"
    process = _launcher(watch, tmp_path)
    ranks = [int(Path(tmp_path, str(rank)).read_text(encoding="utf-8")) for rank in range(2)]
    process.kill()
    process.wait()
    _wait_for(lambda: not any(_alive(rank) for rank in ranks))


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# A rank of a step of srun: starts ranks below it where it has to, and adds the numbers of all ranks.
_MEMBER = """
import sys
from moe_replication.training.launch import start_ranks
code = start_ranks(4, [sys.executable, "-c", sys.argv[1], sys.argv[1], sys.argv[2]])
if code is not None:
    sys.exit(code)
import os, torch
from moe_replication.training.engine import start_distributed
start_distributed(4)
total = torch.tensor(10 ** int(os.environ["RANK"]))
torch.distributed.all_reduce(total)
open(sys.argv[2] + "/" + os.environ["RANK"], "w").write(f"{total.item()} {os.environ['LOCAL_RANK']}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [2, 4])
def test_ranks_of_a_step_of_srun_meet(tmp_path, environment, tasks):
    """Two nodes with one task or two each; both are this machine."""
    step = TASK | {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": str(tasks),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NUM_TASKS": str(tasks),
    }
    members = []
    for task in range(tasks):
        node, local = divmod(task, tasks // 2)
        own = {"SLURM_PROCID": str(task), "SLURM_LOCALID": str(local), "SLURM_NODEID": str(node)}
        command = [sys.executable, "-c", _MEMBER, _MEMBER, str(tmp_path)]
        members.append(subprocess.Popen(command, env=environment | step | own))
    assert [member.wait(timeout=300) for member in members] == [0] * tasks
    found = [Path(tmp_path, str(rank)).read_text(encoding="utf-8").split() for rank in range(4)]
    assert {total for total, _ in found} == {"1111"}
    assert [int(local) for _, local in found] == [0, 1, 0, 1]
