"""What jobs ask a cluster for follows the planner's numbers of their runs."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

from moe_replication.config import load_project
from moe_replication.errors import BadInput
from moe_replication.files import write_json
from moe_replication.scheduling.requests import JobRequests, threads_of_all
from moe_replication.scheduling.settings import scheduling_settings
from scratch_project import ROOT


def requests(tmp_path, scale: str, **numbers: float) -> JobRequests:
    """Requests of a scale whose conditions are all planned with these numbers."""
    for folder in ("config", "workflow"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    project = dataclasses.replace(load_project(ROOT, {"scale": scale}), root=tmp_path)
    found = JobRequests(project, needed=lambda: True)
    plan = {"gpus": 1, "gpu_hours": 0.1, "memory_gb": 10.0, "checkpoint_gb": 2.0} | numbers
    rows = [{"paper": run.paper, "condition": run.condition} | plan for run in project.runs]
    write_json(tmp_path / f"results/{scale}/planned.json", {"key": found._key(), "conditions": rows})
    return found


def test_a_run_on_gpus_asks_for_planned_memory_and_time(tmp_path):
    found = requests(tmp_path, "gpu", gpus=2, gpu_hours=4.0)
    asked = found.of(found.project.runs[:1])
    ask = scheduling_settings(ROOT).requests
    mb = 1024**2 / 1e9
    assert asked.gpu_mem_mb == round((10 * ask.memory_factor + ask.gpu_context_gb) / mb)
    assert asked.mem_mb == round((2 * ask.gpu_process_gb + 2) / mb)
    assert asked.runtime == ask.start_minutes + ask.runtime_factor * 60 * 2


def test_runs_of_a_job_add_their_time_and_share_their_memory(tmp_path):
    found = requests(tmp_path, "gpu")
    one, three = (found.of(found.project.runs[:count]) for count in (1, 3))
    start = scheduling_settings(ROOT).requests.start_minutes
    assert three.runtime - start == 3 * (one.runtime - start)
    assert (three.mem_mb, three.gpu_mem_mb) == (one.mem_mb, one.gpu_mem_mb)


def test_on_a_cpu_the_model_is_in_host_memory(tmp_path):
    found = requests(tmp_path, "smoke", memory_gb=1.0)
    asked = found.of(found.project.runs[:1])
    ask = scheduling_settings(ROOT).requests
    assert asked.mem_mb == round((ask.process_gb + ask.memory_factor) / (1024**2 / 1e9))
    assert asked.gpu_mem_mb == 0


def test_nobody_asks_for_more_than_a_partition_gives(tmp_path):
    found = requests(tmp_path, "gpu", gpu_hours=1000.0)
    assert found.of(found.project.runs[:1]).runtime == scheduling_settings(ROOT).requests.longest_minutes


def test_where_nobody_asks_nothing_is_planned(tmp_path):
    found = JobRequests(load_project(ROOT, {"scale": "smoke"}), needed=lambda: False)
    assert found.resource(found.project.runs[:1], "mem_mb")(None) == 0
    assert "_planned" not in vars(found)


def test_the_plan_of_other_settings_is_not_taken(tmp_path):
    pytest.importorskip("torch")
    found = requests(tmp_path, "smoke", memory_gb=1e6)
    path = tmp_path / "results/smoke/planned.json"
    path.write_text(path.read_text(encoding="utf-8").replace(found._key(), "another"), encoding="utf-8")
    assert found.of(found.project.runs[:1]).mem_mb < 10_000


def test_without_torch_and_without_a_plan_nothing_is_asked_for_in_silence(tmp_path, monkeypatch):
    """0 MB would be a request of its own: all memory of a node, or a job that dies at once."""
    found = requests(tmp_path, "smoke")
    (tmp_path / "results/smoke/planned.json").unlink()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"torch is not installed .* 'train' there too, or copy results/smoke/planned"):
        found.resource(found.project.runs[:1], "mem_mb")(None)


def test_without_torch_a_kept_plan_suffices(tmp_path, monkeypatch):
    found = requests(tmp_path, "smoke")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert found.resource(found.project.runs[:1], "mem_mb")(None) > 1000


def test_a_job_that_takes_every_core_knows_how_many_there_are(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    assert threads_of_all(64, ROOT) == 64
    assert threads_of_all(None, ROOT) == scheduling_settings(ROOT).requests.all_cpus
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert threads_of_all(64, ROOT) == 8
    assert threads_of_all(4, ROOT) == 4
