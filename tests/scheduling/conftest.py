"""A machine with fake GPUs: an nvidia-smi that lists them, and a project folder whose locks lie apart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from scratch_project import ROOT

MEMORY_MB = 1000
PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class Machine:
    """A folder to work in, and the environment of its jobs."""

    root: Path
    environment: dict[str, str]

    def start(self, *command: str, gpus: int = 1, memory: int = 0, **more: str) -> subprocess.Popen:
        """A job that leases GPUs; its output is what the command prints."""
        arguments = ["--gpus", str(gpus), "--gpu-memory", str(memory), "--", *command]
        job = subprocess.Popen(
            [sys.executable, "-m", "moe_replication.scheduling", *arguments],
            cwd=self.root, env=self.environment | more, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        # A test that waits for a job in vain fails instead of hanging.
        watchdog = threading.Timer(PATIENCE, job.kill)
        watchdog.daemon = True
        watchdog.start()
        return job

    def holder(self, **options) -> tuple[subprocess.Popen, list[str]]:
        """A job that holds its GPUs until its standard input is closed, and the GPUs."""
        job = self.start("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec cat", **options)
        return job, job.stdout.readline().strip().split(",")

    def put(self, name: str, text: str) -> None:
        """A program on the jobs' PATH."""
        program = self.root / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Four fake GPUs of 1,000 MB, all of which may be given away."""
    (tmp_path / "bin").mkdir()
    for part in ("config/scheduling.yaml", "workflow/schemas/scheduling.schema.yaml"):
        (tmp_path / part).parent.mkdir(parents=True)
        shutil.copy(ROOT / part, tmp_path / part)
    settings = tmp_path / "config/scheduling.yaml"
    text = settings.read_text(encoding="utf-8").replace("/tmp/moe-replication-leases", str(tmp_path / "leases"))
    settings.write_text(text.replace("memory_share: {value: 0.95", "memory_share: {value: 1.0"), encoding="utf-8")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "SLURM_"))}
    found = Machine(tmp_path, kept | {"PATH": path, "PYTHONPATH": str(ROOT / "src")})
    found.put("nvidia-smi", "\n".join(f"echo GPU-{n}aaa, {MEMORY_MB}" for n in range(4)))
    return found
