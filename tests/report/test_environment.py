from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.errors import BadInput
from moe_replication.planning.assumptions import load_assumptions, load_energy
from moe_replication.planning.estimates import Estimates, planned_hours
from moe_replication.report import environment
from moe_replication.report.environment import environment_page

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project():
    return load_project(ROOT, {"scale": "smoke"})


@pytest.fixture
def page_of(project, collected_results, monkeypatch):
    """page_of({column: value}, condition, seed): the page after these values of one run were changed."""
    monkeypatch.setattr(environment, "planned_hours", lambda project: None)

    def change_and_draw(changes: dict | None = None, condition: str = "et", seed: int = 1) -> str:
        chosen = (pl.col("condition") == condition) & (pl.col("seed") == seed)
        path = collected_results / "runs.parquet"
        columns = [
            pl.when(chosen).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
            for name, value in (changes or {}).items()
        ]
        pl.read_parquet(path).with_columns(columns).write_parquet(path)
        return environment_page(project, collected_results)

    return change_and_draw


def test_a_clean_scale_says_so(page_of):
    page = page_of()
    assert "<td>81 of 27 conditions</td>" in page
    assert "Every run finished in its first attempt." in page
    assert "watts, overhead and carbon are assumptions, listed below" in page
    assert "Not counted: time lost in attempts that were killed after a checkpoint" in page
    assert (
        "No comparison pools runs that differ in training code or lock file or data or device or precision or " in page
    )
    assert '<code title="' + "ab" * 32 + '">abababababab</code>' in page


def test_a_run_that_was_killed_and_resumed_is_named(page_of):
    page = page_of({"starts": 3, "restarts": 1, "stopped": 1, "killed": 1})
    assert "<li>expert-threshold et, seed 1: starts 3, resumed 1, stopped 1, killed 1</li>" in page
    assert "first attempt" not in page


def test_another_machine_is_a_row_of_its_own(page_of):
    page = page_of({"cpu": "<AMD>", "threads": 8})
    assert (
        '<td>cpu</td><td>&lt;AMD&gt;</td><td>1</td><td>8</td><td>float32</td><td>Linux</td><td class="number">1</td>'
        in (page)
    )
    assert '<td>test fixture</td><td>1</td><td>1</td><td>float32</td><td>Linux</td><td class="number">80</td>' in page


def test_pooled_versions_are_warned_of(page_of):
    page = page_of({"mixed_versions": True})
    shared = "training code or lock file or data or device or precision or deterministic mode"
    assert f"<strong>1 runs are pooled with runs of another {shared}.</strong>" in page


def test_energy_follows_from_hours_watts_and_overhead(page_of, collected_results):
    runs = pl.read_parquet(collected_results / "runs.parquet").with_columns(wall_seconds=pl.lit(0.0))
    runs.write_parquet(collected_results / "runs.parquet")
    page = page_of({"wall_seconds": 3600_000.0, "processes": 2, "threads": 4})
    energy = load_energy(ROOT)
    watts = load_assumptions(ROOT, load_project(ROOT, {"scale": "smoke"}).scale).device.watts
    assert "<td>CPU thread-hours</td><td>8,000</td>" in page
    kwh = 8000 * watts * energy.overhead / 1000
    assert f"<td>{kwh:.3g} kWh</td>" in page
    assert f"<td>{kwh * energy.grams_co2_per_kwh / 1000:.3g} kg</td>" in page


def test_a_device_of_unknown_watts_has_no_energy(page_of):
    page = page_of({"device": "NVIDIA X1"})
    assert "not known for NVIDIA X1: add its watts to config/planning.yaml" in page
    assert "Carbon dioxide, estimated" not in page
    assert "<td>GPU-hours</td>" in page


def test_every_assumption_of_the_energy_stands_with_its_origin(page_of):
    page = page_of()
    energy = load_energy(ROOT)
    assert all(origin.replace("'", "&#x27;") in page for origin in energy.origins.values())
    assert energy.devices["cpu-thread"].origins["watts"] in page


def test_measured_hours_stand_beside_the_plan(project, collected_results, monkeypatch):
    runs = pl.read_parquet(collected_results / "runs.parquet").with_columns(wall_seconds=pl.lit(3600.0))
    runs.write_parquet(collected_results / "runs.parquet")
    estimates = Estimates(device="cpu-thread", unit="CPU thread", run_hours={("expert-threshold", "et"): 0.5})
    monkeypatch.setattr(environment, "planned_hours", lambda project: estimates)
    page = environment_page(project, collected_results)
    assert "3 CPU thread-hours measured, 1.5 planned on cpu-thread: 2 times the plan" in page
    assert '<td class="number">1.5 h</td><td class="number">2</td>' in page


def test_the_plan_knows_every_condition():
    small = load_project(ROOT, {"scale": "smoke", "conditions": ["tc", "v1"]})
    found = planned_hours(small)
    assert set(found.run_hours) == {("expert-threshold", "tc"), ("expert-ecology", "v1")}
    assert min(found.run_hours.values()) > 0
    assert (found.device, found.unit) == ("cpu-thread", "CPU thread")


def test_without_torch_there_is_no_estimate_and_the_page_says_so(project, collected_results, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert planned_hours(project) is None
    assert "no estimate here: the planner needs torch" in environment_page(project, collected_results)


def test_a_wrong_device_of_cpu_runs_is_refused(tmp_path):
    for part in ("config", "workflow"):
        shutil.copytree(ROOT / part, tmp_path / part)
    path = tmp_path / "config/planning.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("without_gpu: cpu-thread", "without_gpu: abacus"))
    with pytest.raises(BadInput, match=r"config/planning.yaml: without_gpu = 'abacus' is no device; add it"):
        load_energy(tmp_path)
