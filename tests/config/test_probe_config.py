from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from moe_replication.config import load_project
from moe_replication.config.probe import domains_folder, probe_jobs, probe_settings, probed_runs, scanned_runs
from moe_replication.errors import BadInput

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("scale", ["smoke", "demo", "cpu", "gpu", "paper"])
def test_every_scale_has_probe_settings_that_fill_the_largest_pool(scale):
    settings = probe_settings(ROOT, scale)
    project = load_project(ROOT, {"scale": scale, "papers": ["expert-threshold"]})
    choosing = [run.config for run in project.runs if run.config.routing.rule == "expert_choice"]
    tokens = min(settings.validation_tokens, choosing[0].data.validation_tokens - 1)
    assert tokens >= max(config.pool_tokens for config in choosing)
    assert settings.consistency_tokens <= settings.validation_tokens


@pytest.fixture
def project_root(tmp_path):
    for part in ("config", "workflow/schemas"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("probe: {loss_bins: 1}", "loss_bins = 1 breaks the rule '>= 2'"),
        ("probe: {shift_batch_tokens: [16, 16]}", "no item twice"),
        ("probe: {shift_seed: -1}", "shift_seed = -1 breaks the rule '>= 0'"),
        ("probe: {los_bins: 20}", "unknown key los_bins"),
        ("probe: {position_bin_ratio: 1}", "position_bin_ratio = 1 breaks the rule '> 1'"),
    ],
)
def test_a_wrong_size_is_named(project_root, block, message):
    path = project_root / "config/scales/paper.yaml"
    path.write_text(path.read_text().replace("\npapers:\n", f"\n{block}\npapers:\n"))
    with pytest.raises(BadInput, match=message) as error:
        probe_settings(project_root, "paper")
    assert "config/probe.yaml at scale paper" in str(error.value)


def test_jobs_take_the_seeds_of_a_condition():
    project = load_project(ROOT, {"scale": "cpu", "seeds": [0, 1], "conditions": ["et", "tc", "l1", "v1", "v3-e0.30"]})
    assert {run.condition for run in probed_runs(project)} == {"et", "tc"}
    assert {run.condition for run in scanned_runs(project)} == {"v1"}
    jobs = {job.runs[0].condition: job for job in probe_jobs(project)}
    assert set(jobs) == {"et", "tc", "v1"}
    assert (jobs["v1"].command, jobs["v1"].manifest) == ("scan", "data/images/digits-10/manifest.json")
    assert jobs["v1"].files[:2] == [
        f"results/cpu/probes/expert-ecology/v1/seed-0/{file}" for file in ("temperature.parquet", "metrics.json")
    ]
    assert jobs["et"].title == "expert-threshold et, seeds 0, 1"
    assert jobs["et"].manifest == "data/domains/embedded/manifest.json"
    assert "results/cpu/probes/expert-threshold/et/seed-1/metrics.json" in jobs["et"].files
    assert jobs["et"].records[0] == "results/cpu/runs/expert-threshold/et/seed-0/run.json"


def test_one_job_a_run_where_runs_train_alone_on_public_text():
    project = load_project(ROOT, {"scale": "paper", "conditions": ["et"], "papers": ["expert-threshold"]})
    assert [len(job.runs) for job in probe_jobs(project)] == [1, 1, 1]
    assert domains_folder("data", project.runs[0]) == Path("data/domains/public")
