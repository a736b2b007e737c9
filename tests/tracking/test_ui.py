"""`moe-replication ui` as a user starts it: an SQLite store, this machine alone, and a run that trains meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundle_projects import empty_project
from moe_replication.progress import TrainingProgress

pytest.importorskip("mlflow")
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
START = 540.0  # seconds for a server on a machine that is busy with other tests
VISIBLE = 60.0  # seconds from a line in the log to its value in MLflow
STEPS = 100


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def project(tmp_path):
    """Settings of four runs, none of which has a record."""
    return empty_project(tmp_path / "project")


@pytest.fixture
def progress(project) -> Iterator[TrainingProgress]:
    """What a job of the first run writes its log with; it has just begun."""
    written = TrainingProgress("tc seed 0", 0, STEPS, "tokens", project.root / project.runs[0].folder / "log.txt")
    written.say(f"tc seed 0: starts; {STEPS} steps")
    yield written
    written.close()


@pytest.fixture
def address(project, port) -> Iterator[str]:
    """The server that `ui` starts, once it is up."""
    command = [sys.executable, "-m", "moe_replication.cli", "ui", "--scale", "smoke", "--port", str(port)]
    said = project.root / "said"
    with said.open("w") as output:
        process = subprocess.Popen(command, cwd=project.root, env=os.environ, stdout=output, stderr=output)
    try:
        seconds_until(lambda: answers(f"http://127.0.0.1:{port}/health"), START)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=START)


def seconds_until(happened: Callable[[], bool], limit: float) -> float:
    start = time.monotonic()
    while not happened():
        assert time.monotonic() - start < limit
        time.sleep(0.5)
    return time.monotonic() - start


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_growing_log_becomes_a_growing_metric_within_a_minute(project, progress, address, port):
    with pytest.raises(ConnectionRefusedError):  # would answer if it listened on every address of this machine
        socket.create_connection(("127.0.0.2", port), timeout=10)
    assert (project.root / "results/smoke/mlflow.db").read_bytes().startswith(b"SQLite format 3")
    client, first = MlflowClient(address), project.runs[0]

    def live() -> list:
        experiment = client.get_experiment_by_name(f"{first.paper}/smoke")
        return client.search_runs([experiment.experiment_id]) if experiment else []

    def steps() -> list[int]:
        return [point.step for point in client.get_metric_history(live()[0].info.run_id, "curve/train_loss")]

    waited = [seconds_until(lambda: bool(live()), VISIBLE)]
    assert (live()[0].info.status, live()[0].data.tags["condition"]) == ("RUNNING", first.condition)
    for done in (1, 5, 10):
        progress.line(done, 5.0 - done / 100, 1e-3, done * 256)
        waited.append(seconds_until(lambda done=done: done in steps(), VISIBLE))
    assert steps() == [1, 5, 10]
    print("seconds until visible:", ", ".join(f"{seconds:.1f}" for seconds in waited))


def test_make_ui_starts_it_for_the_scale():
    shown = subprocess.run(("make", "--dry-run", "ui", "SCALE=smoke"), cwd=ROOT, capture_output=True, text=True)
    assert "bin/moe-replication ui --scale smoke" in shown.stdout
