"""The smoke scale end to end: every condition of both papers, figures, verdicts, mirror, report."""

from __future__ import annotations

import polars as pl
import pytest

from moe_replication.files import read_json
from scratch_project import make_scratch

pytestmark = pytest.mark.slow
SMOKE = ("scale=smoke",)


def test_smoke_scale_from_data_to_report(tmp_path, finished):
    project = make_scratch(tmp_path)
    (project.root / "data").symlink_to(finished.root / "data")
    project.snakemake(config=SMOKE)
    results = project.root / "results/smoke"
    runs = pl.read_parquet(results / "runs.parquet")
    assert runs.height == runs.select("paper", "condition", "seed").unique().height == 40
    assert runs.filter(pl.col("paper") == "expert-threshold")["val_loss"].is_not_null().all()
    assert runs.filter(pl.col("paper") == "expert-ecology")["dead_experts"].is_not_null().all()
    assert runs["mixed_versions"].sum() == 0
    card = read_json(results / "scorecard.json")
    assert len(card["claims"]) >= 10
    assert {claim["verdict"] for claim in card["claims"]} == {"untestable"}
    figures = project.root / "figures/smoke"
    assert len(list(figures.glob("*.png"))) == len(list(figures.glob("*.csv"))) == len(list(figures.glob("*.pdf"))) == 6
    mirrored = read_json(results / "mirror.json")
    assert "failed" not in mirrored
    assert mirrored["created"] >= 40
    assert project.planned(config=SMOKE) == {}
    project.snakemake("--report", "results/smoke/report.html", config=SMOKE)
    assert (results / "report.html").stat().st_size > 100_000
