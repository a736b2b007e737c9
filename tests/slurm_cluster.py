"""A SLURM cluster of one node on this machine: controller and node daemon from the distribution's packages.

Everything it needs of the machine is /etc/slurm, since job steps forget any other place; a configuration there that
is not ours is left alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SETTINGS = Path("/etc/slurm")
PACKAGES = ("slurm-wlm", "slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol")
OURS = "# A test of moe-replication made this file and may replace it.\n"
# Cores and memory are what SLURM hands out, not what the machine has; files stand for GPUs.
CONFIGURATION = """
ClusterName=moe-replication
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again starts only after its old credential is void.
AuthInfo=cred_expire=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
MinJobAge=3600
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=10
"""


class Impossible(Exception):
    """Why there can be no cluster here."""


class Cluster:
    """The daemons of one cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configured = self.munged = False

    def start(self) -> None:
        """Install what is missing, configure, start, wait for an idle node; Impossible says why not."""
        if os.geteuid() != 0:
            raise Impossible("SLURM's daemons need root")
        present = SETTINGS / "slurm.conf"
        if present.exists() and not present.read_text(encoding="utf-8").startswith(OURS):
            raise Impossible(f"{present} configures another cluster")
        _install()
        self._configure()
        self._start_munge()
        for daemon in ("slurmctld", "slurmd"):
            run(daemon)
        deadline = time.monotonic() + 60
        while "idle" not in run("sinfo", "--noheader", "--format=%T", check=False):
            if time.monotonic() > deadline:
                raise Impossible(f"no idle node after a minute: {self._last_words()}")
            time.sleep(1)

    def stop(self) -> None:
        """End the daemons that were started here, and with them every job."""
        if not self.configured:
            return
        run("scancel", "--user=root", check=False)
        run("scontrol", "shutdown", check=False)
        if self.munged:
            run("runuser", "-u", "munge", "--", "munged", "--stop", check=False)
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink(missing_ok=True)

    def _configure(self) -> None:
        self.configured = True
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        for number in range(2):
            (self.folder / f"gpu{number}").touch()
        SETTINGS.mkdir(exist_ok=True)
        ports = {"controller_port": _free_port(), "node_port": _free_port()}
        text = OURS + CONFIGURATION.format(host=host, folder=self.folder, **ports)
        (SETTINGS / "slurm.conf").write_text(text, encoding="utf-8")
        gpus = f"{OURS}NodeName={host} Name=gpu File={self.folder}/gpu[0-1]\n"
        (SETTINGS / "gres.conf").write_text(gpus, encoding="utf-8")

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return
        run("install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge")
        run("runuser", "-u", "munge", "--", "munged")
        self.munged = True

    def _last_words(self) -> str:
        logs = [self.folder / f"{daemon}.log" for daemon in ("slurmctld", "slurmd")]
        return " ".join(line for log in logs if log.exists() for line in log.read_text().splitlines()[-2:])


def run(*command: str, check: bool = True) -> str:
    """Standard output of a command; Impossible with its last words when it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        raise Impossible(f"{command[0]} failed: {(result.stdout + result.stderr)[-300:].strip()}")
    return result.stdout


def _install() -> None:
    if all(shutil.which(program) for program in PROGRAMS):
        return
    if shutil.which("apt-get") is None:
        raise Impossible(f"no SLURM and no apt-get; install {', '.join(PACKAGES)}")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "--yes", "--no-install-recommends", "-qq", *PACKAGES)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
