"""Finished trees of made-up runs, and the settings of the smoke scale."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import made_runs
from moe_replication.config import load_project
from moe_replication.config.run import RunConfig
from moe_replication.statistics.collect import collect

PAPERS = {"expert-threshold": made_runs.PAPER_A, "expert-ecology": made_runs.PAPER_B}


@pytest.fixture
def write_run() -> Callable[..., Path]:
    """write_run(root, paper, condition, seed, scale=, metrics=, settings=, record=) of made_runs.py."""
    return made_runs.write_run


@pytest.fixture(scope="session")
def _results_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    for paper, conditions in PAPERS.items():
        for condition in conditions:
            for seed in made_runs.SEEDS:
                made_runs.write_run(root, paper, condition, seed)
    return root


@pytest.fixture
def finished_results(_results_template: Path, tmp_path: Path) -> Path:
    """Root of a fresh copy of a finished smoke tree: results/smoke/runs/{paper}/{condition}/seed-{0,1,2}."""
    root = tmp_path / "project"
    shutil.copytree(_results_template, root)
    return root


@pytest.fixture(scope="session")
def _tables_template(_results_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables")
    collect(sorted((_results_template / "results/smoke/runs").glob("*/*/seed-*")), out)
    return out


@pytest.fixture
def collected_results(finished_results: Path, _tables_template: Path) -> Path:
    """results/smoke of a finished tree, with the tables that `collect` makes of its runs."""
    folder = finished_results / "results/smoke"
    shutil.copytree(_tables_template, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def smoke() -> dict[str, RunConfig]:
    """Resolved settings of every condition of the smoke scale, by condition."""
    project = load_project(Path(__file__).parents[1], {"scale": "smoke"})
    return {run.condition: run.config for run in project.runs}
