"""What a scale, a paper and a condition amount to."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from moe_replication.config import load_project
from moe_replication.config import run as run_config
from moe_replication.config.fingerprint import code_version
from moe_replication.config.jobs import training_jobs
from moe_replication.config.needs import data_name, parse_token_name
from moe_replication.config.overlays import lay_over, origins, read_layer, values
from moe_replication.config.overrides import changed_settings

ROOT = Path(__file__).parents[2]
SCALES = ("smoke", "demo", "cpu", "gpu", "paper")
EXPERIMENTS = {f"V{i}" for i in range(1, 9)} | {f"L{i}" for i in range(1, 5)}


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_both_papers_and_the_twelve_experiments(scale):
    project = load_project(ROOT, {"scale": scale})
    rows = {row for c in project.papers["expert-ecology"].conditions.values() for row in c.rows}
    assert rows >= EXPERIMENTS
    rules = {c.config.routing.rule for c in project.papers["expert-threshold"].conditions.values()}
    assert rules == {"dense", "token_choice", "expert_choice", "expert_threshold"}


@pytest.mark.parametrize("scale", SCALES)
def test_every_setting_has_an_origin(scale):
    project = load_project(ROOT, {"scale": scale})
    for paper in project.papers.values():
        for condition in paper.conditions.values():
            assert all(condition.origins.values()), condition.name


def test_dataclasses_hold_exactly_the_schema_keys():
    schema = yaml.safe_load((ROOT / "workflow/schemas/run.schema.yaml").read_text(encoding="utf-8"))["properties"]
    sections = {
        "data": run_config.DataConfig, "moe": run_config.MoEConfig, "routing": run_config.RoutingConfig,
        "training": run_config.TrainingConfig, "engine": run_config.EngineConfig,
    }  # fmt: skip
    for name, cls in sections.items():
        assert set(schema[name]["properties"]) == {f.name for f in fields(cls)}, name
    alternatives = {
        "model": (run_config.GPTConfig, run_config.WideResNetConfig),
        "optimizer": (run_config.MuonConfig, run_config.AdamWConfig),
        "ecology": (None, run_config.EcologyConfig),
        "census": (None, run_config.CensusConfig),
    }
    for name, classes in alternatives.items():
        for branch, cls in zip(schema[name]["oneOf"], classes, strict=True):
            if cls is not None:
                assert set(branch["properties"]) == {f.name for f in fields(cls)}, name


def test_layers_keep_values_and_origins():
    paper = {"origin": "paper", "a": 1, "m": {"kind": "x", "p": 2}, "b": {"value": 3, "origin": "code"}}
    base = read_layer(paper, "ours")
    over = read_layer({"a": 5, "m": {"kind": "y", "q": 7}}, "scale")
    merged = lay_over(base, over)
    assert values(merged) == {"a": 5, "m": {"kind": "y", "q": 7}, "b": 3}
    assert origins(merged) == {"a": "scale", "m.kind": "scale", "m.q": "scale", "b": "code"}


def test_stand_in_gives_way_to_a_local_copy(tmp_path):
    embedded = load_project(ROOT, {"scale": "smoke"}).papers["expert-ecology"].conditions["v1"]
    real = load_project(ROOT, {"scale": "smoke", "data": {"roots": {"cifar10": str(tmp_path)}}})
    assert embedded.config.data.set == "digits-10"
    assert embedded.origins["data.set"] == "ours: scale smoke, stands in for cifar10"
    assert real.papers["expert-ecology"].conditions["v1"].config.data.set == "cifar10"
    assert real.papers["expert-ecology"].conditions["v3-e0.545"].config.data.set == "digits-100"


def test_seeds_from_the_command_line_may_be_strings():
    project = load_project(ROOT, {"scale": "smoke", "seeds": ["0", "3"]})
    assert {run.seed for run in project.runs} == {0, 3}


def test_conditions_are_chosen_by_name_and_by_pattern():
    project = load_project(ROOT, {"scale": "cpu", "conditions": ["*-concat", "et", "l3-*"]})
    chosen = {name: list(paper.conditions) for name, paper in project.papers.items()}
    assert chosen["expert-threshold"] == ["et", "tc-aux-concat", "ec-concat", "et-concat"]
    assert chosen["expert-ecology"] == ["l3-e0.545", "l3-e0.30", "l3-e1.0", "l3-e0.30-entropy", "l3-no-balance"]


def test_token_folder_name_says_what_it_holds():
    run = next(r for r in load_project(ROOT, {"scale": "demo"}).runs if r.condition == "et")
    source, settings = parse_token_name(data_name(run.config))
    assert source == "embedded"
    assert settings == {name: getattr(run.config.data, name) for name in settings}
    assert len(settings) == 4


def test_changed_settings_lists_only_differences():
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    assert changed_settings(ROOT, settings) == {}
    settings["data"]["roots"]["cifar10"] = "/x"
    assert changed_settings(ROOT, settings) == {"data.roots.cifar10": "/x"}


def test_code_version_ignores_comments_and_docstrings_but_not_code(tmp_path):
    file = tmp_path / "m.py"
    versions = []
    for text in ('"""Doc."""\nx = 1\n', '"""Other."""\n# why\nx = 1\n', "x = 2\n"):
        file.write_text(text, encoding="utf-8")
        code_version.cache_clear()
        versions.append(code_version("m.py", package=tmp_path))
    assert versions[0] == versions[1] != versions[2]


def _pins(lines: list[str]) -> dict[str, str]:
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_conda_environment_and_lock_carry_the_pins_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: extra for name, extra in project["optional-dependencies"].items() if name not in ("bench", "docs")}
    listed = [*project["dependencies"], *(dependency for extra in extras.values() for dependency in extra)]
    listed = [dependency for dependency in listed if not dependency.startswith("moe-replication[")]
    pins = _pins(listed)
    assert len(pins) == len(listed), "every direct dependency is pinned"
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert _pins(next(entry["pip"] for entry in conda if isinstance(entry, dict))) == pins
    lock = _pins((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
    assert {name: lock.get(name) for name in pins} == pins


def test_one_job_trains_a_whole_paper_at_smoke():
    project = load_project(ROOT, {"scale": "smoke"})
    jobs = list(training_jobs(project))
    assert [job.name for job in jobs] == [
        "expert_threshold_language",
        "expert_ecology_language",
        "expert_ecology_vision",
    ]
    assert sum(len(job.runs) for job in jobs) == len(project.runs)
    assert "conditions" in jobs[0].title
    assert len(jobs[1].data) > 1


@pytest.mark.parametrize(("scale", "runs"), [("cpu", 5), ("paper", 1)])
def test_jobs_of_larger_scales_take_a_conditions_seeds_or_a_run(scale, runs):
    jobs = list(training_jobs(load_project(ROOT, {"scale": scale, "conditions": ["et", "tc"]})))
    assert {len(job.runs) for job in jobs} == {runs}
    assert {job.version for job in jobs if job.runs[0].condition == "et"} != {job.version for job in jobs}
