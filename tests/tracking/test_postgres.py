"""The mirror in PostgreSQL, directly and behind a tracking server; runs where a database is given."""

from __future__ import annotations

import dataclasses
import os
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from moe_replication.config import Project
from moe_replication.files import read_json, write_json

pytest.importorskip("mlflow")
from mlflow import MlflowClient

from moe_replication.tracking.mirror import mirror
from moe_replication.tracking.server import serve

POSTGRES = "MOE_REPLICATION_TEST_POSTGRES"
A, B = "expert-threshold", "expert-ecology"
SECONDS = 120  # for a server to be up on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES not in os.environ, reason=f"give an empty database, postgresql://..., in {POSTGRES}"),
]


@pytest.fixture
def named(project) -> Iterator[Project]:
    """The project at a scale with a name of its own, and its experiments deleted afterwards: a database is shared."""
    pytest.importorskip("psycopg2", reason="pip install psycopg2-binary")
    name = f"test-{uuid.uuid4().hex[:8]}"
    results = (project.root / "results/smoke").rename(project.root / "results" / name)
    for path in results.rglob("run.json"):
        record = read_json(path)
        record["run"]["scale"] = name
        write_json(path, record)
    yield dataclasses.replace(project, scale=dataclasses.replace(project.scale, name=name))
    client = MlflowClient(os.environ[POSTGRES])
    for found in client.search_experiments(filter_string=f"name LIKE '%/{name}'"):
        client.delete_experiment(found.experiment_id)


def _check(project: Project, uri: str, address: str) -> None:
    client, scale = MlflowClient(uri), project.scale.name
    report = mirror(project, uri)
    assert (report.created, report.updated, report.unchanged) == (9, 0, 0)
    summary = client.get_run(report.summaries[f"{A}/et"]["run"])
    assert summary.data.metrics["Vs/val_loss/n"] == 2
    assert summary.data.params["Vs/val_loss"].endswith("vs tc, n = 2")
    assert "curves.png" in [item.path for item in client.list_artifacts(summary.info.run_id)]
    experiment = client.get_experiment_by_name(f"{A}/{scale}").experiment_id
    (seed,) = client.search_runs([experiment], "tags.kind = 'run' and tags.condition = 'et' and tags.seed = '0'")
    assert seed.data.tags["mlflow.parentRunId"] == summary.info.run_id
    assert [data.dataset.digest for data in seed.inputs.dataset_inputs] == ["cd" * 16]
    history = client.get_metric_history(summary.info.run_id, "curve/val_loss_low")
    assert sorted(point.step for point in history) == [10, 20]
    assert report.claims["a-et-below-tc"]["compare"].startswith(f"{address}/#/compare-runs?")
    again = mirror(project, uri)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 9)
    assert again.summaries == report.summaries


def test_the_database_holds_what_is_on_disk_and_a_second_mirror_changes_nothing(named):
    _check(named, os.environ[POSTGRES], "http://127.0.0.1:5000")


def test_a_tracking_server_on_the_database_holds_the_same(named, monkeypatch):
    monkeypatch.chdir(named.root)  # where the server puts artifacts
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with serve(os.environ[POSTGRES], Path("results") / named.scale.name, port):
        _wait_for(f"{address}/health")
        _check(named, address, address)


def _wait_for(address: str) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(address):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
