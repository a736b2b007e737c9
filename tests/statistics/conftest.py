"""Verdicts on runs that went through `collect`, as on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moe_replication.config.analysis import AnalysisSettings, analysis_settings
from moe_replication.statistics.claims import judge
from moe_replication.statistics.collect import collect, read_parquet, read_runs

ANALYSIS = analysis_settings(Path(__file__).parents[2])


@pytest.fixture
def analysis() -> AnalysisSettings:
    """config/analysis.yaml as it is."""
    return ANALYSIS


@pytest.fixture
def verdicts(write_run, tmp_path) -> Callable[..., list[dict]]:
    """verdicts(claims, {condition: values by seed}, metric=): what judge says about such runs."""

    def run(claims, values, metric="val_loss", paper="expert-threshold"):
        directories = [
            write_run(tmp_path, paper, condition, seed, metrics={metric: value})
            for condition, column in values.items()
            for seed, value in enumerate(column)
        ]
        collect(directories, tmp_path)
        tables = (read_runs(tmp_path / "runs.parquet"), read_parquet(tmp_path / "curves.parquet", ()))
        return judge(claims if isinstance(claims, list) else [claims], *tables, "smoke", ANALYSIS)

    return run
