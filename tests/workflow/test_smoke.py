"""The smoke scale end to end: every condition of both papers, figures, verdicts, mirror, report."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.files import read_json
from moe_replication.statistics.claims import judge
from moe_replication.statistics.derived import with_derived
from scratch_project import ROOT, make_scratch

pytestmark = pytest.mark.slow
SMOKE = ("scale=smoke",)


def judge_at_smoke(results: Path) -> list[dict]:
    """Every claim judged on the smoke runs, whatever its scales: not for the verdicts, but to miss no metric."""
    tables = {name: pl.read_parquet(results / f"{name}.parquet") for name in ("curves", "experts", "probe-metrics")}
    analysis = analysis_settings(ROOT)
    runs = with_derived(pl.read_parquet(results / "runs.parquet"), *tables.values(), analysis)
    claims = [claim | {"scales": ["smoke"]} for claim in load_project(ROOT, {"scale": "smoke"}).claims]
    return judge([claim for claim in claims if "epoch" not in claim], runs, tables["curves"], "smoke", analysis)


def test_smoke_scale_from_data_to_report(tmp_path, finished):
    project = make_scratch(tmp_path, job="paper")
    (project.root / "data").symlink_to(finished.root / "data")
    project.snakemake(config=SMOKE)
    results = project.root / "results/smoke"
    runs = pl.read_parquet(results / "runs.parquet")
    conditions = [run.condition for run in load_project(ROOT, {"scale": "smoke"}).runs]
    assert sorted(runs["condition"]) == sorted(conditions)
    assert runs.filter(pl.col("paper") == "expert-threshold")["val_loss"].is_not_null().all()
    assert runs.filter(pl.col("paper") == "expert-ecology")["dead_experts"].is_not_null().all()
    assert runs["mixed_versions"].sum() == 0
    card = read_json(results / "scorecard.json")
    assert len(card["claims"]) >= 10
    assert {claim["verdict"] for claim in card["claims"]} == {"untestable"}
    judged = judge_at_smoke(results)
    over_conditions = [claim["id"] for claim in judged if claim["comparison"] in ("groups", "sign")]
    single = {claim["verdict"] for claim in judged if claim["id"] not in over_conditions}
    assert single - {"not_run"} <= {"inconclusive", "contradicted"}
    # CORE needs its bundle, a course over epochs more than one; every other metric of a claim is measured.
    missing = {claim["metric"] for claim in judged if claim["verdict"] == "not_run"}
    assert missing == {"core", "dead_since_best", "tier_share_gain_2", "late_accuracy_range"}
    figures = project.root / "figures/smoke"
    drawn = load_project(ROOT, {"scale": "smoke"}).figures
    for name, figure in drawn.items():
        assert all((figures / f"{name}.{suffix}").stat().st_size > 0 for suffix in figure.suffixes), name
    assert len(list(figures.glob("*.png"))) == len(drawn)
    assert len(list((results / "pages").glob("*.html"))) == 6
    mirrored = read_json(results / "mirror.json")
    assert "failed" not in mirrored
    assert mirrored["created"] >= len(conditions)
    assert project.planned(config=SMOKE) == {}
    project.snakemake("--report", "results/smoke/report.html", config=SMOKE)
    assert (results / "report.html").stat().st_size > 100_000
