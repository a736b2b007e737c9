"""A small finished project beside an empty MLflow store."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import Project, load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.files import write_json
from moe_replication.statistics.claims import judge
from moe_replication.statistics.collect import collect
from moe_replication.statistics.compare import write_comparisons

ROOT = Path(__file__).parents[2]
CHOSEN = {"scale": "smoke", "conditions": ["tc", "et", "v1"], "seeds": [0, 1]}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A store with its schema, made once: MLflow needs seconds for that."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def untrained(tmp_path) -> Project:
    """The project below an empty folder; et is compared with tc."""
    (tmp_path / "results" / "smoke").mkdir(parents=True)
    project = load_project(ROOT, dict(CHOSEN))
    return dataclasses.replace(project, root=tmp_path)


@pytest.fixture
def project(untrained, write_run) -> Project:
    """Two seeds of tc, et and v1 with their tables; the claim a-et-below-tc is judged."""
    for run in untrained.runs:
        write_run(untrained.root, run.paper, run.condition, run.seed)
    claims = [claim | {"scales": ["smoke"]} if claim["id"] == "a-et-below-tc" else claim for claim in untrained.claims]
    project = dataclasses.replace(untrained, claims=tuple(claims))
    tabulate(project)
    return project


def tabulate(project: Project) -> None:
    """The tables and the scorecard of the records that are there."""
    results = project.root / "results" / "smoke"
    collect([project.root / run.folder for run in project.runs], results)
    analysis = analysis_settings(ROOT)
    write_comparisons(results, {("expert-threshold", "et"): "tc", ("expert-threshold", "tc"): "dense"}, analysis, {})
    runs, curves = (pl.read_parquet(results / f"{name}.parquet") for name in ("runs", "curves"))
    write_json(results / "scorecard.json", {"claims": judge(project.claims, runs, curves, "smoke", analysis)})


@pytest.fixture
def uri(untrained, empty_store) -> str:
    path = untrained.root / "results" / "smoke" / "mlflow.db"
    shutil.copy(empty_store, path)
    return f"sqlite:///{path}"
