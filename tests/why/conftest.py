"""A project of two conditions without any result, and jobs in it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.config.project import Project
from moe_replication.why.snakemake_plan import JobState
from why_records import finish, tc, train_job

ROOT = Path(__file__).parents[2]
CHOICE = {"scale": "smoke", "conditions": ["tc", "et"], "seeds": [0, 1, 2]}


@pytest.fixture(scope="session")
def loaded() -> Project:
    return load_project(ROOT, CHOICE)


@pytest.fixture
def project(loaded, tmp_path) -> Project:
    """Two conditions with three seeds, without any result."""
    return dataclasses.replace(loaded, root=tmp_path)


@pytest.fixture
def figure(tmp_path) -> JobState:
    """A planned job whose two files are there and older than any module."""
    outputs = ("figures/smoke/b-x.png", "figures/smoke/b-x.csv")
    for file in outputs:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
        os.utime(tmp_path / file, (0, 0))
    return JobState(rule="figures_cutoff", title="draw b-x", outputs=outputs, planned=True)


@pytest.fixture
def jobs(project, figure) -> list[JobState]:
    """tc is current in three jobs, one of which runs again; et has lost a seed; a figure follows."""
    for seed in (0, 1, 2):
        finish(project, tc(project, seed))
        finish(project, project.run("expert-threshold", "et", seed))
    et = [project.run("expert-threshold", "et", seed) for seed in (0, 1, 2)]
    (project.root / et[2].folder / "run.json").unlink()
    return [
        *(train_job(project, tc(project, seed), planned=False) for seed in (0, 1)),
        dataclasses.replace(train_job(project, tc(project, 2), planned=True), newer=("data/manifest.json",)),
        train_job(project, *et, planned=True),
        dataclasses.replace(figure, before=("train et",), seconds=9.0),
    ]
